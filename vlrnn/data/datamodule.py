"""From a prepared data set to batches: what Lightning asks for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from vlrnn.data.batches import Batch, CaptionedImages, QuestionedImages, collate
from vlrnn.data.feature_cache import FeatureCache, open_cache
from vlrnn.data.loaders import GlobalShuffleSampler, ResumableLoader, UnpaddedSampler
from vlrnn.data.records import SPLITS, Example, describe_dataset, open_split
from vlrnn.data.region_files import RegionFiles, open_regions
from vlrnn.data.split_index import SplitImages, check_scored, count_words, summarise_texts
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Encoder
from vlrnn.nn.encoders.precomputed import PrecomputedRegions
from vlrnn.progress import print_progress
from vlrnn.sidecar_cache import cached_json
from vlrnn.text.answer_vocabulary import AnswerPrior, AnswerVocabulary
from vlrnn.text.text_checks import is_wordless
from vlrnn.text.tokenizers import caption_tokenizer
from vlrnn.text.vocabulary import BOS, EOS, PAD, Vocabulary

_MIN_COUNT, _TEXTS = 5, 2000
"""Where none is set, `min_count` of large data sets, and with how many captions or questions more it rises by one."""

_LONGEST = {"caption": "max_length", "question": "max_question_length", "answer": "max_answer_length"}
"""Kind of text -> the setting of how many words of it are learnt."""

_COUNTS = ("batch_size", "captions_per_image", "min_count", "max_answers", "min_answer_count", "overfit")
_LEAST = {**dict.fromkeys([*_COUNTS, *_LONGEST.values()], 1), "num_workers": 0}
"""What settings are at least, where they are given."""


class VisionLanguageData(pl.LightningDataModule):
    """A prepared data set, for training, validation and test. What the encoder wants (size of images, cache) it reads
    off the task that it is used with.

    Args:
        root: the folder of the prepared data set.
        image_root: the folder that image paths are relative to; by default what `dataset.json` says, else `root`.
        batch_size: images in a batch.
        captions_per_image: how many of an image's captions, drawn anew each time, come with it in training; null: all.
        tokenizer: what captions, questions and answers are cut into: `words`, or `characters`, where words are written
            without spaces.
        min_count: words that occur less often in the training captions, or questions and answers, are `<unk>`; null: 1,
            and one more for every 2,000 captions or questions, up to 5.
        max_length: words of a training caption; what lies behind is cut off, and no end is taught there.
        max_question_length: words of a training question; what lies behind is not read.
        max_answer_length: words of an answer that a decoder learns; it learns no more of it, and no end there.
        max_answers: how many answers, the most frequent, a classifier chooses from; null: all.
        min_answer_count: how many training questions such an answer must be the majority's for.
        cache: the folder for encoder outputs; null computes them anew each time, as an encoder that learns needs it.
        num_workers: processes that load examples.
        bf16: compute the cache in bfloat16, where the processor or GPU has it.
        compiled: generate code for the encoder that computes the cache, where that can be done.
        overfit: when given, these many first examples of train are all that there is to train on and to validate with:
            a model that can learn at all soon knows them by heart.
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
            if (value := getattr(self, name)) is not None and value < least:
                raise UserError(f"data.{name} must be at least {least}, not {value}")
        self.image_root = Path(image_root) if image_root else self.root / describe_dataset(root).get("image_root", ".")
        self._images_of: dict[str, SplitImages] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Processes that load examples are sent it with what they load, without the Trainer, which cannot be sent."""
        return {**self.__dict__, "trainer": None}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words of the training split, and of no other: of captions, or of questions and their answers."""
        return self._counted[0]

    @cached_property
    def prior(self) -> AnswerPrior:
        """How often which answer is right in the training split.

        Raises:
            UserError: it has no answers.
        """
        return AnswerPrior(self._counted[1])

    @cached_property
    def answers(self) -> AnswerVocabulary:
        """The answers of the training split that a classifier chooses from.

        Raises:
            UserError: none is right often enough.
        """
        (answer, most), *_ = Counter(self.prior.overall).most_common(1)
        if most < self.min_answer_count:
            raise UserError(
                f"{self.root}/train.jsonl: no answer is right for {self.min_answer_count} questions; {answer!r}, "
                f"the most frequent, is for {most}: lower data.min_answer_count"
            )
        return AnswerVocabulary.top_answers(self.prior.overall, self.max_answers, self.min_answer_count)

    @cached_property
    def _counted(self) -> tuple[Vocabulary, dict[str, Counter[str]], list[str]]:
        """The words, the right answers of each question type, and a summary of the texts in lines."""
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
            UserError: there are none.
        """
        for split in self.splits or ["train"]:
            if examples := open_split(self.root, split):
                return examples[0].question is not None
        raise UserError(f"{self.root}: its splits hold no example")

    def _examples(self, split: str) -> Sequence[Example]:
        """The examples of a split."""
        if self.overfit is not None and split in ("train", "val"):
            return open_split(self.root, "train")[: self.overfit]
        return open_split(self.root, split)

    def _images(self, split: str) -> SplitImages:
        """The images of a split."""
        if split not in self._images_of:
            self._images_of[split] = SplitImages(self._examples(split))
        return self._images_of[split]

    @property
    def splits(self) -> list[str]:
        """The splits that are there."""
        return [split for split in SPLITS if (self.root / f"{split}.jsonl").is_file()]

    @property
    def place(self) -> dict[str, str]:
        """Where the data are, for results."""
        return {"data": str(self.root.resolve()), "image_root": str(self.image_root.resolve())}

    def locate(self, image: str) -> Path:
        """The file of an image."""
        return self.image_root / image

    def make_cache(
        self, encoder: Encoder, splits: Sequence[str], device: torch.device | str = "cpu", verify: bool = True
    ) -> Mapping[str, FeatureCache | RegionFiles]:
        """Make the encoder outputs of splits, or find them made, by us or others; `verify` as `open_cache` takes it.

        Raises:
            UserError: no cache folder is set, or as for `open_cache` and `RegionFiles`.
        """
        if isinstance(encoder, PrecomputedRegions):
            return {split: open_regions(encoder, self._images(split), split) for split in splits}
        if self.cache is None:
            raise UserError("data.cache names no folder for the encoder outputs")
        caches = {}
        for split in splits:
            images = {image: self.locate(image) for image in self._images(split)}
            # Named by the split alone: captions of and questions about the same images share their encoder outputs.
            caches[split] = open_cache(
                self.cache,
                split,
                encoder,
                images,
                num_workers=self.num_workers,
                device=device,
                bf16=self.bf16,
                compiled=self.compiled,
                verify=verify,
            )
        return caches

    def prepare_data(self) -> None:
        self._check()  # ahead of hours of encoding
        if "train" in self._used():
            for line in self._counted[2]:
                print_progress(line)
        if self._reads_regions:
            self.make_cache(self._encoder(), self._used(), self._trainer().strategy.root_device)

    def setup(self, stage: str) -> None:
        self._check()
        # What `prepare_data` verified just now need not be once more, by every process.
        self._caches = self.make_cache(self._encoder(), self._used(), verify=False) if self._reads_regions else {}

    def _check(self) -> None:
        for split in self._used():
            if split != "train":  # whose ids were looked at as its words were counted
                self._images(split)
                mine = self.overfit is None or split == "test"
                place = f"{self.root / split}.jsonl" if mine else "--overfit"
                check_scored(self._examples(split), self.has_questions, place, chooses="train" in self._used())

    def _used(self) -> tuple[str, ...]:
        """The splits that the Trainer is about to use."""
        return {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}[self._trainer().state.fn or "fit"]

    @property
    def _reads_regions(self) -> bool:
        return self.cache is not None or isinstance(self._encoder(), PrecomputedRegions)

    def _trainer(self) -> pl.Trainer:
        if self.trainer is None:
            raise RuntimeError("the data module is set up by a Trainer")
        return self.trainer

    def _encoder(self) -> Encoder:
        encoder = self._trainer().lightning_module.encoder
        assert isinstance(encoder, Encoder)
        return encoder

    def encode_caption(self, caption: str) -> list[int]:
        """A caption as ids, in `<bos>` and `<eos>`. Behind a cut no `<eos>` stands, and of a caption of no word nothing
        is taught."""
        if is_wordless(caption):
            return [BOS, PAD]
        ids = self.vocabulary.encode_text(caption)
        return [BOS, *ids[: self.max_length], *([EOS] if len(ids) <= self.max_length else ())]

    def encode_question(self, question: str) -> list[int]:
        """A training question as ids; what lies behind a cut is not read."""
        return self.vocabulary.encode_text(question)[: self.max_question_length]

    def loader(self, split: str) -> DataLoader[Batch]:
        """Batches of a split; those of train are shuffled."""
        examples = self._examples(split)
        more = {"locate": self.locate, "size": self._encoder().image_size, "cache": self._caches.get(split)}
        data: CaptionedImages | QuestionedImages
        if self.has_questions:
            encode = self.encode_question if split == "train" else self.vocabulary.encode_text
            data = QuestionedImages(examples, self._images(split).of_example, encode=encode, **more)
        else:
            captions = self.captions_per_image if split == "train" else None
            data = CaptionedImages(examples, captions, encode=self.encode_caption, **more)
        trainer = self._trainer()
        processes, rank = trainer.world_size, trainer.global_rank
        sampler: UnpaddedSampler | GlobalShuffleSampler | None = None
        if processes > 1 and split == "train":
            sampler = GlobalShuffleSampler(data, processes, rank, self.batch_size)
        elif processes > 1:
            sampler = UnpaddedSampler(data, processes, rank)
        return (ResumableLoader if split == "train" else DataLoader)(
            data,  # type: ignore[arg-type]
            self.batch_size,
            shuffle=split == "train" and sampler is None,
            sampler=sampler,
            collate_fn=collate,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.loader("test")
