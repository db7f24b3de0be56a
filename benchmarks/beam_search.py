"""Beam search over a batch against the loop over images of tutorials, and against Hugging Face's `generate`.

    python benchmarks/beam_search.py [--repeats 3] [--quick] [--out FILE]

Beams of 5, 16 steps, 196 regions of 2,048, hidden 512, 10,000 words; 64 images, and one. Both have the same parameters
and find the same captions. `generate` (where transformers is installed) runs a decoder of one transformer block of the
same width that attends to the same regions: another model, of about as many operations.
"""

from importlib.util import find_spec
from typing import Any

import torch
from literal import Literal, decoder_of, same
from side_by_side import arguments_of, begin, in_turns, keep, told
from torch import Tensor

from vlrnn.generation.generate import search_step
from vlrnn.generation.search import GenerationConfig, search
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.encoders.base import Context
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK


def found(decoder: ShowAttendTell, features: Tensor, width: int, steps: int) -> list[list[int]]:
    """The best sentences by our search."""
    mask = torch.ones(features.shape[:2], dtype=torch.bool)
    with torch.no_grad():
        memory = decoder.prepare(Context(features, mask, features.mean(1), None))
        settings = GenerationConfig(num_beams=width, max_new_tokens=steps, min_new_tokens=steps - 1, length_penalty=0.0)
        start, step = decoder.init_state(memory), search_step(decoder)
        best = search(step, start, memory, settings, bos=BOS, eos=EOS, forbidden=(PAD, BOS, UNK))
    return best.tokens[:, 0].tolist()


def generated(features: Tensor, hidden: int, vocabulary: int, width: int, steps: int) -> Any:
    """What searches the same number of steps by Hugging Face's `generate`."""
    from transformers import GPT2Config, GPT2LMHeadModel

    heads = max(1, hidden // 64)
    config = GPT2Config(
        vocab_size=vocabulary, n_embd=hidden, n_layer=1, n_head=heads, n_positions=64, add_cross_attention=True,
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    narrow = torch.nn.Linear(features.shape[2], hidden)
    start = torch.full((len(features), 1), BOS)

    def run() -> Tensor:
        with torch.no_grad():
            return model.generate(
                start, attention_mask=torch.ones_like(start), encoder_hidden_states=narrow(features), num_beams=width,
                max_new_tokens=steps, min_new_tokens=steps, do_sample=False, length_penalty=0.0,
            )  # fmt: skip

    return run


def main() -> None:
    parser = arguments_of(__doc__)
    parser.set_defaults(repeats=3)
    arguments = parser.parse_args()
    begin(arguments)
    many, regions, depth, hidden, vocabulary, width, steps = (
        (4, 9, 32, 64, 50, 3, 6) if arguments.quick else (64, 196, 2048, 512, 10_000, 5, 16)
    )
    decoder = decoder_of(hidden, vocabulary, depth).eval()
    literal = Literal(decoder)
    figures = {}
    for count in (many, 1):
        features = torch.randn(count, regions, depth)
        ways = {
            "a loop over images": lambda: [literal.beam(each, width, steps) for each in features],  # noqa: B023
            "vlrnn": lambda: found(decoder, features, width, steps),  # noqa: B023
        }
        theirs, ours = (way() for way in ways.values())
        if find_spec("transformers"):
            ways["Hugging Face generate, one transformer block"] = generated(features, hidden, vocabulary, width, steps)
        repeats = 1 if arguments.quick else arguments.repeats
        seconds = in_turns(ways, repeats if count == many else 5 * repeats, warm=count == 1)
        figures[f"{count} images"] = told(f"beams of {width}, {steps} steps, images: {count}, one thread", seconds)
        print(f"  {same(ours, theirs)}")
        assert ours == theirs
    if not find_spec("transformers"):
        print("generate was not measured: transformers is not installed")
    keep(arguments, figures)


if __name__ == "__main__":
    main()
