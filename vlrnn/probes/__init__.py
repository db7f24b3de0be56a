"""Audits of finished predictions. Never torch."""
