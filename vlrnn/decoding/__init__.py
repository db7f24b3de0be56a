"""Search over any step function. Knows no image, no word, no cell."""
