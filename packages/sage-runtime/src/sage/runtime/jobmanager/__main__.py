"""``python -P -m sage.runtime.jobmanager [--host H] [--port N] [--ready-fd N]``"""

import sys

from sage.runtime.jobmanager.lifecycle import main

sys.exit(main())
