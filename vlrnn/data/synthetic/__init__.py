"""Scenes of coloured shapes: their rules, pictures, captions and questions."""
