"""What trains several models to learn something."""
