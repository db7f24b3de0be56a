"""Strings: tokenizers, vocabularies, answer normalisation; without torch.

Recipes and checkpoints name a class by this package: `vlrnn.text.Vocabulary`.
"""

from vlrnn import lazy_names

_NAMES = {
    "tokenizers": "CharTokenizer LMTokenizer WordTokenizer",
    "vocabulary": "AnswerPrior AnswerVocabulary Vocabulary",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _NAMES)
