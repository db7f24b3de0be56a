"""Strings: tokenizers, vocabularies, answer normalisation; without torch.

Recipes and checkpoints name a class by this package: `vlrnn.text.Vocabulary`.
"""

from vlrnn import lazy_names

_MODULES = {
    "AnswerPrior": "vocabulary",
    "AnswerVocabulary": "vocabulary",
    "CharTokenizer": "tokenizers",
    "LMTokenizer": "tokenizers",
    "Vocabulary": "vocabulary",
    "WordTokenizer": "tokenizers",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
