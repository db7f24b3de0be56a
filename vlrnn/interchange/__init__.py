"""Other people's files: captions of COCO, VizWiz and Karpathy, questions and answers of VQA, VizWiz, TextVQA and GQA,
results of all, besides our own `.jsonl`.

Knows which caption is of which image, and which answer is to which question; knows no metric.
"""

from vlrnn.interchange.answers import match_answers, read_answered, read_answers, read_questions, write_answers
from vlrnn.interchange.captions import References, read_predictions, read_references
from vlrnn.interchange.matching import GO_ON, MISSING, Matched, Missing, in_common, match
from vlrnn.interchange.results import note_markup

__all__ = [
    "GO_ON",
    "MISSING",
    "Matched",
    "Missing",
    "References",
    "in_common",
    "match",
    "match_answers",
    "note_markup",
    "read_answered",
    "read_answers",
    "read_predictions",
    "read_questions",
    "read_references",
    "write_answers",
]
