"""Both heads of VQA: they learn by heart, every parameter gets a gradient, a saved one answers the same elsewhere."""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from every_cell import KINDS
from quick import quick
from torch.utils.data import DataLoader

from vlrnn.data.batches import Batch, Item, collate
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.generation.answer_decoding import (
    AnswerDecoding,
    ConstrainedAnswers,
    OpenAnswers,
    RankedAnswers,
    encode_answer,
)
from vlrnn.generation.generate import Items, generate, score_sequences
from vlrnn.generation.search import GenerationConfig
from vlrnn.nn.attention import DotAttention
from vlrnn.nn.batching import Tree, index_rows, leaves
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import BlindEncoder, Context
from vlrnn.nn.fusion import Concatenation
from vlrnn.nn.question_encoder import RecurrentQuestionEncoder
from vlrnn.nn.question_image import QuestionGuidedAttention
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU, LSTM
from vlrnn.tasks.classifier_vqa import ClassifierVQA
from vlrnn.tasks.generative_vqa import GenerativeVQA
from vlrnn.tasks.vqa import VQATask
from vlrnn.text.ptb_tokenizer import tokenize
from vlrnn.text.vocabulary import EOS, AnswerVocabulary, Vocabulary, majority
from vlrnn.text.vqa_normalization import answer_to_tokens, canonical_answer
from vlrnn.training.checkpoint import load_task, save_pretrained
from vlrnn.training.objectives.answers import (
    AnswerObjective,
    MajorityCrossEntropy,
    SampledCrossEntropy,
    SoftScores,
    Targets,
)
from vlrnn.training.optimization import Optimization

FAST = Optimization(lr=5e-3, weight_decay=0.0, warmup_fraction=0.1)
QUESTION_ANSWERS = [
    ("what color is it", ["red"] * 7 + ["dark red"] * 3),
    ("what color is this", ["blue"] * 10),
    ("is it dark", ["yes"] * 9 + ["no"]),
    ("is this dark", ["no"] * 10),
    ("how many are there", ["2"] * 9 + ["3"]),
    ("what is it", ["fire truck"] * 10),
    ("what is there", ["ship", "truck"] * 5),
    ("", ["Chair, table"]),
]
EXAMPLES = [
    Example(
        f"q{n}", f"i{n // 2}", f"{n // 2}.png", question=question, answers=tuple(answers), question_type=question[:4]
    )
    for n, (question, answers) in enumerate(QUESTION_ANSWERS)
]
WORDS = [tokenize(each.question or "") for each in EXAMPLES]
WORDS += [answer_to_tokens(canonical_answer(answer)) for each in EXAMPLES for answer in each.answers]
VOCABULARY = Vocabulary.count(WORDS)
ANSWERS = AnswerVocabulary.top_answers(
    Counter(majority(list(map(canonical_answer, each.answers))) for each in EXAMPLES)
)


def batch() -> Batch:
    """Eight questions about four images, two each, of one region that BlindEncoder makes of nothing."""
    items = []
    for image in range(4):
        pair = tuple(EXAMPLES[2 * image : 2 * image + 2])
        rows = [VOCABULARY.encode(tokenize(example.question or "")) for example in pair]
        items.append(Item(pair, None, torch.zeros(1, 1), rows))
    return collate(items)


def parts(recurrence: Recurrence | None = None) -> dict[str, object]:
    return {
        "encoder": BlindEncoder(),
        "question_encoder": RecurrentQuestionEncoder(recurrence or LSTM(24), embedding_dim=16),
        "image_pooling": QuestionGuidedAttention(
            DotAttention(8), num_glimpses=2, region_dim=8, position_frequencies=1, add_mean_pool=True
        ),
        "fusion": Concatenation(32),
    }


def classifier(loss: AnswerObjective | None = None, num_members: int = 1) -> ClassifierVQA:
    torch.manual_seed(0)
    return ClassifierVQA(
        VOCABULARY,
        ANSWERS,
        **parts(),
        objective=loss,
        num_members=num_members,
        optimization=FAST,  # type: ignore[arg-type]
    )


def generative(decoder: Decoder | None = None, **more: object) -> GenerativeVQA:
    torch.manual_seed(0)
    decoder = decoder or ShowAndTell(GRU(32), embedding_dim=24, dropout=0.0)
    return GenerativeVQA(VOCABULARY, ANSWERS, **parts(), decoder=decoder, optimization=FAST, **more)  # type: ignore[arg-type]


def attending() -> Decoder:
    return ShowAttendTell(LSTM(32), DotAttention(8), embedding_dim=24, dropout=0.0, attend_with_word=True)


def of_kind(kind: str) -> VQATask:
    """Questions are read, and answers said, by a cell of this kind."""
    torch.manual_seed(0)
    make = KINDS[kind]
    decoder = ShowAndTell(make(32), embedding_dim=24, dropout=0.0)
    return GenerativeVQA(
        VOCABULARY, ANSWERS, **parts(make(24)), decoder=decoder, sample_annotator=False, optimization=FAST
    )  # type: ignore[arg-type]


def test_no_more_than_the_beginning_of_a_long_answer_is_learned(subtests: pytest.Subtests) -> None:
    """With its end where it is whole, and none behind a cut."""
    for words, expected in [(1, 2), (3, 4), (4, 5), (5, 4), (100_000, 4)]:
        with subtests.test(words=words, expected=expected):
            long = tuple(replace(each, answers=("yes " * words,)) for each in EXAMPLES[:2])
            lengthened = batch()._replace(
                examples=long, tokens=batch().tokens[:2], image_index=torch.zeros(2, dtype=torch.long)
            )
            loss = generative(max_answer_length=4).loss(lengthened)
            assert float(loss.count) == 2 * expected


MAKERS: dict[str, Callable[[], VQATask]] = {
    "soft": classifier,
    "majority": lambda: classifier(MajorityCrossEntropy()),
    "sampled": lambda: classifier(SampledCrossEntropy()),
    "members": lambda: classifier(MajorityCrossEntropy(), num_members=2),
    "show-and-tell": lambda: generative(sample_annotator=False),
    "show-attend-tell": lambda: generative(attending(), sample_annotator=False),
    "speaking members": lambda: generative(sample_annotator=False, num_members=2),
}
ALL = {**MAKERS, **{f"generative-{kind}": partial(of_kind, kind) for kind in KINDS}}


def train(task: VQATask, folder: Path, steps: int) -> VQATask:
    with warnings.catch_warnings(action="ignore"):
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=5.0,
        )
        trainer.fit(task, DataLoader([batch()] * steps, batch_size=None))
    return task.eval()  # type: ignore[return-value]


def test_members_learn_apart_and_answer_together(tmp_path: Path) -> None:
    """Three members are three classifiers: they share nothing, and their probabilities are averaged."""
    many = classifier(MajorityCrossEntropy(), num_members=3)
    alone = []
    for member in many.members:
        one = classifier(MajorityCrossEntropy())
        one.members[0].load_state_dict(member.state_dict())
        alone.append(one)
    assert len({one.loss(batch()).total.item() for one in alone}) == 3
    losses = [one.loss(batch()) for one in alone]
    together = many.loss(batch())
    assert together.count == losses[0].count
    torch.testing.assert_close(together.total, sum(loss.total for loss in losses) / 3)
    for one in (many, *alone):
        one.eval()
    probabilities = torch.stack([one.answer_logits(batch())[0].logits.softmax(-1) for one in alone]).mean(0)
    for answer, expected in zip(many.predict(batch()), probabilities, strict=True):
        assert answer.score == pytest.approx(expected.max().item(), abs=1e-6)
        assert answer.text == ANSWERS.answers[int(expected.argmax())]
    with pytest.raises(UserError, match="at least 1"):
        classifier(num_members=0)


def test_members_are_trained_apart_and_averaged() -> None:
    many = generative(sample_annotator=False, num_members=3)
    alone = []
    for member in many.members:
        one = generative(sample_annotator=False)
        one.members[0].load_state_dict(member.state_dict())
        alone.append(one)
    losses = [one.loss(batch()) for one in alone]
    assert len({loss.total.item() for loss in losses}) == 3
    together = many.loss(batch())
    assert together.count == losses[0].count
    torch.testing.assert_close(together.total, sum(loss.total for loss in losses) / 3)
    for one in (many, *alone):
        one.eval()
    starts = torch.ones(len(EXAMPLES), 1, dtype=torch.long)
    shares = []
    for one in (many, *alone):
        context, items = one.items(batch())
        output = one.decoder(starts, one.decoder.prepare(context), *items)
        shares.append(one.decoder.logits(output.hidden).softmax(-1))
    torch.testing.assert_close(shares[0], torch.stack(shares[1:]).mean(0))
    with pytest.raises(UserError, match="at least 1"):
        generative(num_members=0)


@pytest.mark.parametrize("name", quick(ALL, "soft", "generative-stacked"))
def test_eight_questions_memorized(name: str, tmp_path: Path) -> None:
    task = train(ALL[name](), tmp_path, 300)
    predictions = {each.id: each for each in task.predict(batch())}
    wanted = ["red", "blue", "yes", "no", "2", "fire truck", None, "chair, table"]
    for number, answer in enumerate(wanted):
        prediction = predictions[f"q{number}"]
        assert answer in (None, prediction.text)
        assert prediction.image_id == f"i{number // 2}"
    result = task.score(predictions, {example.id: example for example in EXAMPLES})
    assert result["scores"]["overall"]["value"] > 85
    assert result["scores"]["per_question_type"].keys() >= {"what", "is i"}


def test_gradients_reach_every_parameter(subtests: pytest.Subtests) -> None:
    for name in ALL:
        with subtests.test(name=name):
            task = ALL[name]()
            several = batch()._replace(regions=torch.randn(4, 1, 1))
            task.loss(several).total.backward()
            idle = {name for name, each in task.named_parameters() if each.requires_grad and each.grad is None}
            assert not idle


@pytest.mark.parametrize("name", ALL)
def test_a_saved_model_answers_the_same(name: str, tmp_path: Path) -> None:
    task = train(ALL[name](), tmp_path, 30 if name in MAKERS else 3)
    save_pretrained(task, tmp_path / "saved")
    loaded = load_task(tmp_path / "saved", VQATask).eval()
    for one, other in zip(task.predict(batch()), loaded.predict(batch()), strict=True):
        assert (one.text, one.alternatives) == (other.text, other.alternatives)


def test_a_question_is_answered_alone_as_in_company(tmp_path: Path) -> None:
    for name in ("soft", "show-attend-tell"):
        task = train(MAKERS[name](), tmp_path, 30)
        together = task.predict(batch())
        alone = Item((EXAMPLES[4],), None, torch.zeros(1, 1), [VOCABULARY.encode(tokenize(EXAMPLES[4].question or ""))])
        (one,) = task.predict(collate([alone]))
        assert one.text == together[4].text
        assert one.score == pytest.approx(together[4].score, abs=1e-5)


def test_losses_are_their_formulas() -> None:
    logits = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, -3.0]], requires_grad=True)
    targets = Targets(torch.tensor([[0.0, 7, 3], [0, 0, 0]]), torch.tensor([[0.0, 1, 0.9], [0, 0, 0]]))
    loss = SoftScores().of_logits(logits, targets)
    probabilities = logits.sigmoid()
    literal = -(targets.soft_scores * probabilities.log() + (1 - targets.soft_scores) * (1 - probabilities).log()).sum()
    assert loss.total.item() == pytest.approx(literal.item(), abs=1e-5)
    assert loss.count == 2
    loss = MajorityCrossEntropy().of_logits(logits, targets)
    assert loss.total.item() == pytest.approx(-logits[0].log_softmax(-1)[1].item(), abs=1e-6)
    assert loss.count == 1  # the other question has no answer that is known
    smooth = MajorityCrossEntropy(label_smoothing=0.3).of_logits(logits, targets)
    literal = -(logits[0].log_softmax(-1) * torch.tensor([0.1, 0.8, 0.1])).sum()
    assert smooth.total.item() == pytest.approx(literal.item(), abs=1e-6)
    with pytest.raises(UserError, match="label_smoothing must be at least 0 and below 1"):
        MajorityCrossEntropy(label_smoothing=1.0)
    torch.manual_seed(0)
    drawn = torch.stack([SampledCrossEntropy().of_logits(logits, targets).total for _ in range(400)])
    both = -logits[0].log_softmax(-1)[1:]
    assert drawn.mean().item() == pytest.approx((0.7 * both[0] + 0.3 * both[1]).item(), abs=0.1)
    assert SampledCrossEntropy().of_logits(logits[1:], Targets(targets.counts[1:], targets.soft_scores[1:])).count == 0


def test_the_ceiling_is_what_the_best_common_answers_score() -> None:
    task = ClassifierVQA(VOCABULARY, AnswerVocabulary(["red", "no", "3"]), **parts())  # type: ignore[arg-type]
    # red is worth 1, no where ten did 1 and where one did 0.3, as 3; half of the rest know nothing
    assert task.ceiling(EXAMPLES) == pytest.approx(100 * (1 + 0 + 0.3 + 1 + 0.3 + 0 + 0 + 0) / 8)


DECODINGS: dict[str, AnswerDecoding] = {
    "free": OpenAnswers(),
    "constrained": ConstrainedAnswers(),
    "ranked": RankedAnswers(top_n=len(ANSWERS)),
}


@pytest.mark.parametrize("name", DECODINGS)
def test_ways_to_find_an_answer(name: str, tmp_path: Path) -> None:
    task = train(generative(answer_decoding=DECODINGS[name]), tmp_path, 40)
    assert isinstance(task, GenerativeVQA)
    found = {each.id: each for each in task.predict(batch())}
    sayable = {*ANSWERS.answers}
    if name != "free":
        for prediction in found.values():
            assert {prediction.text, *(each["text"] for each in prediction.alternatives)} <= sayable


def test_ranking_is_exact_and_the_widest_search_agrees(tmp_path: Path) -> None:
    """Every answer's log probability, by steps of the decoder; and a beam that holds all answers finds the best."""
    task = train(generative(sample_annotator=True), tmp_path, 20)
    assert isinstance(task, GenerativeVQA)
    context, items = task.items(batch())
    ranked = RankedAnswers(top_n=len(ANSWERS), chunk_rows=13)(task.decoder, VOCABULARY, ANSWERS, context, items)
    wide = GenerationConfig(num_beams=40, max_new_tokens=5, length_penalty=0.0, num_return_sequences=3)
    searched = ConstrainedAnswers(wide)(task.decoder, VOCABULARY, ANSWERS, context, items)
    memory = task.decoder.prepare(context)
    for row in range(len(EXAMPLES)):
        own = index_rows(memory, items.image_index[row].view(1))
        for answer in ranked[row]:
            state, token, total = task.decoder.init_state(own, items.condition[row].view(1, 1, -1)), 1, 0.0
            for id in encode_answer(VOCABULARY, answer.text):
                output, state = task.decoder.step(torch.full((1, 1), token), state, own)
                total += task.decoder.logits(output.hidden)[0, 0].log_softmax(-1)[id].item()
                token = id
            assert token == EOS
            assert answer.score == pytest.approx(total, abs=1e-4)
        assert [each.text for each in searched[row]] == [each.text for each in ranked[row]][:3]
        assert [each.score for each in searched[row]] == pytest.approx(
            [each.score for each in ranked[row]][:3], abs=1e-4
        )


@pytest.mark.parametrize("answering", DECODINGS.values(), ids=list(DECODINGS))
@pytest.mark.parametrize("attends", [False, True])
def test_the_memory_is_of_images_and_not_of_questions(
    answering: AnswerDecoding, attends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training, search and ranking: it has at most a row for each of four images, of which are eight questions."""
    task = generative(attending() if attends else None, answer_decoding=answering)
    decoder, rows = type(task.members[0].decoder), []

    def recorded(name: str, place: int) -> None:
        method = getattr(decoder, name)

        def record(self: Decoder, *arguments: Tree) -> Tree:
            rows.append(len(leaves(arguments[place])[0]))
            return method(self, *arguments)

        monkeypatch.setattr(decoder, name, record)

    recorded("init_state", 0)
    recorded("step", 2)
    recorded("unroll", 3)
    task.loss(batch()).total.backward()
    task.eval().predict(batch())
    assert max(rows) == 4


def test_searches_of_questions_about_one_image_are_each_alone(subtests: pytest.Subtests) -> None:
    """Uneven numbers of questions, which finish one after the other: texts and log probabilities are those of a search
    for each by itself, and those of teacher forcing."""
    for seed, beams in product(range(4), [1, 3]):
        with subtests.test(seed=seed, beams=beams):
            task = generative(attending()).eval()
            torch.manual_seed(seed)
            with torch.no_grad():
                for parameter in task.decoder.parameters():
                    parameter.add_(0.3 * torch.randn_like(parameter))
                task.members[0].decoder.score.bias[EOS] += 1
            settings = GenerationConfig(num_beams=beams, max_new_tokens=12, num_return_sequences=beams)
            context, items = task.items(batch()._replace(regions=torch.randn(4, 1, 1)))
            rows = torch.tensor([6, 0, 1, 4, 5, 2])  # of images 3, 0, 0, 2, 2, 1
            index, condition = items.image_index[rows], items.condition[rows] + torch.randn(6, 32)
            together = generate(task.decoder, VOCABULARY, context, settings, items=Items(index, condition))
            assert len({len(best.log_probs) for best, *_ in together}) > 1
            memory = task.decoder.prepare(context)
            for row in range(len(rows)):
                one = Items(index[row : row + 1], condition[row : row + 1])
                (alone,) = generate(task.decoder, VOCABULARY, context, settings, items=one)
                for answer, expected in zip(together[row], alone, strict=True):
                    assert answer.tokens == expected.tokens
                    assert answer.log_probs == pytest.approx(expected.log_probs, abs=1e-5)
                    ids = [*VOCABULARY.encode(answer.tokens), EOS][: len(answer.log_probs)]
                    scored = score_sequences(task.decoder, memory, torch.tensor([ids]), *one)
                    assert answer.log_probs == pytest.approx(scored[0].tolist(), abs=1e-5)


def test_the_longest_answer_of_the_set_can_be_generated() -> None:
    long = " ".join(f"word{number}" for number in range(25))
    vocabulary = Vocabulary.count([long.split()])
    torch.manual_seed(0)
    decoder = ShowAndTell(GRU(8), embedding_dim=8).build(len(vocabulary), 3, 2).eval()
    context = Context(torch.randn(2, 1, 3), torch.ones(2, 1, dtype=torch.bool), torch.randn(2, 3))
    found = ConstrainedAnswers()(
        decoder, vocabulary, AnswerVocabulary([long]), context, Items(torch.arange(2), torch.randn(2, 2))
    )
    assert [[each.text for each in answers] for answers in found] == [[long], [long]]


@pytest.mark.parametrize("more", [{"min_new_tokens": 2}, {"no_repeat_ngram_size": 1}], ids=str)
def test_what_would_cut_answers_of_the_set_is_refused(more: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"whole answers of the set: leave out .*{next(iter(more))}"):
        ConstrainedAnswers(GenerationConfig(**more))


@pytest.mark.parametrize("answering", [ConstrainedAnswers(), RankedAnswers()])
def test_answers_that_cannot_be_generated_are_reported(answering: AnswerDecoding) -> None:
    decoder = ShowAndTell(GRU(8), embedding_dim=8).build(len(VOCABULARY), 3, 2)
    context = Context(torch.randn(2, 1, 3), torch.ones(2, 1, dtype=torch.bool), torch.randn(2, 3))
    with pytest.raises(UserError, match="each of the 1 answers has a word out of vocabulary"):
        answering(decoder, VOCABULARY, AnswerVocabulary(["zebra"]), context, Items(torch.arange(2), torch.randn(2, 2)))
    with pytest.raises(UserError, match="top_n must be at least 1"):
        RankedAnswers(top_n=0)


def test_a_set_that_answers_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="the set of answers is empty"):
        AnswerVocabulary([])
