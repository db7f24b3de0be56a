"""Search over next-token distributions: greedy, beam search, sampling; captions and answers from a decoder.

Recipes and checkpoints name a class by this package: `vlrnn.generation.GenerationConfig`.
"""

from vlrnn import lazy_names

_NAMES = {
    "answer_decoding": "AnswerDecoding ConstrainedAnswers OpenAnswers RankedAnswers",
    "search": "GenerationConfig",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _NAMES)
