"""Environments in which time passes by itself."""

from __future__ import annotations

from sage.core.api.local_environment import LocalEnvironment

__all__ = ["virtual_environment"]


def virtual_environment(
    name: str = "test", *, max_records: int | None = None, timeout: float | None = None
) -> LocalEnvironment:
    """A pipeline that runs within `submit`, one record at a time, in virtual time: nothing is ever waited for.

    The same as ``LocalEnvironment(name, "inline", options={"clock": "virtual", …})``. The time begins at 0, which is
    1970, and jumps to when there is something to do.

    Args:
        name: of the job.
        max_records: how many records to read from all sources together; then their input has ended.
        timeout: seconds of virtual time after which the input has ended.
    """
    options = {"clock": "virtual", "max_records": max_records, "timeout": timeout}
    return LocalEnvironment(name, "inline", options=options)
