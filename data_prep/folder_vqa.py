"""Prepare any folder of images with a CSV or JSON of questions and answers; splits stand there or are drawn."""

import sys
from collections.abc import Sequence

from vlrnn.data.formats.table import read_questions
from vlrnn.data.prepare.folder import folder_script


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns the exit code."""
    columns = ["image", "question", "answer", "split"]
    return folder_script(__doc__ or "", "question", columns, read_questions, argv)


if __name__ == "__main__":
    sys.exit(main())
