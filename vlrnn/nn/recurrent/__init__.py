"""Recurrences, one family per file, behind one interface."""
