"""What a user writes against: environments, streams and function classes."""

from __future__ import annotations

from sage.core.api.connected_streams import ConnectedStreams
from sage.core.api.datastream import DataStream
from sage.core.api.environment import Environment
from sage.core.api.error_policy import DeadLetter, ErrorPolicy, dead_letter, fail, read_dead_letters, retry, skip
from sage.core.api.function.aggregate_function import AggregateFunction
from sage.core.api.function.async_map_function import AsyncMapFunction
from sage.core.api.function.base_function import BaseFunction
from sage.core.api.function.batch_function import BatchFunction
from sage.core.api.function.co_group_function import CoGroupFunction
from sage.core.api.function.comap_function import CoMapFunction
from sage.core.api.function.counting import Counting
from sage.core.api.function.filter_function import FilterFunction
from sage.core.api.function.flatmap_function import FlatMapFunction
from sage.core.api.function.join_function import JoinFunction
from sage.core.api.function.keyby_function import KeyByFunction
from sage.core.api.function.map_function import MapFunction
from sage.core.api.function.process_function import CoProcessFunction, ProcessFunction
from sage.core.api.function.reduce_function import ReduceFunction
from sage.core.api.function.sink_function import SinkFunction
from sage.core.api.function.source_function import STOP, SourceFunction, StopType
from sage.core.api.function.timestamp_function import TimestampFunction
from sage.core.api.function.window_function import WindowFunction
from sage.core.api.job import Job
from sage.core.api.local_environment import LocalEnvironment
from sage.core.api.remote_environment import RemoteEnvironment
from sage.core.api.service.base_service import BaseService
from sage.core.api.state_warning import StateWarning
from sage.core.api.windowed_stream import WindowedStream
from sage.core.api.windows import (
    AfterCount,
    AfterTime,
    AtEnd,
    Count,
    Global,
    Session,
    Sliding,
    Tumbling,
    Window,
    WindowResult,
)
from sage.core.engine.broadcast_state import BroadcastState
from sage.core.engine.context import RuntimeContext
from sage.core.engine.keyed_state import ListState, MapState, ReducingState, ValueState
from sage.core.engine.process_context import ProcessContext, Timer

__all__ = [
    "STOP",
    "AfterCount",
    "AfterTime",
    "AggregateFunction",
    "AsyncMapFunction",
    "AtEnd",
    "BaseFunction",
    "BaseService",
    "BatchFunction",
    "BroadcastState",
    "CoGroupFunction",
    "CoMapFunction",
    "CoProcessFunction",
    "ConnectedStreams",
    "Count",
    "Counting",
    "DataStream",
    "DeadLetter",
    "Environment",
    "ErrorPolicy",
    "FilterFunction",
    "FlatMapFunction",
    "Global",
    "Job",
    "JoinFunction",
    "KeyByFunction",
    "ListState",
    "LocalEnvironment",
    "MapFunction",
    "MapState",
    "ProcessContext",
    "ProcessFunction",
    "ReduceFunction",
    "ReducingState",
    "RemoteEnvironment",
    "RuntimeContext",
    "Session",
    "SinkFunction",
    "Sliding",
    "SourceFunction",
    "StateWarning",
    "StopType",
    "Timer",
    "TimestampFunction",
    "Tumbling",
    "ValueState",
    "Window",
    "WindowFunction",
    "WindowResult",
    "WindowedStream",
    "dead_letter",
    "fail",
    "read_dead_letters",
    "retry",
    "skip",
]
