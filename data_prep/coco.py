"""`vlrnn prepare coco`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "coco", *sys.argv[1:]]))
