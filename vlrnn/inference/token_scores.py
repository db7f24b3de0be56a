"""Scores of given tokens under teacher forcing, and how a notebook shows them."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.encoders.base import Context, on_grid
from vlrnn.text.vocabulary import BOS, EOS, Vocabulary


class TokenScores(NamedTuple):
    """Scores of the T `tokens` of a caption, and of the end after them: the natural `log_probs` [T + 1]; the
    `attention` weights [T + 1, N], row by row of the grid; and the `gates` [T + 1] in 0..1. The last two are None where
    the decoder has none."""

    tokens: Sequence[str]
    log_probs: np.ndarray
    attention: np.ndarray | None
    gates: np.ndarray | None

    def _repr_html_(self) -> str:
        """For notebooks: each token with its probability and its attention map."""
        cells = []
        for place, token in enumerate([*self.tokens, "(end)"]):
            weights = None if self.attention is None else _picture(self.attention[place])
            cells.append(f"<td>{weights or ''}<br>{escape(token)}<br>{np.exp(self.log_probs[place]):.1%}</td>")
        return f"<table><tr style='text-align: center'>{''.join(cells)}</tr></table>"


def _picture(weights: np.ndarray) -> str:
    """Weights [N] of the cells of a square grid as a small picture; empty for any other N."""
    side = int(len(weights) ** 0.5)
    if side * side != len(weights):
        return ""
    shares = (255 * weights / max(float(weights.max()), 1e-12)).astype(np.uint8).reshape(side, side)
    file = BytesIO()
    Image.fromarray(shares).resize((56, 56), Image.Resampling.NEAREST).save(file, "PNG")
    return f"<img src='data:image/png;base64,{b64encode(file.getvalue()).decode()}'>"


@torch.no_grad()
def score_tokens(decoder: Decoder, vocabulary: Vocabulary, context: Context, tokens: Sequence[str]) -> TokenScores:
    """Score tokens, and the end after them, as a caption of the single image of a context."""
    device = context.regions.device
    ids = torch.tensor([[BOS, *vocabulary.encode(tokens), EOS]], device=device)
    output = decoder(ids[:, :-1], decoder.prepare(context), torch.zeros(1, dtype=torch.long, device=device))
    attention = None if output.attention is None else on_grid(output.attention, context)
    log_probs = decoder.logits(output.hidden).float().log_softmax(-1).gather(2, ids[:, 1:, None])[0, :, 0]
    more: Any = (None if each is None else each[0].cpu().numpy() for each in (attention, output.gate))
    return TokenScores(tokens, log_probs.cpu().numpy(), *more)
