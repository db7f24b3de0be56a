"""`vlrnn prepare pope`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "pope", *sys.argv[1:]]))
