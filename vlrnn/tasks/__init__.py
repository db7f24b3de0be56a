"""Tasks: what is trained, validated and used, each a LightningModule.

Recipes and checkpoints name a class by this package: `vlrnn.tasks.Captioner`.
"""

from vlrnn import lazy_names

_MODULES = {
    "AnswerSelection": "vqa",
    "Captioner": "captioning",
    "ClassifierVQA": "classifier_vqa",
    "GenerativeVQA": "generative_vqa",
    "LanguageModel": "language_model",
    "PriorVQA": "vqa",
    "VQATask": "vqa",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
