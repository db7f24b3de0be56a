"""`vlrnn prepare folder_vqa`."""

import sys

from vlrnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "folder_vqa", *sys.argv[1:]]))
