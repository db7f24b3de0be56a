"""The search against `generate` of Hugging Face's transformers: texts, scores, and all that are asked for."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from vlrnn.generation.logits_processors import allowed_sequences
from vlrnn.generation.search import GenerationConfig, Hypotheses, search
from vlrnn.nn.batching import Tree

transformers = pytest.importorskip("transformers", reason="needs transformers, of the extra dev")

PAD, BOS, EOS, V = 0, 1, 2, 13
CASES, TABLE = 100, 997
LONGEST = 9


class Language(transformers.PreTrainedModel, transformers.GenerationMixin):  # type: ignore[misc, name-defined]
    """A table of random scores for each of many items; which row of it counts is a hash of all that was said."""

    config_class = transformers.PretrainedConfig

    def __init__(self, seed: int) -> None:
        config = transformers.PretrainedConfig(vocab_size=V, pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS)
        super().__init__(config)
        self.anchor = torch.nn.Parameter(torch.zeros(()))
        self.scores = 1.5 * torch.randn(CASES, TABLE, V, generator=torch.Generator().manual_seed(seed))
        self.scores[..., EOS] += torch.linspace(-2, 3, CASES)[:, None]  # some end late, some soon

    @staticmethod
    def after(codes: Tensor, tokens: Tensor) -> Tensor:
        return (codes * 31 + tokens + 1) % TABLE

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        codes = torch.zeros(len(input_ids), dtype=torch.long)
        for tokens in input_ids.unbind(1):
            codes = self.after(codes, tokens)
        items = torch.arange(CASES).repeat_interleave(len(codes) // CASES)
        return transformers.modeling_outputs.CausalLMOutput(logits=self.scores[items, codes][:, None])

    def prepare_inputs_for_generation(self, input_ids: Tensor, **_: Any) -> dict[str, Tensor]:
        return {"input_ids": input_ids}

    def step(self, tokens: Tensor, codes: Tree, items: Tree) -> tuple[Tensor, Tree]:
        codes = self.after(codes, tokens.flatten())
        return self.scores[items[:, None], codes.view_as(tokens)], codes

    def ours(self, settings: GenerationConfig, **more: Any) -> Hypotheses:
        start = torch.zeros(CASES, dtype=torch.long)
        items = torch.arange(CASES)
        return search(self.step, start, items, settings, bos=BOS, eos=EOS, forbidden=(PAD, BOS), **more)

    def theirs(self, settings: GenerationConfig, **more: Any) -> tuple[list[list[int]], list[float]]:
        wanted = {
            name: value for name, value in settings.describe().items() if name not in ("temperature", "top_k", "top_p")
        }
        made = self.generate(
            torch.full((CASES, 1), BOS), suppress_tokens=[PAD, BOS], use_cache=False,
            do_sample=False, return_dict_in_generate=True, output_scores=True, **wanted, **more,
        )  # fmt: skip
        ended = [ids.index(EOS) + 1 if EOS in ids else len(ids) for ids in made.sequences[:, 1:].tolist()]
        sentences = [ids[:length] for ids, length in zip(made.sequences[:, 1:].tolist(), ended, strict=True)]
        return sentences, made.sequences_scores.tolist()


def agree(ours: Hypotheses, theirs: tuple[list[list[int]], list[float]]) -> None:
    """Equal, hypothesis by hypothesis; those that transformers fills up with, below -1e8, are none."""
    lengths, tokens = ours.lengths.flatten().tolist(), ours.tokens.flatten(0, 1).tolist()
    rows = zip(tokens, lengths, ours.scores.flatten().tolist(), *theirs, strict=True)
    for ids, length, score, others, theirs_score in rows:
        if length:
            assert ids[:length] == others
            assert score == pytest.approx(theirs_score, rel=1e-5, abs=1e-6)
        else:
            assert score == -math.inf
            assert theirs_score < -1e8


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [0.0, 0.5, 1.0, 2.0, -1.0])
def test_texts_and_scores_are_those_of_generate(length_penalty: float, early_stopping: Any) -> None:
    """Five hundred cases each: short ones and long ones, few beams and many, with what else can be asked for."""
    settings_of_cases = [
        {"num_beams": 2},
        {"num_beams": 5, "num_return_sequences": 5},
        {"num_beams": 4, "num_return_sequences": 3, "min_new_tokens": 4},
        {"num_beams": 3, "num_return_sequences": 2, "no_repeat_ngram_size": 2},
        {"num_beams": 3, "num_return_sequences": 3, "min_new_tokens": 3, "no_repeat_ngram_size": 1},
    ]
    for seed, more in enumerate(settings_of_cases):
        language = Language(seed)
        settings = GenerationConfig(
            max_new_tokens=LONGEST, length_penalty=length_penalty, early_stopping=early_stopping, **more
        )
        agree(language.ours(settings), language.theirs(settings))


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_within_a_closed_set(early_stopping: Any) -> None:
    sentences = [
        [*words, EOS] for size in (1, 2, 3) for words in product(range(3, V), repeat=size) if sum(words) % 7 < 3
    ]
    beginnings = {tuple(each[:at]) for each in sentences for at in range(len(each))}
    following: dict[tuple[int, ...], list[int]] = {each: [] for each in beginnings}
    for each in sentences:
        for at, token in enumerate(each):
            following[tuple(each[:at])].append(token)

    def follow(_: int, prefix: Tensor) -> list[int]:
        return following.get(tuple(prefix[1:].tolist()), [EOS])

    language = Language(seed=9)
    settings = GenerationConfig(num_beams=3, num_return_sequences=3, max_new_tokens=4, early_stopping=early_stopping)
    ours = language.ours(settings, constraints=[allowed_sequences(sentences)])
    agree(ours, language.theirs(settings, prefix_allowed_tokens_fn=follow))


def test_what_can_be_drawn(subtests: pytest.Subtests) -> None:
    """What stands behind top_p of what stands before top_k is never drawn, and all the rest is."""
    logits = torch.randn(3, V, generator=torch.Generator().manual_seed(0)) * 2

    def step(tokens: Tensor, state: Tree, items: Tree) -> tuple[Tensor, Tree]:
        return logits[items][:, None].expand(-1, tokens.shape[1], -1), state

    for top_k, top_p, temperature in product([0, 1, 2, 5, V], [0.05, 0.5, 0.7, 0.95, 1.0], [0.7, 1.0, 2.0]):
        with subtests.test(top_k=top_k, top_p=top_p, temperature=temperature):
            theirs = logits / temperature
            if top_k:
                theirs = transformers.TopKLogitsWarper(top_k)(None, theirs)
            if top_p < 1:
                theirs = transformers.TopPLogitsWarper(top_p)(None, theirs)
            expected = theirs.softmax(-1)
            draws = 1000
            settings = GenerationConfig(
                temperature=temperature, top_k=top_k, top_p=top_p, num_return_sequences=draws, max_new_tokens=1
            )

            start, generator = torch.zeros(3, 1), torch.Generator().manual_seed(1)
            found = search(step, start, torch.arange(3), settings, bos=BOS, eos=EOS, generator=generator)
            for row in range(3):
                shares = torch.bincount(found.tokens[row, :, 0], minlength=V) / draws
                assert (shares[expected[row] == 0] == 0).all()
                assert (shares - expected[row]).abs().max() < 4 * 0.5 / math.sqrt(draws)
