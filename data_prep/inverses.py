"""`vlrnn prepare inverses`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "inverses", *sys.argv[1:]]))
