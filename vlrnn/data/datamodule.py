"""Lightning data module of a prepared data set."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

from vlrnn.data.batches import Batch, CaptionedImages, QuestionedImages, collate
from vlrnn.data.feature_cache import FeatureCache, open_cache
from vlrnn.data.loaders import GlobalShuffleSampler, ResumableLoader, SplitDataModule, UnpaddedSampler
from vlrnn.data.records import SPLITS, Example, describe_dataset, open_split
from vlrnn.data.region_files import RegionFiles, open_regions
from vlrnn.data.split_index import SplitImages, check_scored, count_words, summarise_texts
from vlrnn.errors import UserError, check_least
from vlrnn.nn.encoders.base import Encoder
from vlrnn.nn.encoders.precomputed import PrecomputedRegions
from vlrnn.progress import print_progress
from vlrnn.sidecar_cache import cached_json
from vlrnn.text.tokenizers import caption_tokenizer, is_wordless
from vlrnn.text.vocabulary import BOS, EOS, PAD, AnswerPrior, AnswerVocabulary, Vocabulary

_MIN_COUNT, _TEXTS = 5, 2000
"""Largest default of `min_count`, and the number of captions or questions by which the default rises by one."""

_LONGEST = {"caption": "max_length", "question": "max_question_length", "answer": "max_answer_length"}
"""Kind of text -> the setting of its maximum length in words."""

_COUNTS = ("batch_size", "captions_per_image", "min_count", "max_answers", "min_answer_count", "overfit")
_LEAST = {**dict.fromkeys([*_COUNTS, *_LONGEST.values()], 1), "num_workers": 0}
"""Least values of settings."""


class VisionLanguageData(SplitDataModule):
    """A prepared data set, for training, validation and test. Image size and cache are those of the encoder of the task
    that the Trainer runs.

    Args:
        root: the folder of the prepared data set.
        image_root: the folder that image paths are relative to; by default that in `dataset.json`, else `root`.
        batch_size: images in a batch.
        captions_per_image: captions of an image that are sampled for each training batch; null: all.
        tokenizer: splits captions, questions and answers into `words`, or into `characters` for scripts without spaces.
        min_count: words that occur less often in the training captions, or questions and answers, are `<unk>`; null: 1,
            plus one for every 2,000 captions or questions, up to 5.
        max_length: words of a training caption; longer ones are truncated, without `<eos>`.
        max_question_length: words of a training question; longer ones are truncated.
        max_answer_length: words of a decoder's training answer; longer ones are truncated, without `<eos>`.
        max_answers: number of answer classes of a classifier, the most frequent answers; null: all.
        min_answer_count: least number of training questions with such an answer as the majority's.
        cache: the folder for encoder outputs; null: they are computed for each batch, as a trained encoder requires.
        num_workers: processes that load examples.
        bf16: compute the cache in bfloat16 if the device supports it.
        compiled: use torch.compile for the encoder that computes the cache, if possible.
        overfit: train and validate on this number of examples, the first of train, as a test that a model can learn.
    """

    def __init__(
        self,
        root: str,
        image_root: str | None = None,
        batch_size: int = 32,
        captions_per_image: int | None = None,
        tokenizer: Literal["words", "characters"] = "words",
        min_count: int | None = None,
        max_length: int = 30,
        max_question_length: int = 500,
        max_answer_length: int = 500,
        max_answers: int | None = None,
        min_answer_count: int = 1,
        cache: str | None = None,
        num_workers: int = 0,
        bf16: bool = False,
        compiled: bool = False,
        overfit: int | None = None,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.batch_size = batch_size
        self.captions_per_image = captions_per_image
        self.tokenizer = caption_tokenizer(tokenizer)
        self.min_count = min_count
        self.max_length = max_length
        self.max_question_length = max_question_length
        self.max_answer_length = max_answer_length
        self.max_answers = max_answers
        self.min_answer_count = min_answer_count
        self.cache = cache
        self.num_workers = num_workers
        self.bf16 = bf16
        self.compiled = compiled
        self.overfit = overfit
        for name, least in _LEAST.items():
            check_least(f"data.{name}", getattr(self, name), least)
        self.image_root = Path(image_root) if image_root else self.root / describe_dataset(root).get("image_root", ".")
        self._images_of: dict[str, SplitImages] = {}

    def __getstate__(self) -> dict[str, Any]:
        """For the worker processes of data loaders: without the Trainer, which cannot be pickled."""
        return {**self.__dict__, "trainer": None}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words of the training split only: of captions, or of questions and their answers."""
        return self._counted[0]

    @cached_property
    def prior(self) -> AnswerPrior:
        """The counts of correct answers in the training split.

        Raises:
            UserError: it has no answers.
        """
        return AnswerPrior(self._counted[1])

    @cached_property
    def answers(self) -> AnswerVocabulary:
        """The answer classes of a classifier, from the training split.

        Raises:
            UserError: no answer is frequent enough.
        """
        (answer, most), *_ = Counter(self.prior.overall).most_common(1)
        if most < self.min_answer_count:
            raise UserError(
                f"{self.root}/train.jsonl: no answer is correct for {self.min_answer_count} questions; {answer!r}, "
                f"the most frequent, is for {most}: lower data.min_answer_count"
            )
        return AnswerVocabulary.top_answers(self.prior.overall, self.max_answers, self.min_answer_count)

    @cached_property
    def _counted(self) -> tuple[Vocabulary, dict[str, Counter[str]], list[str]]:
        """The vocabulary, the correct answers of each question type, and the lines of a summary of the texts."""
        examples = open_split(self.root, "train")
        found = cached_json(
            examples.path,
            f"words.{self.tokenizer.name}",
            lambda: count_words(examples, self.tokenizer, str(examples.path)),
        )
        answers = {kind: Counter(counts) for kind, counts in found["answers"].items()}
        min_count = self.min_count or min(_MIN_COUNT, 1 + found["texts"]["all"] // _TEXTS)
        vocabulary = Vocabulary.of(found["words"], min_count, self.tokenizer.name)
        longest = {kind: getattr(self, setting) for kind, setting in _LONGEST.items()}
        lines = summarise_texts(found, vocabulary, min_count, longest, str(examples.path))
        return vocabulary, answers, lines

    @cached_property
    def has_questions(self) -> bool:
        """Whether the examples are questions.

        Raises:
            UserError: there are no examples.
        """
        for split in self.splits or ["train"]:
            if examples := open_split(self.root, split):
                return examples[0].question is not None
        raise UserError(f"{self.root}: its splits have no examples")

    def _examples(self, split: str) -> Sequence[Example]:
        if self.overfit is not None and split in ("train", "val"):
            return open_split(self.root, "train")[: self.overfit]
        return open_split(self.root, split)

    def _images(self, split: str) -> SplitImages:
        if split not in self._images_of:
            self._images_of[split] = SplitImages(self._examples(split))
        return self._images_of[split]

    @property
    def splits(self) -> list[str]:
        """The splits that exist."""
        return [split for split in SPLITS if (self.root / f"{split}.jsonl").is_file()]

    @property
    def place(self) -> dict[str, str]:
        """The folders of the data, for result files."""
        return {"data": str(self.root.resolve()), "image_root": str(self.image_root.resolve())}

    def locate(self, image: str) -> Path:
        """The file of an image."""
        return self.image_root / image

    def make_cache(
        self, encoder: Encoder, splits: Sequence[str], device: torch.device | str = "cpu", verify: bool = True
    ) -> Mapping[str, FeatureCache | RegionFiles]:
        """Open the cached encoder outputs of splits, and compute those that are missing; `verify` as of `open_cache`.

        Raises:
            UserError: no cache folder is set, or as of `open_cache` and `RegionFiles`.
        """
        if isinstance(encoder, PrecomputedRegions):
            return {split: open_regions(encoder, self._images(split), split) for split in splits}
        if self.cache is None:
            raise UserError("data.cache names no folder for the encoder outputs")
        caches = {}
        for split in splits:
            images = {image: self.locate(image) for image in self._images(split)}
            # Named by the split only: data sets of captions and of questions share the encoder outputs of their images.
            how: dict[str, Any] = {"num_workers": self.num_workers, "bf16": self.bf16, "compiled": self.compiled}
            caches[split] = open_cache(self.cache, split, encoder, images, device=device, verify=verify, **how)
        return caches

    def prepare_data(self) -> None:
        self._check()  # before hours of encoding
        if "train" in self.used_splits():
            for line in self._counted[2]:
                print_progress(line)
        if self._reads_regions:
            self.make_cache(self._encoder(), self.used_splits(), self.attached_trainer().strategy.root_device)

    def setup(self, stage: str) -> None:
        self._check()
        # `prepare_data` has verified the checksums.
        self._caches = self.make_cache(self._encoder(), self.used_splits(), verify=False) if self._reads_regions else {}

    def _check(self) -> None:
        for split in self.used_splits():
            if split != "train":  # the ids of train were checked when its words were counted
                self._images(split)
                mine = self.overfit is None or split == "test"
                place = f"{self.root / split}.jsonl" if mine else "--overfit"
                check_scored(self._examples(split), self.has_questions, place, chooses="train" in self.used_splits())

    @property
    def _reads_regions(self) -> bool:
        return self.cache is not None or isinstance(self._encoder(), PrecomputedRegions)

    def _encoder(self) -> Encoder:
        encoder = self.attached_trainer().lightning_module.encoder
        assert isinstance(encoder, Encoder)
        return encoder

    def encode_caption(self, caption: str) -> list[int]:
        """The ids of a caption, between `<bos>` and `<eos>`; without `<eos>` if it is truncated. A caption without
        words has no target."""
        if is_wordless(caption):
            return [BOS, PAD]
        ids = self.vocabulary.encode_text(caption)
        return [BOS, *ids[: self.max_length], *([EOS] if len(ids) <= self.max_length else ())]

    def encode_question(self, question: str) -> list[int]:
        """The ids of a training question, truncated to the maximum length."""
        return self.vocabulary.encode_text(question)[: self.max_question_length]

    def loader(self, split: str) -> DataLoader[Batch]:
        """The batches of a split, shuffled for train."""
        examples = self._examples(split)
        more = {"locate": self.locate, "size": self._encoder().image_size, "cache": self._caches.get(split)}
        data: CaptionedImages | QuestionedImages
        if self.has_questions:
            encode = self.encode_question if split == "train" else self.vocabulary.encode_text
            data = QuestionedImages(examples, self._images(split).of_example, encode=encode, **more)
        else:
            captions = self.captions_per_image if split == "train" else None
            data = CaptionedImages(examples, captions, encode=self.encode_caption, **more)
        trainer = self.attached_trainer()
        processes, rank = trainer.world_size, trainer.global_rank
        sampler: UnpaddedSampler | GlobalShuffleSampler | None = None
        if processes > 1 and split == "train":
            sampler = GlobalShuffleSampler(data, processes, rank, self.batch_size)
        elif processes > 1:
            sampler = UnpaddedSampler(data, processes, rank)
        how: dict[str, Any] = {"batch_size": self.batch_size, "num_workers": self.num_workers, "collate_fn": collate}
        shuffle, pin_memory = split == "train" and sampler is None, torch.cuda.is_available()
        how |= {"sampler": sampler, "shuffle": shuffle, "pin_memory": pin_memory}
        return (ResumableLoader if split == "train" else DataLoader)(data, **how)  # type: ignore[arg-type]
