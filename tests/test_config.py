"""Parts: descriptions that rebuild what they describe, and nothing else."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vlrnn.config import Configurable, from_config, to_config
from vlrnn.errors import UserError
from vlrnn.generation.search import GenerationConfig
from vlrnn.nn.attention import Attention, SoftAttention
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.fusion import MLB
from vlrnn.nn.question_encoder import RecurrentQuestionEncoder, SequenceClassifier
from vlrnn.nn.question_image import MeanPool
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU, LSTM
from vlrnn.nn.recurrent.wrappers import Bidirectional, HighwayStack
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.training.objectives.answers import SoftScores
from vlrnn.training.objectives.debiasing import RUBi
from vlrnn.training.optimization import Optimization

LSTM_PATH = "vlrnn.nn.LSTM"


def through_json(part: Configurable, expected: type[Configurable]) -> Any:
    return from_config(json.loads(json.dumps(to_config(part))), expected, "here")


def test_arguments_are_stored_with_their_defaults() -> None:
    assert GRU(8).arguments == {"hidden_size": 8, "num_layers": 1, "dropout": 0.0, "learn_initial_state": False}
    assert GRU(num_layers=2, hidden_size=8).arguments == {
        "hidden_size": 8,
        "num_layers": 2,
        "dropout": 0.0,
        "learn_initial_state": False,
    }


def test_round_trip() -> None:
    decoder = ShowAttendTell(LSTM(8, dropout=0.3), SoftAttention(4), embedding_dim=6, region_dim=None)
    again = through_json(decoder, Decoder)
    assert type(again) is ShowAttendTell
    assert to_config(again) == to_config(decoder)
    assert [each.shape for each in again.build(9, 5).parameters()] == [
        each.shape for each in decoder.build(9, 5).parameters()
    ]
    assert through_json(GenerationConfig(num_beams=3), GenerationConfig) == GenerationConfig(num_beams=3)
    assert through_json(Vocabulary(["a", "b"]), Vocabulary).words == Vocabulary(["a", "b"]).words


def test_building_does_not_change_the_description() -> None:
    decoder = ShowAndTell(GRU(8), embedding_dim=6)
    before = to_config(decoder)
    assert to_config(decoder.build(9, 5)) == before


BUILT: dict[str, tuple[Callable[[], Any], tuple[Any, ...]]] = {
    "recurrence": (lambda: LSTM(4), (3,)),
    "stack": (lambda: HighwayStack(GRU(4)), (3,)),  # whose base builds, too
    "both ways": (lambda: Bidirectional(GRU(4)), (3,)),
    "attention": (lambda: SoftAttention(4), (3, 3)),
    "fusion": (lambda: MLB(4, 5), (3, 3)),
    "pooling of an image": (MeanPool, (3, 3)),
    "question encoder": (lambda: RecurrentQuestionEncoder(GRU(4), embedding_dim=3), (["a", "b"],)),
    "decoder": (lambda: ShowAndTell(GRU(4), embedding_dim=3), (9, 3)),
    "language model": (lambda: RecurrentLanguageModel(GRU(4), embedding_dim=3), (9,)),
    "classifier": (lambda: SequenceClassifier(GRU(4), 2), (3,)),
    "objective": (RUBi, (3, 3, 4)),
    "objective without weights": (SoftScores, (3, 3, 4)),
}


def test_a_part_is_built_once(subtests: pytest.Subtests) -> None:
    for name in BUILT:
        with subtests.test(name=name):
            make, sizes = BUILT[name]
            part = make().build(*sizes)
            weights = {key: each.clone() for key, each in part.state_dict().items()}
            for again in (part, copy.deepcopy(part)):
                with pytest.raises(UserError, match=f"^{type(part).__name__}: is already part of a model") as refused:
                    again.build(*sizes)
                assert "\n" not in str(refused.value)
                assert all(torch.equal(weights[key], each) for key, each in again.state_dict().items())


def test_a_part_is_of_one_model() -> None:
    decoder, vocabulary = ShowAndTell(GRU(4), embedding_dim=3), Vocabulary(["a"])
    Captioner(vocabulary, BlindEncoder(), copy.deepcopy(decoder))
    Captioner(vocabulary, BlindEncoder(), decoder)
    with pytest.raises(UserError, match=r"^ShowAndTell: .* give each model its own part"):
        Captioner(vocabulary, BlindEncoder(), decoder)
    recurrence = GRU(4)
    Captioner(vocabulary, BlindEncoder(), ShowAndTell(recurrence, embedding_dim=3))
    with pytest.raises(UserError, match=r"^GRU: "):
        Captioner(vocabulary, BlindEncoder(), ShowAndTell(recurrence, embedding_dim=3))


def test_what_could_not_be_built_may_be_built_again(tmp_path: Path) -> None:
    encoder = RecurrentQuestionEncoder(GRU(4), embedding_dim=3, embedding_weights=str(tmp_path / "vectors.txt"))
    with pytest.raises(UserError, match="No such file"):
        encoder.build(["a"])
    (tmp_path / "vectors.txt").write_text("a 1 2 3\n")
    assert encoder.build(["<pad>", "a"]).embedding.weight.tolist()[1] == [1, 2, 3]


def test_copies_are_parts_too() -> None:
    for part in (LSTM(8, num_layers=2), GenerationConfig(num_beams=4), Optimization(lr=0.5)):
        for again in (copy.deepcopy(part), copy.copy(part), pickle.loads(pickle.dumps(part))):
            assert to_config(again) == to_config(part)
    assert to_config(replace(GenerationConfig(), num_beams=7))["arguments"]["num_beams"] == 7


def test_a_part_that_is_missing_is_reported() -> None:
    with pytest.raises(UserError, match="ShowAttendTell: recurrence must be Recurrence, not null"):
        ShowAttendTell(None, SoftAttention(4))  # type: ignore[arg-type]
    assert ShowAttendTell(LSTM(8), SoftAttention(4), region_dim=None).arguments["region_dim"] is None


def test_what_cannot_be_described() -> None:
    class Own(Configurable):
        def __init__(self, module: nn.Module) -> None:
            self.module = module

    with pytest.raises(UserError, match="Linear"):
        to_config(Own(nn.Linear(1, 1)))


def of(path: Any, arguments: Any = None) -> dict[str, Any]:
    return {"class": path, "arguments": {"hidden_size": 4} if arguments is None else arguments}


OTHER_CLASSES = [
    "os.system",
    "torch.nn.Linear",
    "builtins.eval",
    "vlrnn.cli.main",
    "vlrnn.cli",
    "vlrnn.files.replacing",
    "vlrnn.commands.training.run",
    "vlrnn.nn.recurrent.rnn.torch",
    "vlrnn.nn.recurrent.rnn.nn.LSTM",
    "vlrnn.nn.recurrent.rnn.F",
    "vlrnn.nn.recurrent.rnn.pack_padded_sequence",
    "vlrnn.nn.recurrent.rnn.NoSuchCell",
    "vlrnn.nn.no_such_module.LSTM",
    "vlrnn.nn..LSTM",
    "vlrnn.nn.recurrent.rnn.",
    "vlrnn.nn.decoders.LSTM",
    "vlrnn.nn.decoders.Recurrence",  # imported there, at home elsewhere
    "xvlrnn.nn.LSTM",
    "vlrnn.nn.recurrent.rnn.LSTM",  # a file may move
    "vlrnn.nn.LSTM.build",
    "vlrnn.nn.SoftAttention",
    "vlrnn.config.Part",
    "LSTM",
    "",
    None,
    3,
    ["vlrnn.nn.LSTM"],
    {"class": LSTM_PATH},
]


def test_other_classes_are_refused(subtests: pytest.Subtests) -> None:
    for path in OTHER_CLASSES:
        with subtests.test(path=path):
            with pytest.raises(UserError, match="refused") as error:
                from_config(of(path), Recurrence, "a.ckpt")
            assert str(error.value).startswith("a.ckpt: ")
            assert "\n" not in str(error.value)


WRONG_CONFIGS = [
    None,
    3,
    [],
    "x",
    {},
    {"class": LSTM_PATH},
    {"arguments": {}},
    {**of(LSTM_PATH), "more": 1},
    of(LSTM_PATH, []),
    of(LSTM_PATH, "hidden_size"),
    of(LSTM_PATH, {"breadth": 4}),
    of(LSTM_PATH, {"hidden_size": 4, "self": 1}),
    of(LSTM_PATH, {"hidden_size": 4, "num_layers": "two"}),
    of(
        LSTM_PATH,
        {
            "hidden_size": 4,
            "num_layers": 2,
            "learn_initial_state": True,
            "dropout": {"class": "os.system", "arguments": {}},
        },
    ),
    of(LSTM_PATH, {"hidden_size": -4, "learn_initial_state": True}),
    of(LSTM_PATH, {"hidden_size": of("vlrnn.nn.GRU")}),
]


def test_wrong_descriptions_are_refused(subtests: pytest.Subtests) -> None:
    for description in WRONG_CONFIGS:
        with subtests.test(description=description):
            with pytest.raises(UserError, match=r"^a\.ckpt: ") as error:
                from_config(description, Recurrence, "a.ckpt")
            assert "\n" not in str(error.value)


def test_an_argument_has_the_base_that_its_hint_names(subtests: pytest.Subtests) -> None:
    for recurrence, attention in [
        (of("vlrnn.nn.SoftAttention"), of("vlrnn.nn.SoftAttention")),
        (of(LSTM_PATH), of(LSTM_PATH)),
        (of("os.system"), of("vlrnn.nn.SoftAttention")),
        (of(LSTM_PATH), 4),
        (None, of("vlrnn.nn.SoftAttention")),
        ({"class": LSTM_PATH}, of("vlrnn.nn.SoftAttention")),
    ]:
        with subtests.test(recurrence=recurrence, attention=attention):
            arguments = {"recurrence": recurrence, "attention": attention, "embedding_dim": 4}
            with pytest.raises(UserError, match=r"^a\.ckpt: "):
                from_config(of("vlrnn.nn.ShowAttendTell", arguments), Decoder, "a.ckpt")


def test_the_same_description_is_accepted() -> None:
    attention = of("vlrnn.nn.SoftAttention", {"attention_dim": 4})
    arguments = {
        "recurrence": of(LSTM_PATH),
        "attention": attention,
        "embedding_dim": 4,
    }
    assert isinstance(from_config(of("vlrnn.nn.ShowAttendTell", arguments), Decoder, "a.ckpt").attention, Attention)


def test_an_error_of_the_part_names_the_file() -> None:
    with pytest.raises(UserError, match=r"^a\.ckpt: .*twice"):
        from_config(of("vlrnn.text.Vocabulary", {"words": ["a", "a"]}), Vocabulary, "a.ckpt")
    with pytest.raises(UserError, match=r"^a\.ckpt: "):
        from_config(of("vlrnn.text.Vocabulary", {"words": 3}), Vocabulary, "a.ckpt")
