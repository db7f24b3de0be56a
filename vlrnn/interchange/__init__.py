"""Other people's files: captions of COCO and Karpathy, questions and answers of VQA, results of both, besides our own
`.jsonl`.

Knows which caption is of which image, and which answer is to which question; knows no metric.
"""

from vlrnn.interchange.answers import match_answers, read_answered, read_answers, read_questions, write_answers
from vlrnn.interchange.captions import read_predictions, read_references
from vlrnn.interchange.matching import GO_ON, MISSING, Matched, Missing, in_common, match

__all__ = [
    "GO_ON",
    "MISSING",
    "Matched",
    "Missing",
    "in_common",
    "match",
    "match_answers",
    "read_answered",
    "read_answers",
    "read_predictions",
    "read_questions",
    "read_references",
    "write_answers",
]
