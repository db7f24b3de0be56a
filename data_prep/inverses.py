"""Make the inverses of a synthetic data set's questions after relations, for `vlrnn probe consistency`.

Of the test split, each such question comes with its opposite, and with the same one the other way round.
"""

import argparse
import sys
from collections.abc import Sequence

from vlrnn.data.formats.base import SkipReport
from vlrnn.data.prepare.base import publish, script, script_parser
from vlrnn.data.records import describe_dataset, open_split
from vlrnn.data.synthetic.questions import with_inverses
from vlrnn.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    return script(
        script_parser(__doc__ or "", "the folder of prepared questions about synthetic scenes"), prepare, argv
    )


def prepare(options: argparse.Namespace) -> None:
    """Read, add, write, and tell."""
    about = describe_dataset(options.source)
    examples = with_inverses(open_split(options.source, "test"))
    if not examples:
        raise UserError(f"{options.source}/test.jsonl: asks for no relation, as questions about synthetic scenes do")
    publish(
        options.out,
        {"test": examples},
        options.source / about.get("image_root", "."),
        SkipReport(),
        name=f"{about.get('name', options.source.resolve().name)}, inverses",
        source=about.get("source", "unknown"),
        licence=about.get("licence", "unknown"),
        check=not options.unchecked,
    )


if __name__ == "__main__":
    sys.exit(main())
