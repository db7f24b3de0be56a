"""`vlrnn prepare daquar`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "daquar", *sys.argv[1:]]))
