"""Conformance of connectors: what any source or sink has to keep of the contract, to be called from its tests."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from sage.core.connectors.api import STOP, Later, Reader, RecordError, Sink, Source
from sage.core.engine.context import RuntimeContext
from sage.core.engine.events import Attempt
from sage.core.engine.services import ServiceRegistry

__all__ = ["check_sink", "check_source"]

_MOST_READS = 100_000
_SIZES = (1, 2, 3, 1000)


def check_source(source: Source, expected: Sequence[Any]) -> None:
    """Read a bounded source in many ways, and see that it keeps the contract each time.

    Args:
        source: it must give the same each time it is read.
        expected: its records, partition after partition, in order; those that are unusable are left out.

    Raises:
        AssertionError: it does not keep the contract. The message says what was promised.
    """
    names = source.partitions()
    assert not isinstance(names, str), "partitions() must return a list of names"
    assert all(isinstance(name, str) for name in names), f"partitions() must return names, not {names!r}"
    assert len(set(names)) == len(names), f"partitions() must name each once: {names!r}"
    assert list(source.partitions()) == list(names), (
        "partitions() must give the same, in the same order, when asked again"
    )
    for size in _SIZES:
        found = [record for name in names for record in _read(source.open(name, None), size)]
        assert found == list(expected), f"read({size}) must give the records in order: {found!r}"
    for name in names:
        _check_positions(source, name)


def check_sink(make: Callable[[], Sink], records: Sequence[Any], published: Callable[[], Sequence[Any]]) -> None:
    """Write to a sink, give up, commit twice, and see that it keeps the contract.

    Args:
        make: makes a sink that writes to the same place each time.
        records: what it can write, one at least.
        published: what can be seen of what was written, by anyone, as records.

    Raises:
        AssertionError: it does not keep the contract. The message says what was promised.
    """
    before = list(published())
    expected = [*before, *records]
    if make().delivery == "transactional":
        _write(make(), records).close()
        assert list(published()) == before, "close() must give up what was not prepared"
        sink = _write(make(), records)
        handle = sink.prepare(1)
        assert list(published()) == before, "nothing may be seen of what was prepared, and not committed"
        sink.abort(handle)
        sink.abort(handle)
        sink.close()
        assert list(published()) == before, "abort() must give up what was prepared"
        sink = _write(make(), records)
        handle = pickle.loads(pickle.dumps(sink.prepare(1)))  # noqa: S301 - it was pickled just now
        make().commit(handle)
        assert list(published()) == expected, "commit() must publish what was prepared, by any instance"
        sink.commit(handle)
        assert list(published()) == expected, "commit() must do nothing for what was committed before"
    else:
        sink = _write(make(), records)
    sink.close()
    assert list(published()) == expected, "what was written must be there after close()"


def _check_positions(source: Source, name: str) -> None:
    whole = _read(source.open(name, None), 1000)
    for size in _SIZES:
        reader = source.open(name, None)
        before: list[Any] = []
        ended = False
        while not ended:
            position = pickle.loads(pickle.dumps(reader.position()))  # noqa: S301 - it was pickled just now
            rest = _read(source.open(name, position), 2)
            assert before + rest == whole, f"opened at {position!r}, it must give just what had not been read: {rest!r}"
            ended = _read_on(reader, size, before)
        reader.close()


def _read(reader: Reader, size: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(_MOST_READS):
        if _read_on(reader, size, found):
            reader.close()
            return found
    raise AssertionError(f"a partition must end: it has not after {_MOST_READS:,} reads")


def _read_on(reader: Reader, size: int, found: list[Any]) -> bool:
    """Read once. Returns whether the partition has ended."""
    try:
        got = reader.read(size)
    except RecordError:
        return False
    if got is STOP:
        return True
    if isinstance(got, Later):
        assert got.seconds >= 0, f"Later() takes seconds from now on, not {got.seconds!r}"
        return False
    if got is None:
        reader.wait(0.01)
        return False
    assert isinstance(got, list), f"read() must return a list, None or STOP, not {got!r}"
    assert len(got) <= size, f"read({size}) must return {size} records at most, not {len(got)}"
    found += got
    return False


def _write(sink: Sink, records: Sequence[Any]) -> Sink:
    sink.open(
        RuntimeContext(
            job="check",
            job_name="check",
            operator="check",
            uid="check",
            subtask=0,
            parallelism=1,
            attempt=1,
            services=ServiceRegistry((), Attempt("check"), users=1),
        )
    )
    sink.write(list(records[:1]))
    sink.write(list(records[1:]))
    return sink
