"""Tasks: what is trained, validated and used, each a LightningModule.

Recipes and checkpoints name a class by this package: `vlrnn.tasks.Captioner`.
"""

from vlrnn import lazy_names

_NAMES = {
    "captioning": "Captioner",
    "classifier_vqa": "ClassifierVQA",
    "generative_vqa": "GenerativeVQA",
    "language_model": "LanguageModel",
    "vqa": "AnswerSelection PriorVQA VQATask",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _NAMES)
