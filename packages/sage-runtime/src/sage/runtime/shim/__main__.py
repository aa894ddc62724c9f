"""``python -I -S <this file> [--ready-fd N] <job folder>``: the shim of one job."""

import os
import sys
import types

# Without site-packages nothing leads to `sage`: register the two packages above this folder by hand, bare, so that
# modules have one name everywhere and no search path is walked.
_here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
for _name, _path in (
    ("sage", os.path.dirname(os.path.dirname(_here))),  # noqa: PTH120
    ("sage.runtime", os.path.dirname(_here)),  # noqa: PTH120
    ("sage.runtime.shim", _here),
):
    _package = types.ModuleType(_name)
    _package.__path__ = [_path]
    sys.modules[_name] = _package

from sage.runtime.shim.main import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
