"""A training step of a classifier for VQA against one that has a row of features for each question, at equal loss.

    python benchmarks/vqa_training.py [--repeats 3] [--quick] [--out FILE]

32 images of 196 regions of 2,048 with five questions each, as VQA v2 has about: an attention of 512, a GRU of 512 over
questions of up to 14 words, 3,000 answers. Both run the same modules, with the same loss; one copies an image's
features for each of its questions, as data sets of (image, question, answer) rows do.
"""

import torch
import torch.nn.functional as F
from side_by_side import arguments_of, begin, in_turns, keep, told
from torch import Tensor, nn

from vlrnn.nn.attention import SoftAttention
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.fusion import Concatenation
from vlrnn.nn.question_encoder import RecurrentQuestionEncoder
from vlrnn.nn.question_image import QuestionGuidedAttention, QuestionImageEncoder
from vlrnn.nn.recurrent.rnn import GRU


def main() -> None:
    parser = arguments_of(__doc__)
    parser.set_defaults(repeats=3)
    arguments = parser.parse_args()
    begin(arguments)
    images, each, regions, depth, width, words, answers = (
        (2, 3, 4, 16, 8, 20, 5) if arguments.quick else (32, 5, 196, 2048, 512, 10_000, 3_000)
    )
    reader, look = (
        RecurrentQuestionEncoder(GRU(width), embedding_dim=width),
        QuestionGuidedAttention(SoftAttention(width)),
    )
    parts = reader, look, Concatenation(width)
    understanding = QuestionImageEncoder(*parts, tuple(map(str, range(words))), depth)
    head = nn.Linear(understanding.output_dim, answers)
    model = nn.ModuleList([understanding, head])
    features = torch.randn(images, regions, depth)
    image_index = torch.arange(images * each) // each
    tokens = torch.randint(4, words, (images * each, 14))
    for row, length in enumerate(torch.randint(5, 15, (len(tokens),)).tolist()):
        tokens[row, length:] = 0
    targets = torch.rand(len(tokens), answers)

    def loss_of(features: Tensor, image_index: Tensor) -> Tensor:
        model.zero_grad()
        mask = torch.ones(features.shape[:2], dtype=torch.bool)
        understood = understanding(tokens, Context(features, mask, features.mean(1), None), image_index)
        loss = F.binary_cross_entropy_with_logits(head(understood.fused), targets)
        loss.backward()
        return loss.detach()

    ways = {
        "a row of features for each question": lambda: loss_of(features[image_index], torch.arange(len(tokens))),
        "vlrnn": lambda: loss_of(features, image_index),
    }
    losses = [float(way()) for way in ways.values()]
    assert abs(losses[0] - losses[1]) < 1e-4 * losses[0], losses
    seconds = in_turns(ways, 1 if arguments.quick else arguments.repeats, warm=False)
    figures = told(f"{images} images with {each} questions each, one thread", seconds)
    print(f"  losses {losses[0]:.6f} and {losses[1]:.6f}")
    keep(arguments, {**figures, "losses": losses})


if __name__ == "__main__":
    main()
