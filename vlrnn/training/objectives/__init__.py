"""Objectives: losses of tasks."""
