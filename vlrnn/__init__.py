"""Image captioning and visual question answering with recurrent networks."""

__version__ = "0.1.0"
