"""A stream cut into windows, for an operator that works on what each of them holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, Unpack, overload

from sage.core.api._typevars import Accumulator, Record, Value
from sage.core.engine.window import Window, WindowResult
from sage.core.graph.policy import ErrorPolicy

if TYPE_CHECKING:
    from sage.core.api._forms import Aggregates, Keywords, Processes, Reduces
    from sage.core.api.datastream import DataStream

__all__ = ["WindowedStream"]


class WindowedStream(Generic[Record]):
    """The records of a stream in windows, of each key apart. ``stream.window(…)`` makes one.

    Its methods take a function and the keywords of `DataStream`. What they return is the stream of what windows put
    out; the event time of that is the last instant of its window. ``late_records`` of it are the records that came when
    all their windows were gone. What cannot run is told as for `DataStream`.
    """

    def __init__(self, stream: DataStream[Record], options: Mapping[str, Any]) -> None:
        self._stream = stream
        self._options = options

    @overload
    def reduce(
        self: WindowedStream[Value],
        function: type[Reduces[Value]],
        *args: Any,
        with_window: Literal[True],
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[WindowResult[Value]]: ...
    @overload
    def reduce(
        self: WindowedStream[Value],
        function: Reduces[Value] | Callable[[Value, Value], Value],
        *,
        with_window: Literal[True],
        **keywords: Unpack[Keywords],
    ) -> DataStream[WindowResult[Value]]: ...
    @overload
    def reduce(
        self: WindowedStream[Value],
        function: type[Reduces[Value]],
        *args: Any,
        with_window: Literal[False] = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def reduce(
        self: WindowedStream[Value],
        function: Reduces[Value] | Callable[[Value, Value], Value],
        *,
        with_window: Literal[False] = False,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Value]: ...
    def reduce(
        self,
        function: Any,
        *args: Any,
        with_window: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Folds the records of each window: ``function(accumulated, record)``; the first record starts it.

        Args:
            function: takes two records, or what was made of some and another, in any grouping: sessions that grow
                together, and sliding windows, are put together by it as well. It has to leave both as they are.
            with_window: put out `WindowResult`, with the key and the window, instead of the value alone.
        """
        return self._add("window_reduce", function, args, kwargs, name, uid, parallelism, on_error, with_window)

    @overload
    def aggregate(
        self,
        function: type[Aggregates[Record, Accumulator, Value]],
        *args: Any,
        with_window: Literal[True],
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[WindowResult[Value]]: ...
    @overload
    def aggregate(
        self,
        function: Aggregates[Record, Accumulator, Value],
        *,
        with_window: Literal[True],
        **keywords: Unpack[Keywords],
    ) -> DataStream[WindowResult[Value]]: ...
    @overload
    def aggregate(
        self,
        function: type[Aggregates[Record, Accumulator, Value]],
        *args: Any,
        with_window: Literal[False] = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Value]: ...
    @overload
    def aggregate(
        self,
        function: Aggregates[Record, Accumulator, Value],
        *,
        with_window: Literal[False] = False,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Value]: ...
    def aggregate(
        self,
        function: Any,
        *args: Any,
        with_window: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Like `reduce`, with an accumulator of its own type: an `AggregateFunction`.

        ``result(accumulator)`` is put out when a window fires. Sessions need a ``merge(a, b)`` of it; sliding windows
        share their work where there is one.
        """
        return self._add("window_aggregate", function, args, kwargs, name, uid, parallelism, on_error, with_window)

    @overload
    def process(
        self,
        function: type[Processes[Record, Value]],
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
        function: Processes[Record, Value] | Callable[[Any, Window, list[Record]], Iterable[Value] | None],
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
        """Puts out every item of ``function(key, window, records)``, an iterable or None, for each window that fires.

        All records are kept until then: `reduce` and `aggregate` keep one value for each key and window.
        """
        return self._add("window_process", function, args, kwargs, name, uid, parallelism, on_error, False)

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
        with_window: bool,
    ) -> DataStream[Any]:
        options = {**self._options, "with_window": with_window}
        return self._stream._add(kind, function, args, kwargs, name, uid, parallelism, on_error, options)
