"""Image captioning and visual question answering with recurrent networks."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__version__ = "0.2.0"


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The module attributes `__getattr__`, `__dir__` and `__all__` of a package (PEP 562), whose public names are
    imported at first use: torch is slow to import and not needed for scoring.

    Args:
        package: its name.
        modules: public name -> the module that defines it, relative to the package.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return get, lambda: sorted(modules), sorted(modules)


_MODULES = {
    "BlindEncoder": "nn.encoders.base",
    "Captioner": "tasks.captioning",
    "DotAttention": "nn.attention",
    "Example": "data.records",
    "GRU": "nn.recurrent.rnn",
    "GenerationConfig": "generation.search",
    "LSTM": "nn.recurrent.rnn",
    "LanguageModel": "tasks.language_model",
    "Prediction": "data.records",
    "Predictor": "inference.predictor",
    "RNN": "nn.recurrent.rnn",
    "RecurrentLanguageModel": "nn.decoders.language_model",
    "SequenceClassifier": "nn.question_encoder",
    "ShowAndTell": "nn.decoders.show_tell",
    "ShowAttendTell": "nn.decoders.show_attend_tell",
    "SoftAttention": "nn.attention",
    "TextDataModule": "data.text_datamodule",
    "TorchvisionEncoder": "nn.encoders.torchvision_cnn",
    "UserError": "errors",
    "VisionLanguageData": "data.datamodule",
    "Vocabulary": "text.vocabulary",
    "from_pretrained": "training.checkpoint",
    "pipeline": "inference.pipeline",
    "save_pretrained": "training.checkpoint",
    "score_answers": "metrics",
    "score_captions": "metrics",
    "tokenize": "text.ptb_tokenizer",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
