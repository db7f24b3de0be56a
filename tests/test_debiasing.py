"""Losses that keep a bias from being learnt: each is its formula, and the model speaks alone once it is trained."""

from itertools import product

import pytest
import torch

from vlrnn.errors import UserError
from vlrnn.training.objectives.answers import (
    AnswerLogits,
    LogitObjective,
    MajorityCrossEntropy,
    SampledCrossEntropy,
    SoftScores,
    Targets,
)
from vlrnn.training.objectives.debiasing import BiasProduct, Debiased, LearnedMixin, Reweighting, RUBi

Q, F, A = 5, 4, 3
LOSSES = {"reweighting": Reweighting, "bias-product": BiasProduct, "learned-mixin": LearnedMixin, "rubi": RUBi}
INNER: dict[str, type[LogitObjective]] = {
    "soft": SoftScores,
    "majority": MajorityCrossEntropy,
    "sampled": SampledCrossEntropy,
}


def random_output(questions: int = 2) -> AnswerLogits:
    torch.manual_seed(0)
    shapes = ((questions, A), (questions, Q), (questions, F))
    return AnswerLogits(*(torch.randn(shape, requires_grad=True) for shape in shapes))


TARGETS = Targets(
    torch.tensor([[0.0, 10, 0], [0, 0, 10]]),
    torch.tensor([[0.0, 1, 0], [0, 0, 1]]),
    torch.tensor([[0.1, 0.9, 0.0], [0.1, 0.9, 0.0]]),
)


def test_the_model_speaks_alone_once_it_is_trained(subtests: pytest.Subtests) -> None:
    for inner, name in product(INNER, LOSSES):
        with subtests.test(inner=inner, name=name):
            loss = LOSSES[name](INNER[inner]()).build(Q, F, A)
            output = random_output()
            for each in (loss.train(), loss.eval()):
                assert torch.isfinite(each(output, TARGETS).total)
            assert loss.eval()(output, TARGETS).total == INNER[inner]()(output, TARGETS).total
            assert loss.train()(output, TARGETS).total != INNER[inner]()(output, TARGETS).total
            assert loss.link == INNER[inner].link


def test_every_parameter_of_a_loss_learns_and_no_question_teaches_nothing(subtests: pytest.Subtests) -> None:
    for name in LOSSES:
        with subtests.test(name=name):
            loss = LOSSES[name]().build(Q, F, A).train()
            loss(random_output(), TARGETS).total.backward()
            assert all(parameter.grad is not None for parameter in loss.parameters())
            unknown = Targets(torch.zeros(2, A), torch.zeros(2, A), TARGETS.prior)
            nothing = loss(random_output(), unknown)
            assert (nothing.total, nothing.count) == (0, 0)


def test_reweighting_is_its_formula() -> None:
    output = random_output()
    loss = Reweighting(smoothing=0.3)(output, TARGETS)
    log_probs = output.logits.log_softmax(-1)
    weights = [1 - (0.7 * 0.9 + 0.1), 1 - 0.1]  # of the frequent answer, and of one that never was right
    literal = -(weights[0] * log_probs[0, 1] + weights[1] * log_probs[1, 2])
    assert loss.total.item() == pytest.approx(literal.item(), abs=1e-6)
    assert loss.count.item() == pytest.approx(sum(weights), abs=1e-6)


def test_the_bias_product_is_the_product_of_probabilities() -> None:
    output = random_output()
    prior = 0.7 * TARGETS.prior + 0.3 / A  # type: ignore[operator]
    product = output.logits.softmax(-1) * prior
    literal = -(product / product.sum(1, keepdim=True)).log()[[0, 1], [1, 2]].sum()
    assert BiasProduct(smoothing=0.3)(output, TARGETS).total.item() == pytest.approx(literal.item(), abs=1e-5)
    yes, bias = output.logits.sigmoid(), prior
    both = yes * bias / (yes * bias + (1 - yes) * (1 - bias))  # of an answer that is right or not, for itself
    literal = -(TARGETS.soft_scores * both.log() + (1 - TARGETS.soft_scores) * (1 - both).log()).sum()
    loss = BiasProduct(SoftScores(), smoothing=0.3)(output, TARGETS)
    assert loss.total.item() == pytest.approx(literal.item(), abs=1e-5)


def test_the_learned_mixin_is_its_formula() -> None:
    output = random_output()
    loss = LearnedMixin(smoothing=0.3, entropy_weight=2.0).build(Q, F, A)
    trust = (output.fused @ loss.trust[0].weight.T + loss.trust[0].bias).exp().add(1).log()
    log_prior = (0.7 * TARGETS.prior + 0.3 / A).log()  # type: ignore[operator]
    mixed = (output.logits.log_softmax(-1) + trust * log_prior).softmax(-1)
    bias = (trust * log_prior).softmax(-1)
    literal = -mixed.log()[[0, 1], [1, 2]].sum() - 2.0 * (bias * bias.log()).sum()
    assert loss(output, TARGETS).total.item() == pytest.approx(literal.item(), abs=1e-5)


def test_rubi_is_its_formula_and_leaves_the_question_encoder_alone() -> None:
    output = random_output()
    loss = RUBi(hidden_size=7, weight=0.5).build(Q, F, A)
    mask, blind_logits = loss.members[0](output.question)
    masked = (output.logits * mask.sigmoid()).log_softmax(-1)
    blind = blind_logits.log_softmax(-1)
    literal = -(masked + 0.5 * blind)[[0, 1], [1, 2]].sum()
    got = loss(output, TARGETS).total
    assert got.item() == pytest.approx(literal.item(), abs=1e-5)
    got.backward()
    assert output.question.grad is None
    assert output.logits.grad is not None


def test_without_a_prior_an_error_names_it(subtests: pytest.Subtests) -> None:
    for name in ["reweighting", "bias-product", "learned-mixin"]:
        with subtests.test(name=name):
            loss: Debiased = LOSSES[name]().build(Q, F, A)
            with pytest.raises(UserError, match="give the model its `prior`"):
                loss(random_output(), TARGETS._replace(prior=None))
            with pytest.raises(UserError, match="smoothing must lie between 0 and 1"):
                LOSSES[name](smoothing=1.0)  # type: ignore[call-arg]


def test_a_bias_that_explains_all_leaves_nothing_to_learn() -> None:
    """Where the prior tells the answer, its product with the model moves the model less than the plain loss does."""
    moved = {}
    for name, loss in (("plain", MajorityCrossEntropy()), ("product", BiasProduct(smoothing=0.01))):
        output = AnswerLogits(torch.zeros(1, A, requires_grad=True), torch.zeros(1, Q), torch.zeros(1, F))
        loss(output, Targets(*(each[:1] for each in TARGETS if each is not None))).total.backward()
        assert output.logits.grad is not None
        moved[name] = output.logits.grad.norm().item()
    assert moved["product"] < 0.2 * moved["plain"]
