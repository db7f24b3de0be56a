"""Strings: tokenizing, vocabularies, answers. Never torch."""
