"""A training step of show, attend and tell against the step-by-step formulation of tutorials, at equal loss.

    python benchmarks/attention_training.py [--captions_per_image 1] [--repeats 3] [--quick] [--out FILE]

196 regions of 2,048, hidden 512, 10,000 words, 64 captions of 20 words. Both have the same parameters, give the same
loss (this is checked), and leave the gradients; with several captions of an image, ours sees it once.
"""

import torch
from literal import Literal, captions, decoder_of
from side_by_side import arguments_of, begin, in_turns, keep, told
from torch import Tensor

from vlrnn.nn.encoders.base import Context
from vlrnn.training.objectives.base import CrossEntropy


def main() -> None:
    parser = arguments_of(__doc__)
    parser.set_defaults(repeats=3)
    parser.add_argument("--captions_per_image", type=int, default=1)
    arguments = parser.parse_args()
    begin(arguments)
    rows, regions, depth, width, vocabulary, words = (
        (10, 9, 32, 16, 50, 5) if arguments.quick else (64, 196, 2048, 512, 10_000, 20)
    )
    each = arguments.captions_per_image
    decoder = decoder_of(width, vocabulary, depth)
    literal = Literal(decoder)
    features = torch.randn(-(-rows // each), regions, depth)
    image_index = torch.arange(rows) // each
    tokens = captions(rows, words, vocabulary)
    mask = torch.ones(features.shape[:2], dtype=torch.bool)
    context = Context(features, mask, features.mean(1), None)

    def ours() -> Tensor:
        decoder.zero_grad()
        output = decoder(tokens[:, :-1], decoder.prepare(context), image_index)
        found = CrossEntropy()(decoder, output, tokens[:, 1:])
        loss = found.total / found.count
        loss.backward()
        return loss.detach()

    def theirs() -> Tensor:
        decoder.zero_grad()
        loss = literal.loss(features[image_index], tokens)
        loss.backward()
        return loss.detach()

    losses = float(theirs()), float(ours())
    assert abs(losses[0] - losses[1]) < 1e-4 * losses[0], losses
    seconds = in_turns({"step by step": theirs, "vlrnn": ours}, 1 if arguments.quick else arguments.repeats, warm=False)
    title = f"{rows} captions of {words} words, {each} of an image, {regions} regions of {depth:,}, one thread"
    figures = told(title, seconds)
    print(f"  losses {losses[0]:.6f} and {losses[1]:.6f}")
    keep(arguments, {**figures, "losses": losses})


if __name__ == "__main__":
    main()
