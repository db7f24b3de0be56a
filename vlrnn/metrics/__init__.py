"""Scores: pure functions of strings, without torch."""

from vlrnn.metrics.captions import CaptionScorer, CaptionScores, score_captions
from vlrnn.metrics.vqa import AnswerScores, compare_answers
from vlrnn.metrics.vqa_evaluation import score_answers

__all__ = ["AnswerScores", "CaptionScorer", "CaptionScores", "compare_answers", "score_answers", "score_captions"]
