"""``python -m gzc``. The same as the console script ``gzc``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
