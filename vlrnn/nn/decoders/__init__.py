"""Decoders: from image features to words, one paper per file."""
