"""Caption scores as a torchmetrics metric, for distributed training. Captions are stored as tensors, since torchmetrics
gathers nothing else."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from vlrnn.data.records import Id
from vlrnn.errors import UserError
from vlrnn.metrics.captions import CaptionScorer, CaptionScores


class CaptionMetric(Metric):
    """BLEU-1..4, ROUGE-L and CIDEr-D of the captions of all processes.

    Scored are the images that have a prediction. Of several predictions for one image, as from a sampler that pads the
    last batch, the first is used.

    Args:
        references: image id -> its reference captions, the same in every process; tokenized and counted once.
        options: of torchmetrics, such as `dist_sync_fn`.
    """

    full_state_update = False
    higher_is_better = True
    images: list[Tensor]
    lengths: list[Tensor]
    letters: list[Tensor]

    def __init__(self, references: Mapping[Id, Sequence[str]], **options: Any) -> None:
        super().__init__(**options)
        self.references = {id: tuple(captions) for id, captions in references.items()}
        self._places = {id: place for place, id in enumerate(self.references)}
        self._scorer: CaptionScorer | None = None
        for name in ("images", "lengths", "letters"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, predictions: Mapping[Id, str]) -> None:
        """Add predictions: image id -> caption.

        Raises:
            UserError: an image has no references.
        """
        unknown = [id for id in predictions if id not in self._places]
        if unknown:
            raise UserError(f"{len(unknown)} predictions are of images without references, the first is {unknown[0]!r}")
        if not predictions:
            return
        texts = [caption.encode("utf-8", "surrogatepass") for caption in predictions.values()]
        self.images.append(torch.tensor([self._places[id] for id in predictions], device=self.device))
        self.lengths.append(torch.tensor(list(map(len, texts)), device=self.device))
        self.letters.append(torch.tensor(list(b"".join(texts)), dtype=torch.uint8, device=self.device))

    def scores(self) -> CaptionScores:
        """The scores of the corpus and of each image.

        Raises:
            UserError: fewer than two images.
        """
        predictions = self._predictions()
        if len(predictions) < len(self.references):
            scored = {id: self.references[id] for id in self.references if id in predictions}
            return CaptionScorer(scored).score(predictions)
        self._scorer = self._scorer or CaptionScorer(self.references)
        return self._scorer.score(predictions)

    def compute(self) -> dict[str, Tensor]:
        """The scores of the corpus: `Bleu_1` .. `Bleu_4` and `ROUGE_L` in 0..1, `CIDEr` in 0..10."""
        scores = self.scores().corpus
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in scores.items()}

    def _predictions(self) -> dict[Id, str]:
        if not len(self.images):
            return {}
        # A state is a list of tensors in one process and one tensor after gathering.
        images, lengths, letters = map(dim_zero_cat, (self.images, self.lengths, self.letters))
        text = BytesIO(bytes(letters.tolist()))
        ids = list(self.references)
        predictions: dict[Id, str] = {}
        for image, length in zip(images.tolist(), lengths.tolist(), strict=True):
            predictions.setdefault(ids[image], text.read(length).decode("utf-8", "surrogatepass"))
        return predictions
