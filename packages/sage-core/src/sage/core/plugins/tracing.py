"""``SAGE_TRACE_PLUGINS=1``: what is done about plugins, and how long each step takes, on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["traced"]


@contextmanager
def traced(told: Callable[[], str]) -> Iterator[None]:
    """Tell of a step once it is over, if asked to; ``told`` makes the words then."""
    if not os.environ.get("SAGE_TRACE_PLUGINS"):
        yield
        return
    began = time.perf_counter()
    how = ""
    try:
        yield
    except BaseException as error:
        how = f": {type(error).__name__}"
        raise
    finally:
        taken = (time.perf_counter() - began) * 1e3
        sys.stderr.write(f"sage plugins: {told()} in {taken:.1f} ms{how}, {_now()}\n")  # at once: others write, too
        sys.stderr.flush()


def _now() -> str:
    now = time.time()
    return f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now % 1 * 1e3):03d}"
