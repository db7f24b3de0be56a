"""`vlrnn demo`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
