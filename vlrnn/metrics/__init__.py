"""Scores: pure functions of strings. Never torch."""
