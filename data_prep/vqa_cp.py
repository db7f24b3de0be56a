"""`vlrnn prepare vqa_cp`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "vqa_cp", *sys.argv[1:]]))
