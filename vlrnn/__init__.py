"""Image captioning and visual question answering with recurrent networks."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__version__ = "0.2.0"


def lazy_names(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The module attributes `__getattr__`, `__dir__` and `__all__` of a package (PEP 562), whose public names are
    imported at first use: torch is slow to import and not needed for scoring.

    Args:
        package: its name.
        names: module, relative to the package -> the public names that it defines, separated by spaces.
    """
    modules = {name: module for module, defined in names.items() for name in defined.split()}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return get, lambda: sorted(modules), sorted(modules)


_NAMES = {
    "data.datamodule": "VisionLanguageData",
    "data.records": "Example Prediction",
    "data.text_datamodule": "TextDataModule",
    "errors": "UserError",
    "generation.search": "GenerationConfig",
    "inference.pipeline": "pipeline",
    "inference.predictor": "Predictor",
    "metrics": "score_answers score_captions",
    "nn.attention": "DotAttention SoftAttention",
    "nn.decoders.language_model": "RecurrentLanguageModel",
    "nn.decoders.show_attend_tell": "ShowAttendTell",
    "nn.decoders.show_tell": "ShowAndTell",
    "nn.encoders.base": "BlindEncoder",
    "nn.encoders.torchvision_cnn": "TorchvisionEncoder",
    "nn.question_encoder": "SequenceClassifier",
    "nn.recurrent.rnn": "GRU LSTM RNN",
    "tasks.captioning": "Captioner",
    "tasks.language_model": "LanguageModel",
    "text.ptb_tokenizer": "tokenize",
    "text.vocabulary": "Vocabulary",
    "training.checkpoint": "from_pretrained save_pretrained",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _NAMES)
