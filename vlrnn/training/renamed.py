"""Old names in recipes (before version 0.2), for error messages with the new names."""

import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from vlrnn.errors import UserError

_KEYS = {
    "width": ("hidden_size", "attention_dim", "output_dim"),
    "layers": ("num_layers",),
    "embedding": ("embedding_dim",),
    "learned_state": ("learn_initial_state",),
    "heads": ("num_heads",),
    "memory": ("state_dim",),
    "window": ("conv_width", "window_size", "bptt_length"),
    "shortest": ("r_min",),
    "longest": ("r_max",),
    "cell": ("recurrence",),
    "recompute": ("checkpoint_every",),
    "region_width": ("region_dim",),
    "frequencies": ("position_frequencies",),
    "query_word": ("attend_with_word",),
    "all_layers": ("sum_layers",),
    "norm": ("layer_norm",),
    "count": ("num_glimpses",),
    "pooled": ("add_mean_pool",),
    "size": ("image_size",),
    "regions_from": ("out_layer",),
    "trainable_from": ("finetune_from",),
    "look": ("image_pooling",),
    "answering": ("answer_decoding",),
    "decoding": ("generation",),
    "loss": ("objective",),
    "sampled": ("sample_annotator",),
    "members": ("num_members",),
    "continued": ("sample_passages",),
    "units": ("tokenizer",),
    "doubly_stochastic": ("doubly_stochastic_weight",),
    "warmup": ("warmup_fraction",),
    "told": ("top_n",),
    "rows": ("chunk_rows",),
    "inner": ("base_objective", "hidden_size"),
    "hidden": ("hidden_size",),
    "entropy": ("entropy_weight",),
}
"""Old key -> its new names, which depend on the class. No class of vlrnn has an argument of the old name."""

_CLASSES = {
    "Addition": "SumFusion",
    "AnswerSet": "AnswerVocabulary",
    "CNNEncoder": "TorchvisionEncoder",
    "Characters": "CharTokenizer",
    "Decoding": "GenerationConfig",
    "FreeAnswers": "OpenAnswers",
    "Glimpses": "QuestionGuidedAttention",
    "Last": "LastStep",
    "LowRankBilinear": "MLB",
    "MajorityAnswer": "MajorityCrossEntropy",
    "Max": "MaxOverTime",
    "Mean": "MeanOverTime",
    "NoImage": "BlindEncoder",
    "Product": "ProductFusion",
    "SampledAnswer": "SampledCrossEntropy",
    "SoftAnswers": "SoftScores",
    "TextStream": "TextDataModule",
    "WholeImage": "MeanPool",
    "WordLoss": "CrossEntropy",
    "Words": "WordTokenizer",
}


def refuse_old_names(recipe: Mapping[str, Any], place: str) -> None:
    """Raise a UserError for the first key or class of a recipe that was renamed; it names the new one.

    Args:
        recipe: the mapping that was read.
        place: its file, for the error.
    """
    for old, new in _old_names(recipe, "", False):
        raise UserError(f"{place}: {old} is now called {new}")


def _arguments(path: str) -> Collection[str]:
    """The names of a published class's arguments; empty for any other path."""
    package, _, name = path.rpartition(".")
    with suppress(ImportError, AttributeError, ValueError):
        return inspect.signature(getattr(importlib.import_module(package), name)).parameters
    return ()


def _old_names(tree: Any, class_path: str, is_part: bool) -> Iterator[tuple[str, str]]:
    """Old and new names in a tree: the arguments of a class, or a mapping with a `class_path`."""
    if not isinstance(tree, Mapping):
        return
    own = tree.get("class_path")
    path = own if isinstance(own, str) else class_path
    *_, name = path.split(".")
    ours = path.startswith("vlrnn.") or not path
    if own is path and ours and name in _CLASSES:
        yield path, _CLASSES[name]
    for key, value in tree.items():
        if is_part and ours and key in _KEYS:
            taken = [new for new in _KEYS[key] if new in _arguments(path)]
            yield f"{key} of {path}" if path else str(key), " or ".join(taken or _KEYS[key])
        yield from _old_names(value, path if key == "init_args" else "", key in ("init_args", "data"))
