"""What speaks to a JobManager: its client, and the packages it is sent.

::

    from sage.core.client import JobManagerClient

Importing this package loads no HTTP: the client's module is loaded when its name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sage.core.client.jobmanager_client import JobManagerClient

__all__ = ["JobManagerClient"]


def __getattr__(name: str) -> Any:
    if name == "JobManagerClient":
        from sage.core.client.jobmanager_client import JobManagerClient

        return JobManagerClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
