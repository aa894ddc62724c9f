"""``python -m sage.cli``: the same as ``sage``."""

from __future__ import annotations

import sys

from sage.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
