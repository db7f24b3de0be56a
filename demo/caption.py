"""Caption an image from Python: load a model once, ask it, look at where it looked.

python demo/caption.py photo.jpg --checkpoint runs/quickstart/captioning/checkpoints/best.ckpt --picture looked.png
"""

import argparse
import math
import sys

from vlrnn.data.images import open_image
from vlrnn.errors import UserError
from vlrnn.predictor import Predictor
from vlrnn.report.attention import save_attention


def main() -> int:
    parser = argparse.ArgumentParser(description="Caption an image from Python.")
    parser.add_argument("image")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--picture", help="where to save the attention map of every word")
    arguments = parser.parse_args()

    predictor = Predictor.load(arguments.checkpoint)  # a .ckpt file, or a folder of vlrnn export

    best = predictor.caption(arguments.image, num_beams=5, num_return_sequences=3)
    print(best.text)
    for word, log_prob in zip(best.tokens, best.log_probs, strict=False):
        print(f"    {math.exp(log_prob):5.1%}  {word}")
    for other in best.alternatives:
        print(f"or: {other['text']}")

    drawn = predictor.caption(arguments.image, temperature=1.0, top_p=0.9, seed=1)
    print(f"at random: {drawn.text}")

    weights = predictor.attention(arguments.image, best.tokens)  # [words + 1, regions], None without attention
    if arguments.picture:
        if weights is None:
            raise UserError("--picture: the decoder of this checkpoint does not attend to regions")
        save_attention(arguments.picture, open_image(arguments.image), [*best.tokens, "(end)"], weights)
        print(f"open {arguments.picture}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as fault:
        print(f"caption: {fault}", file=sys.stderr)
        sys.exit(2)
