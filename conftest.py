"""What the tests of all packages need."""

from __future__ import annotations

import signal

# A shell that runs something in the background lets it ignore these, and so would every program that a test starts:
# those that are to be interrupted would never end.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
