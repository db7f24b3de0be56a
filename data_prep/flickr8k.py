"""`vlrnn prepare flickr8k`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "flickr8k", *sys.argv[1:]]))
