"""`vlrnn prepare flickr30k`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "flickr30k", *sys.argv[1:]]))
