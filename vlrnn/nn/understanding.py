"""Understanding a question about an image: it is read, it looks, and what was asked and what was seen become one."""

from typing import NamedTuple

from torch import Tensor, nn

from vlrnn.nn.context import Context
from vlrnn.nn.fusion import Fusion
from vlrnn.nn.glimpses import Look
from vlrnn.nn.questions import Reader


class Understood(NamedTuple):
    """Of M questions: what was asked, `question` [M, Q], with it what was seen, `fused` [M, F], and where was looked,
    `attention` [M, G, N] or None."""

    question: Tensor
    fused: Tensor
    attention: Tensor | None


class Understanding(nn.Module):
    """Built of parts that are built here.

    Args:
        question_encoder: reads.
        look: what of the image a question sees.
        fusion: brings the two together.
        words: those that can be read.
        region_width: D, of the encoder's regions.

    Attributes:
        question_width: Q.
        width: F.
    """

    def __init__(
        self, question_encoder: Reader, look: Look, fusion: Fusion, words: tuple[str, ...], region_width: int
    ) -> None:
        super().__init__()
        self.question_encoder = question_encoder.build(words)
        self.look = look.build(question_encoder.width, region_width)
        self.fusion = fusion.build(question_encoder.width, look.width)
        # The products of a fusion are small: left so, what is behind them is long in hearing the question.
        self.even_out = nn.LayerNorm(fusion.width)
        self.question_width = question_encoder.width
        self.width = fusion.width

    def forward(self, tokens: Tensor, context: Context, image_of: Tensor) -> Understood:
        """Questions [M, T], row m about image `image_of[m]` of the context's B."""
        question = self.question_encoder(tokens)
        sight, attention = self.look(question, context, image_of)
        return Understood(question, self.even_out(self.fusion(question, sight)), attention)
