"""`vlrnn prepare vqa_v2`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "vqa_v2", *sys.argv[1:]]))
