"""Scores: pure functions of strings. Never torch."""

from vlrnn.metrics.captions import CaptionScorer, CaptionScores, score_captions

__all__ = ["CaptionScorer", "CaptionScores", "score_captions"]
