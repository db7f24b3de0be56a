"""`vlrnn prepare easy_vqa`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "easy_vqa", *sys.argv[1:]]))
