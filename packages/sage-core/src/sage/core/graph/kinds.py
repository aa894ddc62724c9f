"""The kinds of operators: what graph, plan and engine have to know of each, stated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["KINDS", "SINK_KINDS", "SOURCE_KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """What holds for every operator of a kind.

    Attributes:
        base: name of the base class of its functions; empty for connectors and collections.
        methods: what it calls of an object, and with how many arguments; ``{}`` stands for the number of an input.
        method: the one of them that a plain callable stands in for.
        is_source, is_sink: whether it has no input, or no output.
        takes, makes: whether the annotations of its function tell what records it takes, and what new ones it makes.
        expands: whether it puts out the items of what its function returns, in a loop around what follows it.
        repeats: whether what follows it is in a loop although its function returns no items.
        levels: by how many it indents the code of what follows it.
        awaits: whether its functions are coroutine functions. Then it is a stage of its own: coroutines make no
            progress, and their time-outs run, while their thread is in other code.
        keeps_keys: whether it puts out the records themselves, with the keys they came with.
        drops_generators: whether it would call a generator function and never run it.
    """

    base: str = ""
    methods: Mapping[str, int] = field(default_factory=lambda: {"execute": 1})
    method: str = "execute"
    is_source: bool = False
    is_sink: bool = False
    takes: bool = True
    makes: bool = True
    expands: bool = False
    repeats: bool = False
    levels: int = 0
    awaits: bool = False
    keeps_keys: bool = False
    drops_generators: bool = False

    @property
    def loops(self) -> int:
        """How many loops it writes around what follows it."""
        return int(self.expands or self.repeats)

    @property
    def arguments(self) -> int:
        """How many a plain callable is called with."""
        return self.methods[self.method]


_NOTHING = {"execute": 0}

KINDS: Mapping[str, Kind] = {
    "batch": Kind("BatchFunction", _NOTHING, is_source=True, takes=False),
    "collection": Kind("", _NOTHING, is_source=True, takes=False),
    "source": Kind("SourceFunction", _NOTHING, is_source=True, takes=False),
    "read": Kind("", {"partitions": 0, "open": 2}, "open", is_source=True, takes=False, makes=False),
    "feedback": Kind("", {}, "", takes=False, makes=False),
    "map": Kind("MapFunction"),
    "filter_map": Kind("MapFunction", levels=1),
    "map_async": Kind("AsyncMapFunction", awaits=True),
    "map_batches": Kind("BaseFunction", expands=True, levels=2),
    "comap": Kind("CoMapFunction", {"map{}": 1}, "map{}"),
    "join": Kind("JoinFunction", {"execute": 2}, repeats=True, levels=1),
    "interval_join": Kind("JoinFunction", {"execute": 2}, repeats=True, levels=1),
    "window_join": Kind("JoinFunction", {"execute": 2}, repeats=True, levels=2),
    "co_group": Kind("CoGroupFunction", {"execute": 4}, expands=True, levels=2),
    "lookup": Kind("BaseFunction", takes=False, makes=False, levels=1, drops_generators=True),
    "lookup_async": Kind("BaseFunction", takes=False, makes=False, awaits=True),
    "filter": Kind("FilterFunction", makes=False, levels=1, keeps_keys=True, drops_generators=True),
    "flatmap": Kind("FlatMapFunction", expands=True, levels=1),
    "keyby": Kind("KeyByFunction", makes=False, drops_generators=True),
    "reduce": Kind("ReduceFunction", {"execute": 2}, drops_generators=True),
    "aggregate": Kind("AggregateFunction", {"create": 0, "add": 2, "result": 1}, "add"),
    "timestamps": Kind("TimestampFunction", makes=False, keeps_keys=True, drops_generators=True),
    "process": Kind("ProcessFunction", makes=False, expands=True, levels=1),
    "coprocess": Kind("CoProcessFunction", {"process{}": 1}, "process{}", makes=False, expands=True, levels=1),
    "window_reduce": Kind("ReduceFunction", {"execute": 2}, repeats=True, levels=2, drops_generators=True),
    "window_aggregate": Kind("AggregateFunction", {"create": 0, "add": 2, "result": 1}, "add", repeats=True, levels=2),
    "window_process": Kind("WindowFunction", {"execute": 3}, expands=True, levels=2),
    "sink": Kind("SinkFunction", is_sink=True, makes=False, drops_generators=True),
    "write": Kind("", {"open": 1, "write": 1, "close": 0}, "write", is_sink=True, takes=False, makes=False),
}

SOURCE_KINDS = frozenset(name for name, kind in KINDS.items() if kind.is_source)
"""Kinds of operators without input."""

SINK_KINDS = frozenset(name for name, kind in KINDS.items() if kind.is_sink)
"""Kinds of operators without output."""
