"""python -m vlrnn"""

import sys

from vlrnn.cli import main

sys.exit(main())
