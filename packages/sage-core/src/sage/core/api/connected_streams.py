"""Streams side by side, for operators that have an input for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Unpack, overload

from sage.core.api._typevars import Inputs
from sage.core.errors import GraphError, Problem
from sage.core.graph.functions import describe_function, describe_functions, is_function_class
from sage.core.graph.location import users_location
from sage.core.graph.policy import ErrorPolicy

if TYPE_CHECKING:
    from sage.core.api._forms import CoMaps2, CoMaps3, In0, In1, In2, Key, Keywords, Out0, Out1, Out2
    from sage.core.api.datastream import DataStream

__all__ = ["ConnectedStreams"]


class ConnectedStreams(Generic[*Inputs]):
    """Several streams side by side; each is an input of the next operator."""

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
        """Gives the records of each stream a key, by one function for each; records of a key meet in one subtask."""
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
        upstream = tuple(
            replace(up, input=number) for number, stream in enumerate(self._streams) for up in stream._upstream
        )
        return self._first._declare("comap", given, upstream, name, uid, parallelism, on_error)
