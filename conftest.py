"""What the tests of all packages need."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell that runs something in the background lets it ignore these, and so would every program that a test starts:
# those that are to be interrupted would never end.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

# How long an example takes says something of the machine and what else runs on it, nothing of the code.
settings.register_profile("sage", deadline=None)
settings.load_profile("sage")
