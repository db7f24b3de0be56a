"""Batches: an image stands once with all its captions, words are counted on the training split alone."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from vlrnn.data.batches import CaptionedImages, Item, collate
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.images import open_image, pixels
from vlrnn.data.records import Example, open_split, write_dataset
from vlrnn.errors import UserError
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.text.ptb_tokenizer import tokenize
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK


class Trainer:
    """As much of a Trainer as a data module asks."""

    def __init__(self, encoder: TorchvisionEncoder) -> None:
        self.lightning_module = nn.Module()
        self.lightning_module.encoder = encoder
        self.strategy = self.state = self
        self.fn = "fit"
        self.root_device = torch.device("cpu")
        self.world_size, self.global_rank = 1, 0


def attached(data: VisionLanguageData, encoder: TorchvisionEncoder) -> VisionLanguageData:
    data.trainer = Trainer(encoder)  # type: ignore[assignment]
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.fixture
def encoder(classifier_file: Path) -> TorchvisionEncoder:
    return TorchvisionEncoder("mobilenet_v3_small", str(classifier_file))


def test_vocabulary_is_counted_on_train_alone(dataset: Path) -> None:
    data = VisionLanguageData(str(dataset), min_count=1)
    captions = [tokenize(caption) for example in open_split(dataset, "train") for caption in example.captions]
    assert set(data.vocabulary.words[4:]) == {word for caption in captions for word in caption}
    assert "white" not in data.vocabulary  # which val and test hold
    rare = VisionLanguageData(str(dataset), min_count=7)
    counts = {word: sum(caption.count(word) for caption in captions) for caption in captions for word in caption}
    assert set(rare.vocabulary.words[4:]) == {word for word, count in counts.items() if count >= 7}


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches(dataset: Path, encoder: TorchvisionEncoder, tmp_path: Path, cached: bool, num_workers: int) -> None:
    cache = str(tmp_path) if cached else None
    data = VisionLanguageData(str(dataset), batch_size=3, min_count=1, cache=cache, num_workers=num_workers)
    attached(data, encoder)
    batches = list(data.train_dataloader())
    assert [len(batch.examples) for batch in batches] == [3, 3, 2]
    drawn = [example for batch in batches for example in batch.examples]
    assert sorted(example.id for example in drawn) == sorted(each.id for each in open_split(dataset, "train"))
    for batch in batches:
        items = len(batch.examples)
        if cached:
            assert batch.images is None
            assert batch.regions.shape == (items, encoder.num_regions, encoder.feature_dim)
        else:
            assert batch.regions is None
            assert batch.images.shape == (items, 3, encoder.image_size, encoder.image_size)
            assert batch.images.dtype == torch.uint8
            expected = pixels(open_image(dataset / batch.examples[-1].image), encoder.image_size)
            assert torch.equal(batch.images[-1], torch.from_numpy(expected))
        assert batch.image_index.tolist() == [index for index in range(items) for _ in range(2)]
        for row, index in enumerate(batch.image_index.tolist()):
            caption = batch.examples[index].captions[row - 2 * index]
            ids = [BOS, *data.vocabulary.encode(tokenize(caption)), EOS]
            filled = batch.tokens[row].tolist()
            assert filled == ids + [PAD] * (len(filled) - len(ids))
        assert (batch.tokens != PAD).any(0).all()  # no wider than needed


def test_train_is_shuffled_and_the_others_are_not(dataset: Path, encoder: TorchvisionEncoder) -> None:
    data = attached(VisionLanguageData(str(dataset), batch_size=20), encoder)
    orders = {tuple(example.id for example in next(iter(data.train_dataloader())).examples) for _ in range(4)}
    assert len(orders) > 1
    for split in ("val", "test"):
        (batch,) = data.loader(split)
        assert list(batch.examples) == list(open_split(dataset, split))


def test_captions_are_drawn_anew(
    make_dataset: Callable[..., Path], tmp_path: Path, encoder: TorchvisionEncoder
) -> None:
    """In training as many as asked for, others each time; elsewhere all."""
    folder = make_dataset(tmp_path / "squares", (9, 3))
    data = attached(VisionLanguageData(str(folder), captions_per_image=1, min_count=1, batch_size=20), encoder)
    (all_of_them,) = data.loader("val")
    assert len(all_of_them.tokens) == sum(len(example.captions) for example in all_of_them.examples) > 3
    drawn: dict[object, set[tuple[int, ...]]] = {}
    for _ in range(8):
        (batch,) = data.train_dataloader()
        assert sorted(batch.image_index.tolist()) == list(range(9))
        for image, row in zip(batch.image_index.tolist(), batch.tokens.tolist(), strict=True):
            drawn.setdefault(batch.examples[image].id, set()).add(tuple(id for id in row if id))
    assert max(map(len, drawn.values())) > 1


def test_a_single_image_cannot_be_scored(
    make_dataset: Callable[..., Path], tmp_path: Path, encoder: TorchvisionEncoder
) -> None:
    folder = make_dataset(tmp_path / "squares", (4, 1))
    with pytest.raises(UserError, match=r"val\.jsonl.*two images at least"):
        attached(VisionLanguageData(str(folder)), encoder)


def test_long_captions_are_cut_and_rare_words_unknown(dataset: Path, encoder: TorchvisionEncoder) -> None:
    data = attached(VisionLanguageData(str(dataset), min_count=16, max_length=4, batch_size=20), encoder)
    (batch,) = data.train_dataloader()
    assert batch.tokens.shape == (16, 5)
    a, square, on = data.vocabulary.encode(["a", "square", "on"])
    assert (batch.tokens[::2] == torch.tensor([BOS, a, UNK, square, on])).all()  # `a red square on`, and no end


def item(captions: list[list[int]]) -> Item:
    return Item((Example(1, 1, "a"),), torch.zeros(3, 4, 4, dtype=torch.uint8), None, captions)


def test_collate_of_uneven_captions() -> None:
    batch = collate([item([[1, 5, 2]]), item([]), item([[1, 2], [1, 6, 7, 2]])])
    assert batch.tokens.tolist() == [[1, 5, 2, 0], [1, 2, 0, 0], [1, 6, 7, 2]]
    assert batch.image_index.tolist() == [0, 2, 2]
    assert batch.images.shape == (3, 3, 4, 4)


def test_collate_without_any_caption() -> None:
    batch = collate([item([]), item([])])
    assert batch.tokens.shape[0] == batch.image_index.shape[0] == 0
    assert batch.tokens.dtype == batch.image_index.dtype == torch.long


def test_batches_move(dataset: Path, encoder: TorchvisionEncoder) -> None:
    (batch,) = attached(VisionLanguageData(str(dataset), batch_size=20), encoder).train_dataloader()
    moved = batch.to("meta")
    assert moved.regions is None
    assert moved.images.is_meta
    assert moved.tokens is batch.tokens  # words stay
    assert moved.image_index is batch.image_index
    assert moved.examples == batch.examples


def test_examples_travel_to_workers(dataset: Path) -> None:
    """What is sent to a worker process does not grow with the data set beyond the index."""
    examples = open_split(dataset, "train")
    sent = pickle.dumps(CaptionedImages(examples, locate=dataset.joinpath, size=32, encode=list))
    assert len(pickle.loads(sent)) == 8
    assert len(sent) < 2000


def test_image_root(dataset: Path, tmp_path: Path, encoder: TorchvisionEncoder) -> None:
    """Images may lie elsewhere, as `dataset.json` or the user says."""
    splits = {split: list(open_split(dataset, split)) for split in ("train", "val")}
    write_dataset(tmp_path, splits, name="n", source="s", licence="l", image_root=str(dataset))
    data = attached(VisionLanguageData(str(tmp_path), batch_size=20), encoder)
    assert data.locate("images/a.png") == dataset / "images/a.png"
    assert len(next(iter(data.train_dataloader())).examples) == 8
    assert VisionLanguageData(str(tmp_path), image_root="other").locate("a.png") == Path("other/a.png")


def test_splits_that_are_absent(make_dataset: Callable[..., Path], tmp_path: Path, encoder: TorchvisionEncoder) -> None:
    folder = make_dataset(tmp_path / "squares", (9, 3))
    data = attached(VisionLanguageData(str(folder), cache=str(tmp_path / "cache")), encoder)
    assert data.splits == ["train", "val"]
    assert len(list((tmp_path / "cache").iterdir())) == 2
    with pytest.raises(UserError, match="no split 'test'"):
        data.test_dataloader()


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a prepared data set"):
        VisionLanguageData(str(tmp_path / "absent"))
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "n"}))
    with pytest.raises(UserError, match="no split 'train'"):
        _ = VisionLanguageData(str(tmp_path)).vocabulary


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"max_length": 0}, {"num_workers": -1}, {"captions_per_image": 0}], ids=str
)
def test_wrong_settings_are_refused(dataset: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        VisionLanguageData(str(dataset), **wrong)


def test_an_unreadable_image_is_named(
    make_dataset: Callable[..., Path], tmp_path: Path, encoder: TorchvisionEncoder
) -> None:
    folder = make_dataset(tmp_path / "squares")
    (folder / "images" / "red_top.png").write_bytes(b"")
    for workers in (0, 1):
        data = attached(VisionLanguageData(str(folder), batch_size=20, num_workers=workers), encoder)
        with pytest.raises(UserError, match=r"red_top\.png") as error:
            next(iter(data.train_dataloader()))
        assert "\n" not in str(error.value)
