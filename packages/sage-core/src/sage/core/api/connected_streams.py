"""Streams side by side, for operators that have an input for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Literal, Unpack, overload

from sage.core.api._typevars import Inputs
from sage.core.api._windowing import window_options
from sage.core.api.windows import Windows
from sage.core.engine.window import Window
from sage.core.errors import GraphError, Problem
from sage.core.graph.builder import Upstream
from sage.core.graph.durations import seconds
from sage.core.graph.functions import describe_function, describe_functions, is_function_class
from sage.core.graph.location import users_location
from sage.core.graph.policy import ErrorPolicy

if TYPE_CHECKING:
    from sage.core.api._forms import (
        CoGroups,
        CoMaps2,
        CoMaps3,
        In0,
        In1,
        In2,
        Joins,
        Key,
        Keywords,
        Out0,
        Out1,
        Out2,
        Within,
    )
    from sage.core.api.datastream import DataStream

__all__ = ["ConnectedStreams"]


class ConnectedStreams(Generic[*Inputs]):
    """Several streams side by side; each is an input of the next operator.

    Its methods take the keywords of `DataStream`, and what cannot run is told as there.
    """

    def __init__(self, first: DataStream[Any], others: tuple[DataStream[Any], ...]) -> None:
        self._first = first
        self._streams = (first, *others)

    @overload
    def keyby(self: ConnectedStreams[In0, In1], first: Key[In0], second: Key[In1], /) -> ConnectedStreams[In0, In1]: ...
    @overload
    def keyby(
        self: ConnectedStreams[In0, In1, In2], first: Key[In0], second: Key[In1], third: Key[In2], /
    ) -> ConnectedStreams[In0, In1, In2]: ...
    @overload
    def keyby(
        self: ConnectedStreams[Any, Any, Any, Any, *tuple[Any, ...]], *functions: Key[Any]
    ) -> ConnectedStreams[Any, Any, Any, Any, *tuple[Any, ...]]: ...
    def keyby(self, *functions: Any) -> Any:
        """Gives the records of each stream a key, by one function for each; records of a key meet in one subtask.

        Keys are what `DataStream.keyby` takes; those of both streams have to be equal to meet.

        Raises:
            GraphError: there are not as many functions as streams.
        """
        if len(functions) != len(self._streams):
            message = f"keyby of {len(self._streams)} connected streams takes as many functions, not {len(functions)}"
            raise GraphError([Problem(message, str(users_location()))])
        keyed = [stream.keyby(function) for stream, function in zip(self._streams, functions, strict=True)]
        return ConnectedStreams(keyed[0], tuple(keyed[1:]))

    @overload
    def comap(
        self: ConnectedStreams[In0, In1],
        function: type[CoMaps2[In0, In1, Out0, Out1]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Out0 | Out1]: ...
    @overload
    def comap(
        self: ConnectedStreams[In0, In1], function: CoMaps2[In0, In1, Out0, Out1], **keywords: Unpack[Keywords]
    ) -> DataStream[Out0 | Out1]: ...
    @overload
    def comap(
        self: ConnectedStreams[In0, In1],
        first: Callable[[In0], Out0],
        second: Callable[[In1], Out1],
        /,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Out0 | Out1]: ...
    @overload
    def comap(
        self: ConnectedStreams[In0, In1, In2],
        function: type[CoMaps3[In0, In1, In2, Out0, Out1, Out2]],
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Out0 | Out1 | Out2]: ...
    @overload
    def comap(
        self: ConnectedStreams[In0, In1, In2],
        function: CoMaps3[In0, In1, In2, Out0, Out1, Out2],
        **keywords: Unpack[Keywords],
    ) -> DataStream[Out0 | Out1 | Out2]: ...
    @overload
    def comap(
        self: ConnectedStreams[In0, In1, In2],
        first: Callable[[In0], Out0],
        second: Callable[[In1], Out1],
        third: Callable[[In2], Out2],
        /,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Out0 | Out1 | Out2]: ...
    @overload
    def comap(
        self: ConnectedStreams[Any, Any, Any, Any, *tuple[Any, ...]],
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]: ...
    def comap(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """One record in, on any input, one record out.

        Args:
            function: a `CoMapFunction` with ``map0``, ``map1`` …, one for each stream; or one callable for each.
        """
        inputs = len(self._streams)
        if callable(function) and not is_function_class(function) and args and not kwargs:
            given = describe_functions((function, *args), "comap", inputs)
        else:
            given = describe_function(function, args, kwargs, "comap", inputs=inputs)
        return self._first._declare("comap", given, self._upstream(), name, uid, parallelism, on_error)

    @overload
    def join(
        self: ConnectedStreams[In0, In1],
        function: type[Joins[In0, In1, Out0]],
        *args: Any,
        how: Literal["inner"] = "inner",
        within: Within | None = None,
        window: Windows | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Out0]: ...
    @overload
    def join(
        self: ConnectedStreams[In0, In1],
        function: Joins[In0, In1, Out0] | Callable[[In0, In1], Out0],
        *,
        how: Literal["inner"] = "inner",
        within: Within | None = None,
        window: Windows | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Out0]: ...
    @overload
    def join(
        self: ConnectedStreams[In0, In1],
        function: type[Joins[In0, In1 | None, Out0]],
        *args: Any,
        how: Literal["left"],
        within: Within | None = None,
        window: Windows | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Out0]: ...
    @overload
    def join(
        self: ConnectedStreams[In0, In1],
        function: Joins[In0, In1 | None, Out0] | Callable[[In0, In1 | None], Out0],
        *,
        how: Literal["left"],
        within: Within | None = None,
        window: Windows | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Out0]: ...
    @overload
    def join(
        self: ConnectedStreams[In0, In1],
        function: type[Joins[In0 | None, In1, Out0]],
        *args: Any,
        how: Literal["right"],
        within: Within | None = None,
        window: Windows | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Out0]: ...
    @overload
    def join(
        self: ConnectedStreams[In0, In1],
        function: Joins[In0 | None, In1, Out0] | Callable[[In0 | None, In1], Out0],
        *,
        how: Literal["right"],
        within: Within | None = None,
        window: Windows | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Out0]: ...
    @overload
    def join(
        self: ConnectedStreams[In0, In1],
        function: type[Joins[In0 | None, In1 | None, Out0]],
        *args: Any,
        how: Literal["outer"],
        within: Within | None = None,
        window: Windows | None = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Out0]: ...
    @overload
    def join(
        self: ConnectedStreams[In0, In1],
        function: Joins[In0 | None, In1 | None, Out0] | Callable[[In0 | None, In1 | None], Out0],
        *,
        how: Literal["outer"],
        within: Within | None = None,
        window: Windows | None = None,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Out0]: ...
    def join(
        self,
        function: Any,
        *args: Any,
        how: str = "inner",
        within: Any = None,
        window: Any = None,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Makes a record of each pair of two keyed streams that belongs together: ``function(left, right)``.

        Without ``within`` and ``window`` a record is joined with all those of its key that came before it by the
        other stream, which are kept for ever.

        Args:
            function: a `JoinFunction`, or a callable of a left and a right record.
            how: what becomes of a record that finds no partner. ``"inner"``: nothing; ``"left"``, ``"right"``: one of
                that side is given to the function with None in the other's place; ``"outer"``: one of either side. It
                is put out when no partner can come any more.
            within: ``(lower, upper)``, in seconds or as timedeltas: only pairs in which the right record's event time
                is from ``lower`` to ``upper`` after the left one's, both included; negative is before it. Records are
                kept as long as a partner can come.
            window: `Tumbling`, `Sliding` or `Session`: all pairs of each window, when it is over. A session lasts as
                long as records of either stream keep coming.
        """
        options: dict[str, Any] = {"how": how}
        kind = "join"
        if within is not None:
            kind = "interval_join"
            options["within"] = [seconds(end) for end in within] if isinstance(within, tuple | list) else within
        if window is not None:
            kind = "window_join"
            options |= _windowed(window)
        given = describe_function(function, args, kwargs, kind)
        return self._first._declare(kind, given, self._upstream(), name, uid, parallelism, on_error, options)

    @overload
    def co_group(
        self: ConnectedStreams[In0, In1],
        function: type[CoGroups[In0, In1, Out0]],
        *args: Any,
        window: Windows,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Out0]: ...
    @overload
    def co_group(
        self: ConnectedStreams[In0, In1],
        function: CoGroups[In0, In1, Out0] | Callable[[Any, Window, list[In0], list[In1]], Iterable[Out0] | None],
        *,
        window: Windows,
        **keywords: Unpack[Keywords],
    ) -> DataStream[Out0]: ...
    def co_group(
        self,
        function: Any,
        *args: Any,
        window: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        on_error: ErrorPolicy | None = None,
        **kwargs: Any,
    ) -> DataStream[Any]:
        """Calls ``function(key, window, lefts, rights)`` for each window of two keyed streams, when it is over.

        It is called for each key that has a record of either stream in the window, and puts out the items of what it
        returns.

        Args:
            function: a `CoGroupFunction`, or a callable of as many arguments. It returns an iterable, or None.
            window: `Tumbling`, `Sliding` or `Session`.
        """
        given = describe_function(function, args, kwargs, "co_group")
        options = _windowed(window)
        return self._first._declare("co_group", given, self._upstream(), name, uid, parallelism, on_error, options)

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
        """Any number of records out for one on any input; with state and timers that the inputs have in common.

        Args:
            function: a `CoProcessFunction` with ``process0``, ``process1`` …, one for each stream. Timers and state
                need `keyby` before, as in `DataStream.process`.
        """
        given = describe_function(function, args, kwargs, "coprocess", inputs=len(self._streams))
        return self._first._declare("coprocess", given, self._upstream(), name, uid, parallelism, on_error)

    def _upstream(self) -> tuple[Upstream, ...]:
        return tuple(
            replace(up, input=number) for number, stream in enumerate(self._streams) for up in stream._upstream
        )


def _windowed(window: Any) -> dict[str, Any]:
    """A window of two streams, as windows of one are told."""
    return {"window": window_options(window), "trigger": None, "allowed_lateness": 0, "with_window": False}
