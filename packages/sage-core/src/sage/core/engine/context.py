"""What a running function may know about where it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

from sage.core.engine.broadcast_state import BroadcastState
from sage.core.engine.event_time import MIN_TIME, to_seconds
from sage.core.engine.expiring_state import (
    ExpiringListState,
    ExpiringMapState,
    ExpiringReducingState,
    ExpiringValueState,
    TimeToLive,
)
from sage.core.engine.keyed_state import KeyedStates, ListState, MapState, ReducingState, ValueState
from sage.core.engine.services import AsyncServiceHandle, ServiceHandle, ServiceRegistry
from sage.core.errors import StateError

__all__ = ["RuntimeContext", "TimeKind"]

_log = logging.getLogger(__name__)

Value = TypeVar("Value")

TimeKind = Literal["processing", "event"]
"""Which time something goes by: that of the clock, or that of the records."""

_Refresh = Literal["write", "read"]


class RuntimeContext:
    """Handed to ``open(context)`` and kept as ``self.context`` while a function runs.

    Attributes:
        job: uuid of the job.
        job_name: name of its environment.
        operator: name of the operator.
        uid: its stable identity.
        subtask: which of the operator's subtasks this is, from 0.
        parallelism: how many there are.
        attempt: how often the job was continued, from 1.
        partitions: the names of those partitions that this subtask of a source reads.
        key: the key of the record in hand, directly behind ``keyby``; elsewhere None.
    """

    __slots__ = (
        "_services",
        "_side",
        "_states",
        "_time",
        "_untaken",
        "_watermark",
        "attempt",
        "job",
        "job_name",
        "key",
        "operator",
        "parallelism",
        "partitions",
        "subtask",
        "uid",
    )

    def __init__(
        self,
        *,
        job: str,
        job_name: str,
        operator: str,
        uid: str,
        subtask: int,
        parallelism: int,
        attempt: int,
        services: ServiceRegistry,
        partitions: tuple[str, ...] = (),
    ) -> None:
        self.job = job
        self.job_name = job_name
        self.operator = operator
        self.uid = uid
        self.subtask = subtask
        self.parallelism = parallelism
        self.attempt = attempt
        self.partitions = partitions
        self.key: Any = None
        self._time: int | None = None
        self._watermark = MIN_TIME
        self._services = services
        self._side: dict[str, list[Any]] = {}
        self._untaken: set[str] = set()
        self._states = KeyedStates(self)

    @property
    def timestamp(self) -> float | None:
        """The event time of the record in hand, in seconds since 1970; None if it has none."""
        return None if self._time is None else to_seconds(self._time)

    @property
    def watermark(self) -> float:
        """The event time that it is: records up to it have come, but for late ones. In seconds since 1970.

        Minus infinity before anything is known, infinity at the end of input.
        """
        return to_seconds(self._watermark)

    def call_service(self, name: str, *, timeout: float | None = None) -> Any:
        """A handle on the service ``name``, to call its methods.

        Args:
            name: as registered.
            timeout: seconds that each call may take; then it raises `ServiceTimeoutError`.

        Raises:
            UnknownServiceError: none was registered under that name.
        """
        return ServiceHandle(self._services.get(name), timeout)

    def call_service_async(self, name: str, *, timeout: float | None = None) -> Any:
        """Like `call_service`, for coroutines: the methods of the handle return awaitables."""
        return AsyncServiceHandle(self._services.get(name), timeout)

    def side_output(self, tag: str, record: Any) -> None:
        """Put a record out on the side output ``tag``, for ``stream.side_output(tag)``.

        It is released with the other outputs of the call that is running. Where nobody takes that output, the
        record is left out, and the log says so once.
        """
        records = self._side.get(tag)
        if records is not None:
            records.append(record)
        elif tag not in self._untaken:
            self._untaken.add(tag)
            taken = ", ".join(f"'{name}'" for name in self._side) or "none"
            _log.warning("'%s' puts records out on '%s', which nobody takes; taken are: %s", self.operator, tag, taken)

    @overload
    def value_state(
        self,
        name: str,
        *,
        ttl: float | timedelta | None = None,
        ttl_time: TimeKind = "processing",
        ttl_refresh: _Refresh = "write",
    ) -> ValueState[Any]: ...
    @overload
    def value_state(
        self,
        name: str,
        default: Value,
        *,
        ttl: float | timedelta | None = None,
        ttl_time: TimeKind = "processing",
        ttl_refresh: _Refresh = "write",
    ) -> ValueState[Value]: ...
    def value_state(
        self,
        name: str,
        default: Any = None,
        *,
        ttl: float | timedelta | None = None,
        ttl_time: TimeKind = "processing",
        ttl_refresh: _Refresh = "write",
    ) -> ValueState[Any]:
        """Declare a value for each key. To be called in ``open``, directly behind ``keyby``.

        Args:
            name: of its own within the operator; it is saved under it.
            default: what a key has that was not set; nothing that can be changed in place.
            ttl: its time to live after it was last written, in seconds or as a timedelta; None for good.
            ttl_time: by which time it lives: ``processing``, that of the clock, or ``event``, that of the records.
            ttl_refresh: what lets it live on: ``write``, or ``read``: writing and reading it.

        Raises:
            StateError: the operator has no keys, the name is taken, the call comes too late, or there can be no such
                time to live.
        """
        if ttl is None:
            return ValueState(name, self._states, default)
        return ExpiringValueState(name, self._states, default, self._time_to_live(name, ttl, ttl_time, ttl_refresh))

    def list_state(
        self,
        name: str,
        *,
        ttl: float | timedelta | None = None,
        ttl_time: TimeKind = "processing",
        ttl_refresh: _Refresh = "write",
    ) -> ListState[Any]:
        """Declare a list for each key, each of whose items lives for ``ttl``; see `value_state`."""
        if ttl is None:
            return ListState(name, self._states)
        return ExpiringListState(name, self._states, self._time_to_live(name, ttl, ttl_time, ttl_refresh))

    def map_state(
        self,
        name: str,
        *,
        ttl: float | timedelta | None = None,
        ttl_time: TimeKind = "processing",
        ttl_refresh: _Refresh = "write",
    ) -> MapState[Any, Any]:
        """Declare a mapping for each key, each of whose items lives for ``ttl``; see `value_state`."""
        if ttl is None:
            return MapState(name, self._states)
        return ExpiringMapState(name, self._states, self._time_to_live(name, ttl, ttl_time, ttl_refresh))

    def reducing_state(
        self,
        name: str,
        function: Callable[[Value, Value], Value],
        *,
        ttl: float | timedelta | None = None,
        ttl_time: TimeKind = "processing",
        ttl_refresh: _Refresh = "write",
    ) -> ReducingState[Value]:
        """Declare a value for each key that others are added to by ``function(kept, value)``; see `value_state`."""
        if ttl is None:
            return ReducingState(name, self._states, function)
        return ExpiringReducingState(name, self._states, function, self._time_to_live(name, ttl, ttl_time, ttl_refresh))

    def _time_to_live(self, name: str, ttl: float | timedelta, time: str, refresh: str) -> TimeToLive:
        found = TimeToLive(name, ttl, time, refresh)
        if time == "event" and not self._states.has_event_time:
            raise StateError(
                f"keyed state '{name}' cannot expire by event time: the records that come to it have none",
                hint="leave ttl_time out for processing time, or give the records their times first",
            )
        return found

    def broadcast_state(self, name: str) -> BroadcastState[Any, Any]:
        """Declare a mapping that is the same on every subtask. To be called in ``open``.

        It is written while a record of an input given by ``broadcast()`` is in hand, and read at any time.

        Args:
            name: of its own within the operator; it is saved under it.

        Raises:
            StateError: no input is given by ``broadcast()``, the name is taken, or the call comes too late.
        """
        return BroadcastState(name, self._states)

    def __repr__(self) -> str:
        return f"<RuntimeContext {self.uid} {self.subtask + 1}/{self.parallelism} of job {self.job}>"
