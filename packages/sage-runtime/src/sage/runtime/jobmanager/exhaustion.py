"""What is said when no descriptor or memory is left: one line now and then, not a traceback each time."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import Any

from sage.runtime.jobmanager.allowance import Allowance
from sage.runtime.jobmanager.problems import BusyError

__all__ = ["few_lines", "is_exhaustion", "nothing_left", "tells_exhaustion_briefly"]

_NUMBERS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_log = logging.getLogger(__name__)


def is_exhaustion(error: BaseException | None) -> bool:
    """Whether an error says that the system has no more to give, which may pass."""
    return isinstance(error, OSError) and error.errno in _NUMBERS


def nothing_left() -> BusyError:
    """What a request is answered that has met it."""
    return BusyError("the JobManager has no descriptor or memory left", hint="try again in a moment")


def few_lines() -> Allowance:
    """How often the log may tell of it."""
    return Allowance(per_second=0.1, burst=3)


def tells_exhaustion_briefly() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """A handler for errors of an event loop, which meets the same lack once a second as long as it lasts."""
    allowance = few_lines()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not is_exhaustion(error):
            loop.default_exception_handler(context)
        elif allowance.take():
            _log.warning("%s (%s)", context["message"], error)

    return handle
