"""Conformance of connectors: what any source or sink has to keep of the contract.

`SourceConformance` and `SinkConformance` are classes to derive tests from, one for each promise. `check_source` and
`check_sink` are the same promises in one call.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from unittest import SkipTest

from sage.core.connectors.api import STOP, Delivery, Later, Reader, RecordError, Sink, Source
from sage.core.engine.context import RuntimeContext
from sage.core.engine.events import Attempt
from sage.core.engine.services import ServiceRegistry
from sage.core.testing.conformance._promises import promise, promise_of

__all__ = ["NotClaimed", "SinkConformance", "SourceConformance", "check_sink", "check_source", "read_source"]

_MOST_READS = 100_000
_SIZES = (1, 2, 3, 1000)
_PAGE = "reference/conformance.md#connectors"


class SourceConformance:
    """Tests of a bounded source, to derive a class of tests from: one for each promise.

    ::

        class TestOrders(SourceConformance):
            def source(self):
                return OrdersSource("orders.db")

            def expected(self):
                return [...]
    """

    def source(self) -> Source:
        """A new one, which reads the same each time."""
        raise NotImplementedError(f"{type(self).__name__}.source() has to make the source that is tried")

    def expected(self) -> Sequence[Any]:
        """Its records, partition after partition, in order; those that are unusable are left out."""
        raise NotImplementedError(f"{type(self).__name__}.expected() has to tell its records")

    @promise("sources.partitions", "`partitions` gives names, each once, and the same when asked again.", _PAGE)
    def test_partitions(self) -> None:
        source = self.source()
        names = source.partitions()
        assert not isinstance(names, str), "partitions() must return a list of names"
        assert all(isinstance(name, str) for name in names), f"partitions() must return names, not {names!r}"
        assert len(set(names)) == len(names), f"partitions() must name each once: {names!r}"
        assert list(source.partitions()) == list(names), (
            "partitions() must give the same, in the same order, when asked again"
        )
        assert list(self.source().partitions()) == list(names), "another instance must give the same partitions"

    @promise("sources.portions", "In portions of any size, the same records come in the same order.", _PAGE)
    def test_portions(self) -> None:
        source = self.source()
        for size in _SIZES:
            found = [record for name in source.partitions() for record in _read(source.open(name, None), size)]
            assert found == list(self.expected()), f"read({size}) must give the records in order: {found!r}"

    @promise("sources.positions", "Opened at any position that a reader gave, it goes on just there.", _PAGE)
    def test_positions(self) -> None:
        source = self.source()
        for name in source.partitions():
            _check_positions(source, name)

    @promise("sources.apart", "Readers do not disturb each other, of one partition neither.", _PAGE)
    def test_readers_apart(self) -> None:
        source = self.source()
        names = list(source.partitions()) * 2
        whole = [_read(source.open(name, None), 1000) for name in names]
        readers = [source.open(name, None) for name in names]
        found: list[list[Any]] = [[] for _ in names]
        left = set(range(len(names)))
        for _ in range(_MOST_READS):
            left -= {number for number in sorted(left) if _read_on(readers[number], 1, found[number])}
            if not left:
                break
        for reader in readers:
            reader.close()
        assert found == whole, "readers that take turns must give what each gives alone"

    @promise("sources.copies", "A copy of the source, as each subtask gets one, reads the same.", _PAGE)
    def test_copies(self) -> None:
        found = read_source(copy.deepcopy(self.source()))
        assert found == list(self.expected()), f"a copy must give the same records: {found!r}"

    @promise("sources.close", "A reader can be closed at any time.", _PAGE)
    def test_close(self) -> None:
        source = self.source()
        for name in source.partitions():
            source.open(name, None).close()
            reader = source.open(name, None)
            _read_on(reader, 1, [])
            reader.close()


class SinkConformance:
    """Tests of a sink, to derive a class of tests from: one for each promise, those of its delivery."""

    def sink(self) -> Sink:
        """A new one, which writes to the same place each time."""
        raise NotImplementedError(f"{type(self).__name__}.sink() has to make the sink that is tried")

    def records(self) -> Sequence[Any]:
        """What it can write, one at least."""
        raise NotImplementedError(f"{type(self).__name__}.records() has to tell what the sink can write")

    def published(self) -> Sequence[Any]:
        """What can be seen of what was written, by anyone, as records."""
        raise NotImplementedError(f"{type(self).__name__}.published() has to tell what was written")

    @promise("sinks.delivery", "It says what becomes of records that are written again.", _PAGE)
    def test_delivery(self) -> None:
        delivery = self.sink().delivery
        known = ("at-least-once", "idempotent", "transactional")
        assert delivery in known, f"delivery must be one of {known}, not {delivery!r}"

    @promise("sinks.given-up", "A transactional one gives up what was not prepared when it is closed.", _PAGE)
    def test_given_up(self) -> None:
        before = self._before("transactional")
        _write(self.sink(), self.records()).close()
        assert list(self.published()) == before, "close() must give up what was not prepared"

    @promise("sinks.aborted", "Nothing is seen of what was prepared, and `abort` gives it up, once or twice.", _PAGE)
    def test_aborted(self) -> None:
        before = self._before("transactional")
        sink = _write(self.sink(), self.records())
        handle = sink.prepare(1)
        assert list(self.published()) == before, "nothing may be seen of what was prepared, and not committed"
        sink.abort(handle)
        sink.abort(handle)
        sink.close()
        assert list(self.published()) == before, "abort() must give up what was prepared"

    @promise("sinks.committed", "Any instance can commit what another has prepared; twice is once.", _PAGE)
    def test_committed(self) -> None:
        expected = [*self._before("transactional"), *self.records()]
        sink = _write(self.sink(), self.records())
        handle = pickle.loads(pickle.dumps(sink.prepare(1)))  # noqa: S301 - it was pickled just now
        self.sink().commit(handle)
        assert list(self.published()) == expected, "commit() must publish what was prepared, by any instance"
        sink.commit(handle)
        assert list(self.published()) == expected, "commit() must do nothing for what was committed before"
        sink.close()
        assert list(self.published()) == expected, "what was written must be there after close()"

    @promise("sinks.written", "What was written is there once it is closed.", _PAGE)
    def test_written(self) -> None:
        expected = [*self._before("at-least-once"), *self.records()]
        _write(self.sink(), self.records()).close()
        assert list(self.published()) == expected, "what was written must be there after close()"

    @promise("sinks.replaced", "An idempotent one replaces what was written before.", _PAGE)
    def test_replaced(self) -> None:
        self._before("idempotent")
        _write(self.sink(), self.records()).close()
        once = list(self.published())
        assert all(record in once for record in self.records()), "what was written must be there after close()"
        _write(self.sink(), self.records()).close()
        assert list(self.published()) == once, "what is written again must replace what was there"

    def _before(self, delivery: Delivery) -> list[Any]:
        """What is there; ends the test of a sink that delivers in another way."""
        found = self.sink().delivery
        if found != delivery:
            raise NotClaimed(f"this is for sinks that are {delivery}; this one is {found}")
        return list(self.published())


class NotClaimed(SkipTest):
    """A connector does not claim what a promise speaks of."""


def read_source(source: Source) -> list[Any]:
    """All records of a bounded source, partition after partition; those that are unusable are left out."""
    return [record for name in source.partitions() for record in _read(source.open(name, None), 1000)]


def check_source(source: Source, expected: Sequence[Any]) -> None:
    """Read a bounded source in many ways, and see that it keeps the contract each time.

    Args:
        source: it must give the same each time it is read.
        expected: its records, partition after partition, in order; those that are unusable are left out.

    Raises:
        AssertionError: it does not keep the contract. The message says what was promised.
    """

    class Given(SourceConformance):
        def source(self) -> Source:
            return source

        def expected(self) -> Sequence[Any]:
            return expected

    for test in _tests(Given):
        test()


def check_sink(make: Callable[[], Sink], records: Sequence[Any], published: Callable[[], Sequence[Any]]) -> None:
    """Write to a sink, give up, commit twice, and see that it keeps the contract.

    Args:
        make: makes a sink that writes to the same place each time.
        records: what it can write, one at least.
        published: what can be seen of what was written, by anyone, as records.

    Raises:
        AssertionError: it does not keep the contract. The message says what was promised.
    """

    class Given(SinkConformance):
        def sink(self) -> Sink:
            return make()

        def records(self) -> Sequence[Any]:
            return records

        def published(self) -> Sequence[Any]:
            return published()

    for test in _tests(Given):
        with suppress(NotClaimed):
            test()


def _tests(kind: type[SourceConformance] | type[SinkConformance]) -> Iterator[Callable[[], None]]:
    base = kind.__mro__[1]
    for name, item in vars(base).items():
        if promise_of(item) is not None:
            yield getattr(kind(), name)


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
