"""Caption an image from Python: load a model once, generate captions, draw the attention.

python demo/caption.py photo.jpg --checkpoint runs/quickstart/captioning/checkpoints/best.ckpt --picture attention.png
"""

import math
import sys

from vlrnn.data.images import open_image
from vlrnn.errors import Parser, UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.report.drawing import save_attention
from vlrnn.terminal import escaping_streams, percent, print_line


def main() -> int:
    parser = Parser(description="Caption an image from Python.")
    parser.add_argument("image")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--picture", help="where to save the attention map of every word")
    arguments = parser.parse_args()

    predictor = Predictor.load(arguments.checkpoint)  # a .ckpt file, or a folder of vlrnn export

    best = predictor.caption(arguments.image, num_beams=5, num_return_sequences=3)
    print_line(best.text)  # escapes control sequences of an untrusted checkpoint
    for word, log_prob in zip(best.tokens, best.log_probs, strict=False):
        print_line(f"  {percent(math.exp(log_prob)):>8}  {word}")
    for other in best.alternatives:
        print_line(f"or: {other['text']}")

    drawn = predictor.caption(arguments.image, temperature=1.0, top_p=0.9, seed=1)
    print_line(f"at random: {drawn.text}")

    weights = predictor.attention(arguments.image, best.tokens)  # [words + 1, regions], None without attention
    if arguments.picture:
        if weights is None:
            raise UserError("--picture: the decoder of this checkpoint has no attention")
        save_attention(arguments.picture, open_image(arguments.image), [*best.tokens, "(end)"], weights)
        print_line(f"open {arguments.picture}")
    return 0


if __name__ == "__main__":
    with escaping_streams():
        try:
            sys.exit(main())
        except UserError as fault:
            print_line(f"caption: {fault}", file=sys.stderr)
            sys.exit(2)
