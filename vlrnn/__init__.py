"""Image captioning and visual question answering with recurrent networks."""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Captioner": "tasks.captioning",
    "CNNEncoder": "nn.encoders",
    "Decoding": "decoding.search",
    "DotAttention": "nn.attention",
    "Example": "records",
    "GRU": "nn.recurrence",
    "LSTM": "nn.recurrence",
    "LanguageModel": "tasks.language_model",
    "NoImage": "nn.encoders",
    "Prediction": "records",
    "Predictor": "predictor",
    "RNN": "nn.recurrence",
    "ShowAndTell": "nn.decoders",
    "SequenceClassifier": "nn.sequence_classifier",
    "ShowAttendTell": "nn.decoders",
    "SoftAttention": "nn.attention",
    "StreamDecoder": "nn.stream",
    "TextStream": "data.text_stream",
    "UserError": "errors",
    "VisionLanguageData": "data.datamodule",
    "Vocabulary": "text.vocabulary",
    "from_pretrained": "tasks.checkpoint",
    "save_pretrained": "tasks.checkpoint",
    "score_answers": "metrics",
    "score_captions": "metrics",
    "tokenize": "text.tokenizer",
}
"""Public name -> its module, imported when the name is first asked for: torch is slow to import, and scoring needs
none."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vlrnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"vlrnn.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
