"""`vlrnn prepare shift_priors`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "shift_priors", *sys.argv[1:]]))
