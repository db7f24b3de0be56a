"""Probes of a loaded model."""
