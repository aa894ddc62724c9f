"""Fixtures of the tests of graph, plan, engine, backends and API."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

LIMIT = 60.0
"""Seconds after which something that should happen at once is said never to happen."""


@pytest.fixture(params=["inline", "local"])
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend of core in turn."""
    name: str = request.param
    return name


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    """No thread of SAGE outlives the test that made it start."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("sage-"):
            thread.join(LIMIT)
            assert not thread.is_alive(), f"{thread.name} is still running"
