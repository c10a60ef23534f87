"""``python -m gzc``.

Rules of this file: the same as the console script ``gzc``, and nothing more.
"""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
