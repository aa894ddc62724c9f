"""Which class runs an operator of a kind. It is imported where a pipeline has one: most have few kinds of many."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sage.core.engine.operators.base import RunningOperator

__all__ = ["KINDS", "operator_class"]

KINDS = {
    "batch": ("source", "BatchOperator"),
    "collection": ("source", "CollectionOperator"),
    "source": ("source", "StreamSourceOperator"),
    "read": ("connector_source", "ConnectorSourceOperator"),
    "feedback": ("feedback", "FeedbackOperator"),
    "map": ("map", "MapOperator"),
    "filter_map": ("map", "FilterMapOperator"),
    "map_async": ("map_async", "MapAsyncOperator"),
    "map_batches": ("map_batches", "MapBatchesOperator"),
    "comap": ("comap", "CoMapOperator"),
    "join": ("join", "JoinOperator"),
    "interval_join": ("interval_join", "IntervalJoinOperator"),
    "lookup": ("lookup", "LookupOperator"),
    "lookup_async": ("lookup_async", "LookupAsyncOperator"),
    "filter": ("filter", "FilterOperator"),
    "flatmap": ("flatmap", "FlatMapOperator"),
    "keyby": ("keyby", "KeyByOperator"),
    "reduce": ("reduce", "ReduceOperator"),
    "aggregate": ("aggregate", "AggregateOperator"),
    "timestamps": ("timestamps", "TimestampsOperator"),
    "process": ("process", "ProcessOperator"),
    "coprocess": ("process", "CoProcessOperator"),
    "window_join": ("windows.joining", "WindowJoinOperator"),
    "co_group": ("windows.joining", "CoGroupOperator"),
    "window_reduce": ("windows.choice", "WindowOperator"),
    "window_aggregate": ("windows.choice", "WindowOperator"),
    "window_process": ("windows.choice", "WindowOperator"),
    "sink": ("sink", "SinkOperator"),
    "write": ("connector_sink", "ConnectorSinkOperator"),
}
"""By kind, the module below ``sage.core.engine.operators``, and the class in it."""


def operator_class(kind: str) -> type[RunningOperator]:
    """The class that runs operators of ``kind``, or that chooses one by its `class_for`."""
    module, name = KINDS[kind]
    found: type[RunningOperator] = getattr(import_module(f"sage.core.engine.operators.{module}"), name)
    return found
