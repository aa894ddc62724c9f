"""A pipeline explained in words."""

from __future__ import annotations

import sys

import pytest

from sage.core.api import LocalEnvironment
from sage.core.errors import GraphError


def test_operators_and_tasks_are_listed() -> None:
    """What was declared and where, what runs together, and how records travel between tasks."""
    env = LocalEnvironment("words")
    words = env.from_batch(["a b"], name="lines").flatmap(str.split, name="words")
    counts = words.keyby(str.lower, name="word").reduce(max, name="count", parallelism=2, final=True)
    counts.sink(print, uid="out")
    line = sys._getframe().f_lineno
    assert env.explain().splitlines() == [
        "pipeline 'words'",
        "",
        "operators",
        f"  collection:lines ×1   [test_explain.py:{line - 3}]",  # noqa: RUF001
        f"  flatmap:words ×1 ← collection:lines   [test_explain.py:{line - 3}]",  # noqa: RUF001
        f"  keyby:word ×1 ← flatmap:words   [test_explain.py:{line - 2}]",  # noqa: RUF001
        f"  reduce:count ×2 ← keyby:word (hash)   [test_explain.py:{line - 2}]",  # noqa: RUF001
        f"  out ×1 ← reduce:count   [test_explain.py:{line - 1}]",  # noqa: RUF001
        "",
        "tasks",
        "  stage 0 ×1: collection:lines → flatmap:words → keyby:word",  # noqa: RUF001
        "  stage 1 ×2: reduce:count",  # noqa: RUF001
        "  stage 2 ×1: out",  # noqa: RUF001
        "  stage 0 ─hash→ stage 1   (keyby:word → reduce:count)",
        "  stage 1 ─rebalance→ stage 2   (reduce:count → out)",
    ]


def test_explaining_runs_nothing_and_refuses_what_cannot_run() -> None:
    """Nothing is opened or read; the problems are those of `submit`."""

    def never() -> list[int]:
        raise AssertionError("it was read")

    env = LocalEnvironment(backend="there is none")
    env.from_batch(never).print()
    assert "never" in env.explain()
    assert env.get_job_status()["status"] == "not_submitted"
    with pytest.raises(GraphError, match="empty"):
        LocalEnvironment().explain()
