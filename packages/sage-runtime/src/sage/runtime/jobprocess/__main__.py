"""``python -P -m sage.runtime.jobprocess <job folder>``; started by a shim, not by hand.

This module is the job's ``__main__``, where the classes of the user's script are installed: hence no names of ours.
"""

import sys as _sys

from sage.runtime.jobprocess.main import main as _main

if __name__ == "__main__":
    # A program's arguments do not travel. Code that looks for them finds none, rather than ours.
    _arguments, _sys.argv[1:] = _sys.argv[1:], []
    _sys.exit(_main(_arguments))
