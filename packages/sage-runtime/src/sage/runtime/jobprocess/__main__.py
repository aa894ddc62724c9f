"""``python -P -m sage.runtime.jobprocess <job folder>``; started by a shim, not by hand.

This module is the job's ``__main__``, where the classes of the user's script are installed: hence no names of ours.
"""

import sys as _sys

from sage.runtime.jobprocess.main import main as _main

if __name__ == "__main__":
    _sys.exit(_main(_sys.argv[1:]))
