"""`vlrnn prepare shards`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "shards", *sys.argv[1:]]))
