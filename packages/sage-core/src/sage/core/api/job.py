"""The handle of a submitted job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from sage.core.models import JobMetrics

__all__ = ["Job"]


class Job(ABC):
    """A job that was submitted; its text is its uuid."""

    in_callers_thread = False
    """Whether the job only moves while somebody waits for it."""

    def __init__(self, uuid: str, name: str) -> None:
        self.uuid = uuid
        self.name = name

    def __str__(self) -> str:
        return self.uuid

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.uuid}>"

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """What is known of the job now; ``"status"`` is its state, or ``deleted``."""

    @abstractmethod
    def metrics(self) -> JobMetrics:
        """What its operators, and the exchanges between them, have counted and measured so far.

        Raises:
            NotFoundError: the job was deleted from its JobManager.
        """

    @abstractmethod
    def wait(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait until the job has ended. Returns its last status.

        Args:
            timeout: seconds; None waits for ever.

        Raises:
            JobFailedError: the job failed.
            WaitTimeoutError: the time is over; the job goes on.
        """

    @abstractmethod
    def logs(self) -> Iterator[str]:
        """What the job prints, from its beginning, as it comes, until it has ended.

        Raises:
            WrongStateError: the job prints into this process's own output.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ask the job to stop. It ends ``cancelled``: nothing is kept from which it could continue."""

    @abstractmethod
    def continue_(self) -> None:
        """Continue a stopped or failed job.

        Raises:
            WrongStateError: nothing was kept from which it could continue.
        """

    @abstractmethod
    def delete(self, *, force: bool = False) -> None:
        """Forget an ended job; with ``force`` an unfinished one is cancelled first.

        Raises:
            WrongStateError: the job has not ended, and ``force`` was not given.
        """
