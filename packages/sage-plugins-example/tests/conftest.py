"""What tests of the backend `processes` share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

_LIMIT = 60.0
"""Seconds after which something that should happen at once is said never to happen."""


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """No thread of SAGE, no worker, and no socket or file of theirs outlives the test that made it start."""
    before, others = descriptors(), children()
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("sage-"):
            thread.join(_LIMIT)
            assert not thread.is_alive(), f"{thread.name} is still running"
    assert children() <= others, "a worker is still running"
    assert descriptors() <= before, "descriptors are still open"


def children() -> set[int]:
    """The process ids of this process's children, those that have ended and were not waited for included."""
    found = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in found.read_text().split()} if found.exists() else set()


def descriptors() -> int:
    """How many are open."""
    return len(list(Path("/proc/self/fd").iterdir()))
