"""Trained models: predictions of any task, and exports."""
