"""Streams: each method declares one more operator and returns the stream of its records. Nothing runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sage.core.api.function.print_sink import PrintSink
from sage.core.errors import GraphError, Problem
from sage.core.graph.builder import Upstream
from sage.core.graph.functions import describe_function
from sage.core.graph.location import users_location

if TYPE_CHECKING:
    from sage.core.api.environment import Environment

__all__ = ["DataStream"]


class DataStream:
    """The records that one or several operators put out.

    A stream may be used any number of times: each use gets all of its records. Every method takes a function
    class with its constructor arguments, an instance, or a plain callable, and these keywords:

    - ``name``: what people read; the function's own name by default;
    - ``uid``: a stable identity; made of kind and name by default;
    - ``parallelism``: number of subtasks, 1 by default. What a subtask keeps in attributes is its own.
    """

    def __init__(self, environment: Environment, upstream: tuple[Upstream, ...]) -> None:
        self._environment = environment
        self._upstream = upstream

    def map(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        **kwargs: Any,
    ) -> DataStream:
        """One record in, one record out: ``function(record)``."""
        return self._add("map", function, args, kwargs, name, uid, parallelism)

    def filter(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        **kwargs: Any,
    ) -> DataStream:
        """Keeps the records for which ``function(record)`` is true."""
        return self._add("filter", function, args, kwargs, name, uid, parallelism)

    def flatmap(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        **kwargs: Any,
    ) -> DataStream:
        """Puts out every item of ``function(record)``, an iterable or None."""
        return self._add("flatmap", function, args, kwargs, name, uid, parallelism)

    def keyby(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int | None = None,
        **kwargs: Any,
    ) -> DataStream:
        """Gives each record the key ``function(record)``; all records of a key meet in one subtask of what follows.

        The records stay as they are. The key holds for the next operator, where it is ``self.context.key``.
        ``parallelism`` is that of the operator before, unless given.
        """
        number = self._parallelism() if parallelism is None else parallelism
        keyed = self._add("keyby", function, args, kwargs, name, uid, number)
        return DataStream(self._environment, (Upstream(keyed._upstream[0].operator, "hash"),))

    def reduce(
        self,
        function: Any,
        *args: Any,
        final: bool = False,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        **kwargs: Any,
    ) -> DataStream:
        """Folds the records of each key: ``function(accumulated, record)``; a key's first record starts it.

        Puts out the new value for every record, or with ``final`` each key's last value once, at the end of input.
        Without ``keyby`` before it there is one value for the whole stream.
        """
        return self._add("reduce", function, args, kwargs, name, uid, parallelism, {"final": final})

    def sink(
        self,
        function: Any,
        *args: Any,
        name: str | None = None,
        uid: str | None = None,
        parallelism: int = 1,
        **kwargs: Any,
    ) -> DataStream:
        """Takes each record out of the pipeline: ``function(record)``. Returns this stream, to be used further."""
        self._add("sink", function, args, kwargs, name, uid, parallelism)
        return self

    def print(self, prefix: str = "", *, name: str | None = None, uid: str | None = None) -> DataStream:
        """Prints each record where the job runs: in this process, or into the job's log. Returns this stream."""
        self._add("sink", PrintSink, (prefix,), {}, name or "print", uid, 1)
        return self

    def union(self, *others: DataStream) -> DataStream:
        """The records of this stream and of all ``others``, in no particular order between them.

        Streams that are all keyed stay keyed.
        """
        for other in others:
            if not isinstance(other, DataStream) or other._environment is not self._environment:
                message = "union takes streams of the same environment"
                raise GraphError([Problem(message, str(users_location()))])
        upstream = [*self._upstream, *(up for other in others for up in other._upstream)]
        if len({up.exchange for up in upstream}) > 1:
            upstream = [Upstream(up.operator) for up in upstream]
        return DataStream(self._environment, tuple(upstream))

    def _parallelism(self) -> int:
        """That of the operators before; what is no number there is reported there."""
        numbers = [self._environment._builder.parallelism_of(up.operator) for up in self._upstream]
        return max((number for number in numbers if isinstance(number, int)), default=1)

    def _add(
        self,
        kind: str,
        function: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        name: str | None,
        uid: str | None,
        parallelism: int,
        options: Mapping[str, Any] | None = None,
    ) -> DataStream:
        number = self._environment._builder.add(
            kind,
            describe_function(function, args, kwargs, kind),
            location=users_location(),
            upstream=self._upstream,
            name=name,
            uid=uid,
            parallelism=parallelism,
            options=options,
        )
        return DataStream(self._environment, (Upstream(number),))
