"""`vlrnn prepare prose`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "prose", *sys.argv[1:]]))
