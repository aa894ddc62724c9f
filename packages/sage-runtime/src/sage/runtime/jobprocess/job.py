"""One run of the job's graph, and the ways it can be told to end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sage.runtime.shim.failure import clean_failure

if TYPE_CHECKING:
    from sage.core.engine.coordinator import Coordinator, StateListener
    from sage.core.models import FailureInfo

__all__ = ["Job"]

_METRICS_INTERVAL = 1.0


class Job:
    """Runs a coordinator and reports through ``send``; may be cancelled at any time, also before there is one.

    Attributes:
        cancelled: cancel was asked for.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._grace: float | None = None
        self._run: Coordinator | None = None
        self._tasks = 0

    @property
    def cancelled(self) -> bool:
        return self._grace is not None

    def cancel(self, grace: float) -> None:
        """End the job; its tasks get ``grace`` seconds. Never blocks; from any thread."""
        with self._lock:
            self._grace = grace
            run = self._run
        if run is not None:
            run.cancel(grace)

    def run(self, make: Callable[[StateListener], Coordinator]) -> None:
        """Run what ``make(on_state)`` makes to its end, and report that.

        Raises:
            SageError: the backend cannot run this plan; nothing was started, and nothing is reported.
        """
        run = make(self._moved)
        self._tasks = len(run.plan.tasks)
        with self._lock:
            self._run = run
        if self.cancelled:
            self._end("cancelled", None)
            return
        run.start()
        if self._grace is not None:
            # It may have come before the start, when there was nothing to cancel; twice does no harm.
            run.cancel(self._grace)
        while not run.join(_METRICS_INTERVAL):
            self._tell_metrics(run)
        self._tell_metrics(run)
        self._end(run.state, run.failure)

    def fail(self, failure: FailureInfo) -> None:
        """Report that the job failed before or beside its run; one that was to be cancelled is just that."""
        self._end("cancelled" if self.cancelled else "failed", failure)

    def _moved(self, state: str, reason: str | None, failure: FailureInfo | None) -> None:
        if state == "running":
            self._send({"event": "running", "tasks": self._tasks})
        elif state == "failing" and failure is not None:
            # Told at once: closing the other tasks may take its time.
            self._send({"event": "failing", "failure": clean_failure(failure.to_json())})
        elif reason is not None:
            print(f"sage: {state}: {reason}", file=sys.stderr)

    def _tell_metrics(self, run: Coordinator) -> None:
        self._send({"event": "metrics", "metrics": run.metrics().to_json()})

    def _end(self, state: str, failure: FailureInfo | None) -> None:
        told = None if failure is None else clean_failure(failure.to_json())
        self._send({"event": "ended", "state": state, "failure": told})
