"""Where a pipeline is about to run, as graph hooks are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Target", "Where"]

Where = Literal["local", "jobmanager"]


@dataclass(frozen=True)
class Target:
    """Where a pipeline is about to run.

    Attributes:
        where: ``local``, in the program that submits it, or ``jobmanager``.
        backend: its name; None for whatever the JobManager is configured to use.
    """

    where: Where
    backend: str | None = None
