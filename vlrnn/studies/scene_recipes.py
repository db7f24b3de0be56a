"""The recipes of the quickstart: a captioner and both heads of VQA, small enough to learn synthetic scenes in a minute
or two on one core. As plain data, as a YAML file would have them.

A recipe is for the `scenes/` of a folder, which gets a `cache/` beside them, and for a CNN, a file of weights.
"""

import json
from pathlib import Path
from typing import Any

Recipe = dict[str, Any]

SIDE = 64
"""Pixels of a scene's side."""

CNN: dict[str, Any] = {"name": "shufflenet_v2_x1_0", "image_size": SIDE, "out_layer": "stage2"}
"""The encoder: a grid of 8 x 8 regions, 116 wide."""


def captioning(folder: Path, cnn: Path, seed: int) -> Recipe:
    """A captioner with attention: ShowAttendTell."""
    decoder = _part(
        "nn.ShowAttendTell",
        recurrence=_lstm(),
        attention=_part("nn.DotAttention", attention_dim=64),
        embedding_dim=64,
        region_dim=64,
        position_frequencies=4,
        attend_with_word=True,
        dropout=0.1,
    )
    model = _part(
        "tasks.Captioner",
        encoder=_encoder(cnn),
        decoder=decoder,
        generation={"max_new_tokens": 40, "min_new_tokens": 1},
        optimization={"lr": 1e-2},
    )
    data = {"batch_size": 32, "captions_per_image": 2, "max_length": 40}
    return _recipe(folder, seed, "captions", model, data, epochs=3)


def classifier_vqa(folder: Path, cnn: Path, seed: int) -> Recipe:
    """A choice among all answers."""
    model = _part(
        "tasks.ClassifierVQA",
        **_question_image(cnn),
        objective=_part("training.MajorityCrossEntropy"),
        optimization={"lr": 4e-3},
    )
    return _recipe(folder, seed, "vqa", model, {"batch_size": 16}, epochs=1)


def generative_vqa(folder: Path, cnn: Path, seed: int) -> Recipe:
    """Answers in words."""
    model = _part(
        "tasks.GenerativeVQA",
        **_question_image(cnn),
        decoder=_part("nn.ShowAndTell", recurrence=_lstm(), embedding_dim=64, dropout=0.0),
        optimization={"lr": 4e-3},
    )
    return _recipe(folder, seed, "vqa", model, {"batch_size": 16}, epochs=1)


def without_image(recipe: Recipe) -> Recipe:
    """The same recipe blind: it is what the language alone gives away."""
    blind: Recipe = json.loads(json.dumps(recipe))
    blind["model"]["init_args"]["encoder"] = _part("nn.BlindEncoder")
    return blind


def _question_image(cnn: Path) -> Recipe:
    """What both heads share: the encoder, the question encoder, attention and fusion."""
    return {
        "encoder": _encoder(cnn),
        "question_encoder": _part("nn.RecurrentQuestionEncoder", recurrence=_lstm(), embedding_dim=64, layer_norm=True),
        "image_pooling": _part(
            "nn.QuestionGuidedAttention",
            attention=_part("nn.SoftAttention", attention_dim=64),
            num_glimpses=2,
            region_dim=128,
            position_frequencies=4,
            add_mean_pool=True,
        ),
        "fusion": _part("nn.MLB", output_dim=256, rank=512),
    }


def _encoder(cnn: Path) -> Recipe:
    return _part("nn.TorchvisionEncoder", **CNN, weights=str(cnn))


def _lstm() -> Recipe:
    return _part("nn.LSTM", hidden_size=128)


def _part(path: str, **arguments: Any) -> Recipe:
    return {"class_path": f"vlrnn.{path}", **({"init_args": arguments} if arguments else {})}


def _recipe(folder: Path, seed: int, scenes: str, model: Recipe, data: Recipe, epochs: int) -> Recipe:
    return {
        "seed_everything": seed,
        "model": model,
        "data": {"root": str(folder / "scenes" / scenes), "cache": str(folder / "cache"), "min_count": 1, **data},
        "trainer": {"max_epochs": epochs, "enable_model_summary": False},
    }
