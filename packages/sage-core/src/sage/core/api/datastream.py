"""Streams: each method declares one more operator and returns the stream of its records. Nothing runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeGuard, Unpack, overload

from sage.core.api._typevars import Accumulator, Record, Value
from sage.core.api._windowing import trigger_options, window_options
from sage.core.api._writing import Writing
from sage.core.api.connected_streams import ConnectedStreams
from sage.core.api.function.print_sink import PrintSink
from sage.core.api.windowed_stream import WindowedStream
from sage.core.api.windows import Duration, Trigger, Windows
from sage.core.errors import GraphError, Problem
from sage.core.graph.builder import Upstream
from sage.core.graph.durations import seconds
from sage.core.graph.functions import Given, describe_function, describe_lookup
from sage.core.graph.location import users_location
from sage.core.graph.model import Exchange
from sage.core.graph.policy import DEAD_LETTERS, ErrorPolicy
from sage.core.graph.windows import LATE

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from sage.core.api._forms import Aggregates, Awaits, Executes, Folds, Found, In0, In1, In2, Items, Keywords, Reduces
    from sage.core.api.environment import Environment
    from sage.core.engine.dead_letter import DeadLetter

__all__ = ["DataStream"]


class DataStream(Writing, Generic[Record]):
    """The records that one or several operators put out.

    A stream may be used any number of times: each use gets all of its records. Every method takes a function
    class with its constructor arguments, an instance, or a plain callable, and these keywords:

    - ``name``: what people read; the function's own name by default;
    - ``uid``: a stable identity; made of kind and name by default;
    - ``parallelism``: number of subtasks, 1 by default. What a subtask keeps in attributes is its own;
    - ``on_error``: what happens to a record whose function raises: `fail`, `skip`, `retry` or `dead_letter`.

    Lengths of time are seconds, as int or float, or a ``timedelta``; points in event time are seconds since 1970, or a
    ``datetime`` with a time zone. What cannot run is told by ``submit``, all of it at once (`GraphError`), unless a
    method says otherwise. A stream of a job that was submitted takes no more (`AlreadySubmittedError`).
    """

    def __init__(self, environment: Environment, upstream: tuple[Upstream, ...]) -> None:
        self._environment = environment
        self._upstream = upstream

    def __repr__(self) -> str:
        operators = self._environment._builder.operators()
        parts = []
        for up in self._upstream:
            operator = operators[up.operator]
            kind = "" if str(operator.uid).startswith(f"{operator.kind}:") else f"{operator.kind} "
            number = "" if operator.parallelism == 1 else f" ×{operator.parallelism}"  # noqa: RUF001
            side = f", side output {up.tag!r}" if up.tag is not None else ""
            way = f", {up.exchange}" if up.exchange != "forward" else ""
            parts.append(f"{kind}{operator.uid}{number} [{operator.location}]{side}{way}")
        return f"<DataStream of {' and '.join(parts)}>"

    @overload
    def map(
        self,
        function: type[Executes[Record, Value]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def map(
        self, function: Executes[Record, Value] | Callable[[Record], Value], **keywords: Unpack[Keywords]
    ) -> DataStream[Value]: ...
    def map(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """One record in, one record out: ``function(record)``."""
        return self._add("map", function, args, kwargs, name, uid, parallelism, on_error)

    @overload
    def filter(
        self, function: Callable[[Record], TypeGuard[Value]], **keywords: Unpack[Keywords]
    ) -> DataStream[Value]: ...
    @overload
    def filter(
        self, function: Callable[[Record], TypeIs[Value]], **keywords: Unpack[Keywords]
    ) -> DataStream[Value]: ...
    @overload
    def filter(
        self,
        function: type[Executes[Record, object]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Record]: ...
    @overload
    def filter(
        self, function: Executes[Record, object] | Callable[[Record], object], **keywords: Unpack[Keywords]
    ) -> DataStream[Record]: ...
    def filter(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Keeps the records for which ``function(record)`` is true, and the key they have from `keyby`."""
        kept = self._add("filter", function, args, kwargs, name, uid, parallelism, on_error)
        return kept._keyed() if self._is_keyed() else kept

    @overload
    def filter_map(
        self,
        function: type[Executes[Record, Value | None]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def filter_map(
        self, function: Executes[Record, Value | None] | Callable[[Record], Value | None], **keywords: Unpack[Keywords]
    ) -> DataStream[Value]: ...
    def filter_map(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """A map that leaves out None: ``function(record)`` is put out unless it is None."""
        return self._add("filter_map", function, args, kwargs, name, uid, parallelism, on_error)

    @overload
    def flatmap(
        self,
        function: type[Executes[Record, Iterable[Value] | None]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def flatmap(
        self,
        function: Executes[Record, Iterable[Value] | None] | Callable[[Record], Iterable[Value] | None],
        **keywords: Unpack[Keywords],
    ) -> DataStream[Value]: ...
    def flatmap(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Puts out every item of ``function(record)``: a list, a generator, any other iterable, or None for nothing.

        What is one value, such as text, or no iterable at all, fails with TypeError, by ``on_error``.
        """
        return self._add("flatmap", function, args, kwargs, name, uid, parallelism, on_error)

    @overload
    def map_batches(
        self,
        function: type[Executes[list[Record], Iterable[Value]]],
        *args: Any,
        max_size: int = 128,
        max_wait: Duration | None = None,
        as_array: Literal[False] = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def map_batches(
        self,
        function: Executes[list[Record], Iterable[Value]] | Callable[[list[Record]], Iterable[Value]],
        *,
        max_size: int = 128,
        max_wait: Duration | None = None,
        as_array: Literal[False] = False,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Value]: ...
    @overload
    def map_batches(
        self,
        function: Any,
        *args: Any,
        max_size: int = 128,
        max_wait: Duration | None = None,
        as_array: Literal[True],
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]: ...
    def map_batches(
        self,
        function: Any,
        *args: Any,
        max_size: int = 128,
        max_wait: Duration | None = None,
        as_array: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Many records in at once, any number out: ``function(records)``, as models and vector code want it.

        Args:
            function: gets a list of records, in order, and returns an iterable of what to put out.
            max_size: records in a full batch. A smaller one comes at the end of input, or after ``max_wait``.
            max_wait: seconds, or a timedelta, that a record may wait for company; None: until the batch is full.
            as_array: give a NumPy array made of the records instead of a list.
        """
        options = {"max_size": max_size, "max_wait": seconds(max_wait), "as_array": as_array}
        return self._add("map_batches", function, args, kwargs, name, uid, parallelism, on_error, options)

    @overload
    def map_async(
        self,
        function: type[Awaits[Record, Value]],
        *args: Any,
        concurrency: int = 32,
        ordered: bool = True,
        timeout: Duration | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def map_async(
        self,
        function: Awaits[Record, Value] | Callable[[Record], Awaitable[Value]],
        *,
        concurrency: int = 32,
        ordered: bool = True,
        timeout: Duration | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Value]: ...
    def map_async(
        self,
        function: Any,
        *args: Any,
        concurrency: int = 32,
        ordered: bool = True,
        timeout: Duration | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """One record in, one record out, by a coroutine function: ``await function(record)``, for many records at once.

        Args:
            function: a coroutine function, or an `AsyncMapFunction`.
            concurrency: how many coroutines may be under way at once, in each subtask.
            ordered: whether results come in the order of the records, or each as soon as it is there.
            timeout: seconds, or a timedelta: what takes longer is cancelled, and fails with `RecordTimeoutError`.
        """
        options = {"concurrency": concurrency, "ordered": ordered, "timeout": seconds(timeout)}
        return self._add("map_async", function, args, kwargs, name, uid, parallelism, on_error, options)

    @overload
    def process(
        self,
        function: type[Executes[Record, Iterable[Value] | None]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def process(
        self,
        function: Executes[Record, Iterable[Value] | None] | Callable[[Record], Iterable[Value] | None],
        **keywords: Unpack[Keywords],
    ) -> DataStream[Value]: ...
    def process(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Puts out every item of ``function(record)``, as `flatmap` does; a `ProcessFunction` may set timers besides.

        Timers, and state for each key, need `keyby` before; else setting one fails with `TimerError`, and declaring
        the state with `StateError`. A timer of event time needs a stream that has one, or fails with `TimerError`.
        """
        return self._add("process", function, args, kwargs, name, uid, parallelism, on_error)

    @overload
    def assign_timestamps(
        self,
        function: type[Executes[Record, float | datetime]],
        *args: Any,
        out_of_order: Duration = 0,
        idle_after: Duration | None = None,
        max_ahead: Duration | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int | None = None,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Record]: ...
    @overload
    def assign_timestamps(
        self,
        function: Executes[Record, float | datetime] | Callable[[Record], float | datetime],
        *,
        out_of_order: Duration = 0,
        idle_after: Duration | None = None,
        max_ahead: Duration | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Record]: ...
    def assign_timestamps(
        self,
        function: Any,
        *args: Any,
        out_of_order: Duration = 0,
        idle_after: Duration | None = None,
        max_ahead: Duration | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int | None = None,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Gives each record the event time ``function(record)``, and what follows the watermarks that go with it.

        The records stay as they are, and keep the key they have from `keyby`. Best put directly behind the source:
        there the partitions of a source are told apart, so that none is late by another's being ahead.

        Args:
            function: tells seconds since 1970 as a number, or an aware datetime; or a `TimestampFunction`. What else it
                returns fails with `TimestampError`, by ``on_error``.
            out_of_order: seconds, or a timedelta, by which a record may come behind one of a later time. What comes
                later is late.
            idle_after: seconds, or a timedelta, of the clock, after which a partition in which nothing comes is not
                waited for. None: it always is.
            max_ahead: seconds, or a timedelta, of event time by which a source may be ahead of the slowest one of the
                job that has this set, too; then it waits. None: it never does. Only directly behind a source.
            parallelism: that of the operator before, unless given.
        """
        options = {
            "out_of_order": seconds(out_of_order),
            "idle_after": seconds(idle_after),
            "max_ahead": seconds(max_ahead),
        }
        number = self._parallelism() if parallelism is None else parallelism
        timed = self._add("timestamps", function, args, kwargs, name, uid, number, on_error, options)
        return timed._keyed() if self._is_keyed() else timed

    @overload
    def keyby(
        self,
        function: type[Executes[Record, object]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int | None = None,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Record]: ...
    @overload
    def keyby(
        self, function: Executes[Record, object] | Callable[[Record], object], **keywords: Unpack[Keywords]
    ) -> DataStream[Record]: ...
    def keyby(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int | None = None,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Gives each record the key ``function(record)``; all records of a key meet in one subtask of what follows.

        The records stay as they are. The key holds for the next operator, where it is ``self.context.key``;
        a `filter` hands it on. ``parallelism`` is that of the operator before, unless given.

        A key is None, text, bytes, an int or float, a date, an enum member, a UUID, a tuple or a frozen dataclass of
        such, or has a ``__sage_key__()``. Anything else fails with `UnsupportedKeyError`, by ``on_error``.
        """
        number = self._parallelism() if parallelism is None else parallelism
        return self._add("keyby", function, args, kwargs, name, uid, number, on_error)._keyed()

    @overload
    def reduce(  # type: ignore[overload-overlap]
        self: DataStream[Value],
        function: type[Reduces[Value]],
        *args: Any,
        final: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def reduce(  # type: ignore[overload-overlap]
        self: DataStream[Value],
        function: Reduces[Value] | Callable[[Value, Value], Value],
        *,
        final: bool = False,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Value]: ...
    # To pyright `lambda word: (word, 1)` makes tuples with a Literal[1], which no sum of two is. Where the overloads
    # above fail for that, such tuples are taken for what they are: of some int.
    @overload
    def reduce(  # type: ignore[overload-overlap]
        self: DataStream[tuple[*Items, int]],
        function: Folds[tuple[*Items, int]],
        *,
        final: bool = False,
        **keywords: Unpack[Keywords],
    ) -> DataStream[tuple[*Items, int]]: ...
    @overload
    def reduce(  # type: ignore[overload-overlap]
        self: DataStream[tuple[*Items, int, int]],
        function: Folds[tuple[*Items, int, int]],
        *,
        final: bool = False,
        **keywords: Unpack[Keywords],
    ) -> DataStream[tuple[*Items, int, int]]: ...
    @overload
    def reduce(
        self: DataStream[tuple[int, *Items]],
        function: Folds[tuple[int, *Items]],
        *,
        final: bool = False,
        **keywords: Unpack[Keywords],
    ) -> DataStream[tuple[int, *Items]]: ...
    def reduce(
        self,
        function: Any,
        *args: Any,
        final: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Folds the records of each key: ``function(accumulated, record)``; a key's first record starts it.

        Puts out the new value for every record, or with ``final`` each key's last value once, at the end of input.
        Without ``keyby`` before it there is one value for the whole stream.
        """
        return self._add("reduce", function, args, kwargs, name, uid, parallelism, on_error, {"final": final})

    @overload
    def aggregate(
        self,
        function: type[Aggregates[Record, Accumulator, Value]],
        *args: Any,
        final: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def aggregate(
        self, function: Aggregates[Record, Accumulator, Value], *, final: bool = False, **keywords: Unpack[Keywords]
    ) -> DataStream[Value]: ...
    def aggregate(
        self,
        function: Any,
        *args: Any,
        final: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Like `reduce`, with an accumulator of its own type: an `AggregateFunction`.

        ``create()`` makes a key's accumulator, ``add(accumulator, record)`` gives the next one, and
        ``result(accumulator)`` what is put out: for every record, or with ``final`` once per key at the end of input.
        """
        return self._add("aggregate", function, args, kwargs, name, uid, parallelism, on_error, {"final": final})

    def window(
        self, window: Windows, *, trigger: Trigger | None = None, allowed_lateness: Duration = 0
    ) -> WindowedStream[Record]:
        """Cuts the stream into windows, of each key apart: ``.window(Tumbling(60)).reduce(…)``.

        Without ``keyby`` before it there is one window at a time for the whole stream, in one subtask.

        Args:
            window: `Tumbling`, `Sliding`, `Session`, `Count` or `Global`.
            trigger: when a window puts something out: `AtEnd`, `AfterCount` or `AfterTime`. Time windows do at their
                end; `Global` needs one.
            allowed_lateness: for how long, in seconds or as a timedelta of event time, a window is kept after its end,
                and puts out its result again for records that come late. What comes later still is dropped, counted,
                and goes to ``late_records``.
        """
        options = {
            "window": window_options(window),
            "trigger": trigger_options(trigger),
            "allowed_lateness": seconds(allowed_lateness),
        }
        return WindowedStream(self, options)

    @overload
    def lookup(
        self,
        function: Awaits[Value, Found | None] | Callable[[Value], Awaitable[Found | None]],
        *,
        on: Callable[[Record], Value],
        how: Literal["inner"] = "inner",
        cache_size: int = 0,
        cache_ttl: Duration | None = None,
        concurrency: int | None = None,
        timeout: Duration | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[tuple[Record, Found]]: ...
    @overload
    def lookup(
        self,
        function: Executes[Value, Found | None] | Callable[[Value], Found | None],
        *,
        on: Callable[[Record], Value],
        how: Literal["inner"] = "inner",
        cache_size: int = 0,
        cache_ttl: Duration | None = None,
        concurrency: int | None = None,
        timeout: Duration | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[tuple[Record, Found]]: ...
    @overload
    def lookup(
        self,
        function: Awaits[Value, Found | None] | Callable[[Value], Awaitable[Found | None]],
        *,
        on: Callable[[Record], Value],
        how: Literal["left"],
        cache_size: int = 0,
        cache_ttl: Duration | None = None,
        concurrency: int | None = None,
        timeout: Duration | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[tuple[Record, Found | None]]: ...
    @overload
    def lookup(
        self,
        function: Executes[Value, Found | None] | Callable[[Value], Found | None],
        *,
        on: Callable[[Record], Value],
        how: Literal["left"],
        cache_size: int = 0,
        cache_ttl: Duration | None = None,
        concurrency: int | None = None,
        timeout: Duration | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[tuple[Record, Found | None]]: ...
    @overload
    def lookup(
        self,
        function: str | type[Any],
        *args: Any,
        on: Callable[[Record], Any],
        how: Literal["inner", "left"] = "inner",
        cache_size: int = 0,
        cache_ttl: Duration | None = None,
        concurrency: int | None = None,
        timeout: Duration | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[tuple[Record, Any]]: ...
    def lookup(
        self,
        function: Any,
        *args: Any,
        on: Any,
        how: str = "inner",
        cache_size: int = 0,
        cache_ttl: Duration | None = None,
        concurrency: int | None = None,
        timeout: Duration | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Puts what is found elsewhere beside each record: ``(record, function(on(record)))``.

        Args:
            function: of what ``on`` gives; None is "not found". A coroutine function is called for many records at
                once; ``"service.method"`` calls that method of a service.
            on: what to look up for a record.
            how: what becomes of a record for which nothing is found: ``"inner"`` leaves it out, ``"left"`` puts
                ``(record, None)`` out.
            cache_size: how many answers a subtask keeps, "not found" included; the ones used longest ago go first.
            cache_ttl: for how long an answer is kept, in seconds or as a timedelta; None: as long as there is room.
            concurrency: how many coroutines may be under way at once, in each subtask; 32 unless given. Given for a
                service's plain method, that is called on so many threads.
            timeout: seconds, or a timedelta, for a coroutine; then the record fails with `RecordTimeoutError`.
        """
        services, threads = self._environment._builder.services, concurrency is not None
        kind, given = describe_lookup(function, args, kwargs, on, services, threads=threads)
        options: dict[str, Any] = {"how": how, "cache_size": cache_size, "cache_ttl": seconds(cache_ttl)}
        if kind == "lookup_async" and concurrency is None:
            concurrency = 32
        options |= {"concurrency": concurrency, "ordered": True, "timeout": seconds(timeout)}
        return self._declare(kind, given, self._upstream, name, uid, parallelism, on_error, options)

    @overload
    def sink(
        self,
        function: type[Executes[Record, object]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Record]: ...
    @overload
    def sink(
        self, function: Executes[Record, object] | Callable[[Record], object], **keywords: Unpack[Keywords]
    ) -> DataStream[Record]: ...
    def sink(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Takes each record out of the pipeline: ``function(record)``. Returns this stream, to be used further."""
        self._add("sink", function, args, kwargs, name, uid, parallelism, on_error)
        return self

    def print(self, prefix: str = "", *, name: str | None = None, uid: str | None = None) -> DataStream[Record]:
        """Prints each record where the job runs: in this process, or into the job's log. Returns this stream."""
        self._add("sink", PrintSink, (prefix,), {}, name or "print", uid, 1, None)
        return self

    def collect(self, *, name: str | None = None, uid: str | None = None) -> list[Record]:
        """Brings the records into this process: the list that is returned fills while the job runs.

        Only for jobs of a `LocalEnvironment`, on any backend; under a JobManager the pipeline is refused.
        """
        records: list[Record] = []
        given = describe_function(records.append, (), {}, "sink")
        self._declare("sink", given, self._upstream, name or "collect", uid, 1, None, {"collect": True})
        return records

    @overload
    def union(self, first: DataStream[In0], /) -> DataStream[Record | In0]: ...
    @overload
    def union(self, first: DataStream[In0], second: DataStream[In1], /) -> DataStream[Record | In0 | In1]: ...
    @overload
    def union(
        self, first: DataStream[In0], second: DataStream[In1], third: DataStream[In2], /
    ) -> DataStream[Record | In0 | In1 | In2]: ...
    @overload
    def union(self, *others: DataStream[Value]) -> DataStream[Record | Value]: ...
    def union(self, *others: DataStream[Any]) -> DataStream[Any]:
        """The records of this stream and of all ``others``, in no particular order between them.

        Streams that are all keyed stay keyed, and only those that all have event times have them.

        Raises:
            GraphError: something else than streams of the same environment.
        """
        self._belongs_with(others, "union")
        upstream = [*self._upstream, *(up for other in others for up in other._upstream)]
        if len({up.exchange for up in upstream}) > 1:
            upstream = [replace(up, exchange="forward") for up in upstream]
        return DataStream(self._environment, tuple(upstream))

    @overload
    def connect(self, second: DataStream[In1], /) -> ConnectedStreams[Record, In1]: ...
    @overload
    def connect(self, second: DataStream[In1], third: DataStream[In2], /) -> ConnectedStreams[Record, In1, In2]: ...
    @overload
    def connect(
        self, second: DataStream[Any], third: DataStream[Any], fourth: DataStream[Any], /, *others: DataStream[Any]
    ) -> ConnectedStreams[Record, Any, Any, Any, *tuple[Any, ...]]: ...
    def connect(self, *others: DataStream[Any]) -> Any:
        """This stream and ``others`` side by side, for an operator with an input for each.

        Raises:
            GraphError: something else than streams of the same environment.
        """
        self._belongs_with(others, "connect")
        return ConnectedStreams(self, others)

    def fill_future(self, future: DataStream[Any]) -> Self:
        """Sends the records of this stream back, to come by ``future`` once more. Returns this stream.

        Args:
            future: what `Environment.from_future` gave; this stream has to come from it. Keys do not go back: call
                ``keyby`` behind the future.

        Raises:
            GraphError: it is no such thing.
        """
        self._belongs_with((future,), "fill_future")
        head = future._upstream[0]
        operator = self._environment._builder.operators()[head.operator]
        if operator.kind != "feedback" or future._upstream != (Upstream(head.operator),):
            message = f"fill_future takes what env.from_future(…) gave, not {future!r}"
            raise GraphError([Problem(message, str(users_location()))])
        self._environment._recorder().fill(head.operator, self._upstream, users_location())
        return self

    def side_output(self, tag: str) -> DataStream[Any]:
        """What the operator puts out by ``self.context.side_output(tag, record)``; it has the times of the records."""
        upstream = tuple(replace(up, exchange="forward", tag=tag) for up in self._upstream)
        return DataStream(self._environment, upstream)

    @property
    def dead_letters(self) -> DataStream[DeadLetter]:
        """The records that the operator gave up under ``on_error=dead_letter()``, each as a `DeadLetter`."""
        return self.side_output(DEAD_LETTERS)

    @property
    def late_records(self) -> DataStream[Any]:
        """The records that came too late to a window in event time, or to a join in it, as they came."""
        return self.side_output(LATE)

    def broadcast(self) -> DataStream[Record]:
        """Every subtask of the next operator gets every record."""
        return self._by("broadcast")

    def rebalance(self) -> DataStream[Record]:
        """Records are dealt out in turn to the subtasks of the next operator, which runs as a task of its own."""
        return self._by("rebalance")

    def _parallelism(self) -> int:
        """That of the operators before; what is no number there is reported there."""
        numbers = [self._environment._builder.parallelism_of(up.operator) for up in self._upstream]
        return max((number for number in numbers if isinstance(number, int)), default=1)

    def _is_keyed(self) -> bool:
        return all(up.exchange == "hash" for up in self._upstream)

    def _keyed(self) -> DataStream[Any]:
        """The same records, which go to what follows by their keys."""
        return DataStream(self._environment, tuple(replace(up, exchange="hash") for up in self._upstream))

    def _add(
        self,
        kind: str,
        function: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        name: str | None,
        uid: str | None,
        parallelism: int,
        on_error: ErrorPolicy | None,
        options: Mapping[str, Any] | None = None,
    ) -> DataStream[Any]:
        given = describe_function(function, args, kwargs, kind)
        return self._declare(kind, given, self._upstream, name, uid, parallelism, on_error, options)

    def _declare(
        self,
        kind: str,
        given: Given,
        upstream: tuple[Upstream, ...],
        name: str | None,
        uid: str | None,
        parallelism: int,
        on_error: ErrorPolicy | None,
        options: Mapping[str, Any] | None = None,
    ) -> DataStream[Any]:
        return self._environment._declare(kind, given, name, uid, parallelism, on_error, options, upstream)

    def _write(
        self, given: Given, name: str | None, uid: str | None, parallelism: int, on_error: ErrorPolicy | None
    ) -> Self:
        self._declare("write", given, self._upstream, name, uid, parallelism, on_error)
        return self

    def _by(self, exchange: Exchange) -> DataStream[Record]:
        return DataStream(self._environment, tuple(replace(up, exchange=exchange) for up in self._upstream))

    def _belongs_with(self, others: Iterable[DataStream[Any]], what: str) -> None:
        for other in others:
            if isinstance(other, DataStream) and other._environment is self._environment:
                continue
            where, message, hint = str(users_location()), f"{what} takes streams of the same environment", None
            if not isinstance(other, DataStream):
                message = f"{what} takes streams, not {type(other).__name__}"
                hint = "env.from_batch(…) makes a stream of records"
            raise GraphError([Problem(message, where, hint=hint)])
