"""Encoders: images to region features."""
