"""Audits of prediction files, without torch."""
