"""The interface of tasks: what they accept and declare, what they take from data, and how they predict.

The command line, `Predictor`, probes and export use tasks through this interface alone, so that a task of another
package is used as those of vlrnn are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import pytorch_lightning as pl
import torch

from vlrnn.config import Configurable, classes_of, to_config
from vlrnn.data.batches import Batch
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.image_reader import ImageReader, image_list, image_name
from vlrnn.data.records import AttentionMaps, Example, Id, Prediction
from vlrnn.errors import UserError, check_names
from vlrnn.generation.generate import TokenDistributions
from vlrnn.generation.search import GenerationConfig
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.training.checkpoint import load_task
from vlrnn.training.objectives.base import Loss
from vlrnn.trust import needed_trust

PIPELINE_TAGS = {
    frozenset({"image"}): "image-to-text",
    frozenset({"image", "question"}): "visual-question-answering",
    frozenset({"text"}): "text-generation",
}
"""What a task accepts -> its name on the Hugging Face hub."""

_CARD = """---
library_name: vlrnn
pipeline_tag: {tag}
---

A {kind} of vlrnn{more}. To use it:

```python
import vlrnn

model = vlrnn.pipeline("{tag}", model="user/name"{trust})
```
"""


class TaskInterface(Configurable, pl.LightningModule):
    """What every task has. `loss`, `predict` and `score` must be implemented; what else a task lacks, commands refuse.

    Attributes:
        encoder: maps images to region features.
        vocabulary: the words of captions, questions or texts.
        tokenizer: of tasks that read a text.
        decoder: of tasks that generate text.
        generation: search and sampling, where these can be changed at each call of `predict`.
    """

    required = ("predict", "score", "summary", "monitor")

    encoder: Encoder
    vocabulary: Vocabulary
    tokenizer: Any
    decoder: Any
    generation: GenerationConfig

    accepts: frozenset[str] = frozenset({"image"})
    """What a prediction is made from: any of "image", "question", "text"."""

    command: str = "caption"
    """The command of vlrnn that predicts with it."""

    summary: str
    """What it does, for messages: `captions`."""

    monitor: str
    """The score by which checkpoints are compared."""

    mode: Literal["max", "min"] = "max"
    """Whether the best score is the highest or the lowest."""

    data_class: type[pl.LightningDataModule] = VisionLanguageData
    """The data module that it is trained on."""

    data_arguments: tuple[str, ...] = ("vocabulary",)
    """Arguments of the constructor that come from the data: names of attributes of the data module."""

    @property
    def pipeline_tag(self) -> str:
        """The task's name on the Hugging Face hub."""
        return PIPELINE_TAGS.get(self.accepts, "other")

    @property
    def model_card(self) -> str:
        """The README.md of the model on the hub."""
        needed = needed_trust(classes_of(to_config(self)))
        flags = " ".join(f"--trust {package}" for package in needed)
        more = f" with classes outside vlrnn, which run their own code; commands need `{flags}`" if needed else ""
        trust = f", trust={needed}" if needed else ""
        return _CARD.format(kind=type(self).__name__, tag=self.pipeline_tag, more=more, trust=trust)

    @classmethod
    def from_data(cls, data: Any, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        """The values of `data_arguments`.

        Args:
            data: a `data_class`; parts of the checkpoint replace its own.
            checkpoint: the parts among `data_arguments` of the checkpoint that is scored; empty in training.

        Raises:
            UserError: the data hold captions where the task takes questions, or the other way round; or the data class
                lacks one of them.
        """
        has_questions = getattr(data, "has_questions", False)
        if has_questions != ("question" in cls.accepts):
            wants, holds = ("captions", "questions") if has_questions else ("questions", "captions")
            raise UserError(f"{data.root}: has {holds}, but {cls.__name__} is for {wants}")
        for name, part in checkpoint.items():
            setattr(data, name, part)
        for name in cls.data_arguments:
            if name not in vars(data) and not hasattr(type(data), name):
                raise UserError(
                    f"{type(data).__name__}: {cls.__name__} requires the attribute {name} of its data class, by its "
                    "data_arguments"
                )
        return {name: getattr(data, name) for name in cls.data_arguments}

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device | None = None,
        *,
        strict: bool | None = None,
        weights_only: bool | None = None,
        trust: Sequence[str] = (),
    ) -> Self:
        """Load a task of this class from a `.ckpt` file or a folder of `save_pretrained`, in evaluation mode; nothing
        is unpickled.

        Args:
            checkpoint_path: of the file or folder.
            map_location: the device, by default the CPU.
            strict, weights_only: of Lightning: every weight must fit and nothing is unpickled, whatever they are;
                False is refused.
            trust: packages outside vlrnn whose classes it may name; see `vlrnn.trust`.

        Raises:
            UserError: as of `load_task`; or `map_location` is no device.
        """
        if strict is False or weights_only is False:
            raise UserError(f"{checkpoint_path}: is loaded with strict and weights_only; leave them out, or give True")
        if not isinstance(map_location, str | torch.device | None):
            raise UserError(f"map_location must be a device, as 'cuda', not {map_location!r:.60}")
        return load_task(checkpoint_path, cls, trust).to(map_location or "cpu")

    def encode_images(self, batch: Batch) -> Context:
        """The context [B, ...] of a batch, from its pixels or from cached regions."""
        if batch.regions is not None:
            context = self.encoder.context(batch.regions)
        else:
            assert batch.images is not None
            context = self.encoder(batch.images)
        self.encoder.check_context(context)
        return context

    def with_features(self, batch: Batch) -> Batch:
        """The batch with regions in place of images, so that they are encoded once."""
        if "image" not in self.accepts or batch.images is None:
            return batch
        return batch._replace(images=None, regions=self.encoder.regions(batch.images))

    def loss(self, batch: Batch) -> Loss:
        """The loss of a batch, a sum and its count."""
        raise NotImplementedError

    def predict(self, batch: Batch) -> list[Prediction]:
        """Predictions for a batch's examples. Tasks with `generation` also take the arguments `generation` and
        `generator`; tasks that answer questions may take `top_n`, the most answers to each."""
        raise NotImplementedError

    @torch.no_grad()
    def generate(
        self,
        images: Any = None,
        texts: Sequence[str] | None = None,
        config: GenerationConfig | None = None,
        *,
        generator: torch.Generator | None = None,
        **changes: Any,
    ) -> list[Prediction]:
        """Predictions from images and texts, of what the task `accepts`. Call `eval()` first.

        Args:
            images: B images: a uint8 tensor [B, 3, H, W], or files, bytes, Pillow images or arrays as of
                `vlrnn.data.images.read_image`.
            texts: questions, one for each image, or any number about a single one; or beginnings of texts.
            config: search and sampling; by default the task's own.
            generator: of random numbers, for sampling.
            changes: fields of the config to change: `num_beams=5`.

        Raises:
            UserError: an image cannot be read, a question has no words, or the settings contradict each other.
        """
        if (texts is not None) != ("question" in self.accepts):
            wanted = "images and questions" if "question" in self.accepts else "images alone"
            raise UserError(f"{type(self).__name__}.generate takes {wanted}")
        reader = ImageReader(self.encoder, self.device)
        numbered = list(enumerate(image_list(images, "generate"), 1))
        if not numbered or texts == []:
            return []
        read = [reader.read(image, number) for number, image in numbered]
        names = [image_name(image, number) for number, image in numbered]
        return self.predict(
            reader.batch(read, names, texts, self.vocabulary if texts is not None else None),
            **self.generation_arguments(changes, generator, config),
        )

    def generation_arguments(
        self,
        changes: dict[str, Any],
        generator: torch.Generator | None = None,
        config: GenerationConfig | None = None,
    ) -> dict[str, Any]:
        """Arguments `generation` and `generator` of `predict`; empty for a task without settings.

        Args:
            changes: fields of the config to change; a temperature alone means one beam.
            generator: of random numbers.
            config: by default the task's own.

        Raises:
            UserError: the settings contradict each other, one does not exist, or there are some of a task that has
                none.
        """
        if not hasattr(self, "generation"):
            if changes or config:
                raise UserError(f"{type(self).__name__} has no generation settings")
            return {}
        if changes.get("temperature") is not None:
            changes = {"num_beams": 1, **changes}
        check_names(changes, GenerationConfig.__dataclass_fields__, "setting of generation")
        return {"generation": replace(config or self.generation, **changes), "generator": generator}

    def distributions(self, batch: Batch, predictions: Sequence[Prediction]) -> TokenDistributions:
        """The distribution over all tokens at each position of predictions, its own or others, for a batch's
        examples."""
        raise NotImplementedError

    def attention_maps(self, batch: Batch, predictions: Sequence[Prediction]) -> list[AttentionMaps]:
        """The attention at each token of predictions for a batch's examples; empty without attention."""
        return []

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        """`{"scores": {...}, "settings": {...}}` of predictions for the examples of a split; `items`, where given,
        yields the fields that `ScoredExample` adds to each example, in their order."""
        raise NotImplementedError
