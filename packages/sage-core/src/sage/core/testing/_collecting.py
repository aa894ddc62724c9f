"""A sink that keeps what it is given, for tests of pipelines that take their sink as an argument."""

from __future__ import annotations

import itertools
import os
import threading
from typing import Any
from weakref import WeakValueDictionary

from sage.core.errors import PackagingError

__all__ = ["CollectingSink"]

_count = itertools.count()


class CollectingSink:
    """Keeps all records, in the order in which they come, whatever the parallelism: ``stream.sink(sink)``.

    Only for jobs in the process of the test: elsewhere the job fails by name, and ``stream.collect()`` is the way.

    Attributes:
        records: what has come until now.
    """

    transient = ("_changed", "records")

    def __init__(self) -> None:
        self.records: list[Any] = []
        self._changed = threading.Condition()
        self._key = (os.getpid(), next(_count))
        _sinks[self._key] = self

    def execute(self, record: Any) -> None:
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def wait_for(self, count: int, timeout: float = 60.0) -> list[Any]:
        """Wait until so many records have come, and return what is there: for jobs that go on for ever.

        Raises:
            AssertionError: they have not within ``timeout`` seconds.
        """
        with self._changed:
            there = self._changed.wait_for(lambda: len(self.records) >= count, timeout)
            assert there, f"{count} records were to come within {timeout:g} s, not {len(self.records)}: {self.records}"
            return list(self.records)

    def __deepcopy__(self, memo: object) -> CollectingSink:
        return self  # all subtasks give to the same one

    def __reduce__(self) -> tuple[object, ...]:
        return _found, self._key


_sinks: WeakValueDictionary[tuple[int, int], CollectingSink] = WeakValueDictionary()


def _found(pid: int, number: int) -> CollectingSink:
    sink = _sinks.get((pid, number))
    if sink is None:
        raise PackagingError("a CollectingSink collects in the process of its test", hint="use stream.collect()")
    return sink
