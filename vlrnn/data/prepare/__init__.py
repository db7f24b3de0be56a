"""Preparation of data sets: a function for each, which is `vlrnn prepare NAME`."""
