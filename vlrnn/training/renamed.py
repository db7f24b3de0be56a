"""Old names in recipes and flags (before version 0.2), for error messages with the new names."""

from collections.abc import Collection

from vlrnn.trust import is_foreign

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


def new_class(path: str) -> str:
    """The present name of a class that a recipe names by its old one, empty for any other."""
    return _CLASSES.get(path.rpartition(".")[2], "") if is_foreign(path) is False else ""


def new_key(old: str, names: Collection[str] = ()) -> str:
    """The present name of an argument, empty if it was not renamed.

    Args:
        old: the name that a recipe has.
        names: of the arguments of its class.
    """
    return " or ".join([new for new in _KEYS.get(old, ()) if new in names])
