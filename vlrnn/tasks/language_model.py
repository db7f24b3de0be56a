"""Language modelling: the next token of a running text from those before it, and continuations of texts.

The decoder is a recurrence without an image; the text is a stream without sentence ends, and the state is carried from
one window of it to the next.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlrnn.data.records import Example, Id, Prediction
from vlrnn.data.text_datamodule import PASSAGE, TextBatch, TextDataModule
from vlrnn.errors import UserError
from vlrnn.generation.generate import GeneratedSequence, as_prediction, search_step, to_sequences
from vlrnn.generation.search import GenerationConfig, search
from vlrnn.metrics.perplexity import bits_per_character, score_text
from vlrnn.metrics.statistics import Ratio, Resampler, ratios
from vlrnn.nn.batching import Tree, leaves, map_tree
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.text.tokenizers import LMTokenizer
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from vlrnn.training.module import Task
from vlrnn.training.objectives.base import Objective, TokenCrossEntropy
from vlrnn.training.optimization import Optimization


class LanguageModel(Task):
    """A recurrent language model of running text, over characters or words.

    Truncated backpropagation through time: the gradient stops at the start of each window; the state is carried on, and
    reset at the start of each epoch, where each row's part of the text starts.

    Args:
        vocabulary: the tokens of the training text.
        tokenizer: splits a text into tokens.
        decoder: scores the next token; built here, for this vocabulary.
        generation: search and sampling of continuations in validation and test.
        sample_passages: number of passages, the first ones, for which validation and test also generate the model's own
            text from the same start.
        objective: what training minimises; null: `TokenCrossEntropy`.
        optimization: optimiser and learning rate schedule.
    """

    accepts = frozenset({"text"})
    command = "continue"
    summary = "continues texts"
    monitor = "bits_per_character"
    mode = "min"
    data_class = TextDataModule
    data_arguments = ("vocabulary", "tokenizer")
    decoder: RecurrentLanguageModel

    def __init__(
        self,
        vocabulary: Vocabulary,
        tokenizer: LMTokenizer,
        decoder: RecurrentLanguageModel,
        generation: GenerationConfig = GenerationConfig(),  # noqa: B008 (frozen, as the next)
        sample_passages: int = 8,
        objective: Objective | None = None,
        optimization: Optimization = Optimization(),  # noqa: B008
    ) -> None:
        super().__init__(BlindEncoder(), optimization)
        self.vocabulary = vocabulary
        self.tokenizer = tokenizer
        self.decoder = decoder.build(len(vocabulary))
        self.generation = generation
        self.sample_passages = sample_passages
        self.set_objective(objective or TokenCrossEntropy())
        self._training_state: Tree = None  # after the last window of training
        self._evaluation_state: Tree = None  # of validation and test, which interrupt training

    # Training.

    def token_log_probs(self, batch: TextBatch) -> Tensor:
        """The natural log probability [B, T] of each token of a window, after which the state is carried on."""
        log_probs, state = self.decoder.log_probs(batch.tokens, self._state(batch, self._training_state))
        self._training_state = map_tree(Tensor.detach, state)
        return log_probs

    def _state(self, batch: TextBatch, carried: Tree) -> Tree:
        if batch.is_start or carried is None:
            return self._first_state(len(batch.tokens))
        return map_tree(lambda leaf: leaf.to(self.device), carried)

    def _first_state(self, batch_size: int) -> Tree:
        return self.decoder.init_state(self.decoder.empty_memory(batch_size))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        # One of several processes would save its own state alone.
        if self._training_state is not None and self.trainer.world_size == 1:
            checkpoint["carried"] = [leaf.cpu() for leaf in leaves(self._training_state)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if carried := checkpoint.get("carried"):
            rest = iter(carried)
            self._training_state = map_tree(lambda _: next(rest), self._first_state(len(carried[0])))

    # Validation and test.

    def validation_step(self, batch: TextBatch, batch_index: int) -> None:  # type: ignore[override]
        """As in `Task`, but the loss is computed from the predictions, in one pass over the text."""
        log_probs = [each for prediction in self._collect(batch) for each in prediction.log_probs]  # type: ignore[arg-type]
        self._validation += self._validation.new_tensor([-sum(log_probs), len(log_probs)])

    def predict(self, batch: TextBatch) -> list[Prediction]:  # type: ignore[override]
        """The passage of each row: its tokens and their log probabilities, and for the first passages the model's own
        text from the same start, the `alternatives`."""
        before = self._state(batch, self._evaluation_state)
        log_probs, self._evaluation_state = self.decoder.log_probs(batch.tokens, before)
        instead = self.trainer.state.fn in ("validate", "test") and len(self._predictions) < self.sample_passages
        found = []
        for row, (example, likely) in enumerate(zip(batch.examples, log_probs.tolist(), strict=True)):
            (text,) = example.captions
            sequences: list[GeneratedSequence] = []
            if instead:
                state = map_tree(lambda leaf: leaf[row : row + 1], before)  # noqa: B023 (called at once)
                sequences = self.continue_text(batch.tokens[row : row + 1, :1], state, self.generation)
            tokens, score = tuple(self.tokenizer.split(text)), sum(likely) / len(likely)
            passage = GeneratedSequence(text, tokens, tuple(likely), score)
            settings = self.generation.describe() if instead else {}
            found.append(as_prediction(example.id, example.image_id, [passage, *sequences], settings))
        return found

    def score(self, predictions: Mapping[Id, Prediction], examples: Mapping[Id, Example]) -> dict[str, Any]:
        """Bits per character and perplexity; and the share of tokens that are not in the vocabulary, each of which is
        scored with the probability of `<unk>`."""
        passages = list(predictions.values())
        strange = [sum(unit not in self.vocabulary for unit in each.tokens) for each in passages]
        unseen = Ratio(torch.tensor(strange).numpy(), torch.tensor([len(each.tokens) for each in passages]).numpy())
        scores = score_text(passages) | ratios({"unseen": unseen}, Resampler(len(passages)))
        settings = {
            "units": self.tokenizer.name,
            "intervals": f"over passages of {PASSAGE} {self.tokenizer.name}",
            **self.generation.describe(),
        }
        bits = bits_per_character(passages).tolist()
        items = ({"scores": {"bits_per_character": each}, "captions": ()} for each in bits)
        return {"scores": scores, "settings": settings, "items": items}

    # Continuation.

    def generate(
        self,
        images: Any = None,
        texts: Sequence[str] | None = None,
        config: GenerationConfig | None = None,
        *,
        generator: torch.Generator | None = None,
        **changes: Any,
    ) -> list[Prediction]:
        """Continuations of texts, which are not repeated in them.

        Args:
            images: none.
            texts: beginnings of texts; one may be empty.
            config, generator, changes: as of `Task.generate`.

        Raises:
            UserError: the settings contradict each other, or there are no texts.
        """
        if images is not None or texts is None or isinstance(texts, str):
            raise UserError("LanguageModel.generate takes a list of texts only")
        decoding = self.generation_arguments(changes, generator, config)["generation"]
        found = [self.continue_text(*self.advance_state(text), decoding, generator) for text in texts]
        return [as_prediction("text", "text", sequences, decoding.describe()) for sequences in found]

    @torch.no_grad()
    def advance_state(self, text: str) -> tuple[Tensor, Tree]:
        """Run over the start of a text: its last token [1, 1], `<bos>` if there is none, and the state before it."""
        tokens = torch.tensor([[BOS, *self.vocabulary.encode(self.tokenizer.split(text))]], device=self.device)
        state = self._first_state(1)
        if tokens.shape[1] > 1:
            _, state = self.decoder.hidden_states(tokens[:, :-1], state)
        return tokens[:, -1:], state

    @torch.no_grad()
    def continue_text(
        self, last: Tensor, state: Tree, decoding: GenerationConfig, generator: torch.Generator | None = None
    ) -> list[GeneratedSequence]:
        """Continuations of a text, best first, up to `decoding.num_return_sequences`.

        Args:
            last: [1, 1], the last token.
            state: before it, of one row.
            decoding: search and sampling; there is no end token, so a continuation is `max_new_tokens` long.
            generator: of random numbers, for sampling.
        """
        memory, forbidden = self.decoder.empty_memory(1), (PAD, BOS, EOS, UNK)
        step = search_step(self.decoder)
        found = search(step, state, memory, decoding, bos=int(last), eos=EOS, forbidden=forbidden, generator=generator)
        (sequences,) = to_sequences(found, self.vocabulary, "".join)
        return sequences
