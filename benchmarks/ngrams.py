"""What counting makes of a text, in bits per character: n-gram models of its characters and words, cut into train and
test as a language model's data are. A language model is to be better.

    python benchmarks/ngrams.py data/prose.txt [--orders 1 2 3 5 8 12]
"""

import argparse
from collections.abc import Sequence

from vlrnn.data.text_datamodule import TextDataModule
from vlrnn.metrics.perplexity import ngram_bits
from vlrnn.text.tokenizers import CharTokenizer, WordTokenizer


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("text", help="as data.root of a recipe")
    parser.add_argument("--orders", type=int, nargs="+", default=[1, 2, 3, 5, 8, 12])
    arguments = parser.parse_args(argv)
    print(f"| order | {' | '.join(map(str, arguments.orders))} |")
    print("|---" * (1 + len(arguments.orders)) + "|")
    for units in (CharTokenizer(), WordTokenizer()):
        data = TextDataModule(arguments.text, units)
        train, test = data.split("train"), data.split("test")
        units_per_character = len(test) / sum(map(len, test))
        bits = (units_per_character * ngram_bits(train, test, order) for order in arguments.orders)
        print(f"| {units.name} | {' | '.join(f'{each:.3f}' for each in bits)} |")
    return 0


if __name__ == "__main__":
    main()
