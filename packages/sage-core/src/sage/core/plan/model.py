"""The physical plan: stages of chained operators, the edges between them, and the tasks they expand to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sage.core.graph.kinds import KINDS
from sage.core.graph.loops import find_loops
from sage.core.graph.model import Exchange, LogicalGraph, Operator

__all__ = ["ChannelId", "ExecutionPlan", "PlanEdge", "PlanLoop", "Stage", "TaskId"]


@dataclass(frozen=True, order=True)
class TaskId:
    """One subtask of one stage; its text is ``stage.subtask``."""

    stage: int
    subtask: int

    def __str__(self) -> str:
        return f"{self.stage}.{self.subtask}"


@dataclass(frozen=True)
class Stage:
    """Operators that run as one task. The first is the one that takes the stage's input.

    Attributes:
        id: position in the plan; upstream stages come first.
        operators: ids of graph operators, upstream first; together they form a tree.
        parallelism: number of subtasks.
    """

    id: int
    operators: tuple[int, ...]
    parallelism: int


@dataclass(frozen=True)
class PlanEdge:
    """An edge between two stages.

    ``exchange`` is how records find their channel, ``tag`` names the side output they leave by, ``back`` says that
    it closes a loop, ``timed`` whether records carry their event times.
    """

    id: int
    source: int
    target: int
    source_stage: int
    target_stage: int
    input: int
    exchange: Exchange
    tag: str | None = None
    back: bool = False
    timed: bool = False

    @property
    def keyed(self) -> bool:
        return self.exchange == "hash"


@dataclass(frozen=True)
class PlanLoop:
    """Stages that records come by again and again.

    Attributes:
        heads: the names of its futures, each of which is a stage, in one subtask.
        stages: their ids, those of the heads too.
    """

    heads: tuple[str, ...]
    stages: frozenset[int]


@dataclass(frozen=True, order=True)
class ChannelId:
    """One edge of the plan between two particular subtasks."""

    edge: int
    source: int
    target: int

    def __str__(self) -> str:
        return f"{self.edge}:{self.source}>{self.target}"


@dataclass(frozen=True)
class ExecutionPlan:
    """What a backend places: a graph, cut into stages."""

    graph: LogicalGraph
    stages: tuple[Stage, ...]
    edges: tuple[PlanEdge, ...]

    @cached_property
    def operators(self) -> dict[int, Operator]:
        """The graph's operators by id."""
        return {operator.id: operator for operator in self.graph.operators}

    @property
    def tasks(self) -> tuple[TaskId, ...]:
        """All tasks, upstream first."""
        return tuple(TaskId(stage.id, subtask) for stage in self.stages for subtask in range(stage.parallelism))

    @property
    def needs(self) -> frozenset[str]:
        """Capabilities that a backend must have to run this plan."""
        found = {"unbounded" for item in self.graph.operators if item.is_endless}
        found |= {"feedback" for edge in self.edges if edge.back}
        return frozenset(found | {"async" for item in self.graph.operators if KINDS[item.kind].awaits})

    @cached_property
    def loops(self) -> tuple[PlanLoop, ...]:
        """The loops of the graph; no stage is in two, and none is in one with a part of its operators only."""
        return tuple(
            PlanLoop(
                tuple(self.operators[head].name for head in loop.heads),
                frozenset(stage.id for stage in self.stages if stage.operators[0] in loop.operators),
            )
            for loop in find_loops(self.graph)
        )

    def loop_of(self, stage: int) -> PlanLoop | None:
        """The loop that a stage is in."""
        return next((loop for loop in self.loops if stage in loop.stages), None)

    @property
    def aligned(self) -> tuple[TaskId, ...]:
        """Tasks of sources that wait for slower ones."""
        waiting = {item.id for item in self.graph.operators if item.options.get("max_ahead") is not None}
        return tuple(task for task in self.tasks if waiting.intersection(self.stages[task.stage].operators))

    def awaits(self, task: TaskId) -> bool:
        """Whether a task runs coroutines."""
        return KINDS[self.operators[self.stages[task.stage].operators[0]].kind].awaits

    def channels_into(self, task: TaskId) -> Iterator[ChannelId]:
        """The channels a task reads from, in the order of its inputs."""
        for edge in self.edges:
            if edge.target_stage == task.stage:
                if edge.exchange == "forward":
                    yield ChannelId(edge.id, task.subtask, task.subtask)
                else:
                    for source in range(self.stages[edge.source_stage].parallelism):
                        yield ChannelId(edge.id, source, task.subtask)

    def channels_out_of(self, edge: PlanEdge, subtask: int) -> tuple[ChannelId, ...]:
        """The channels of one edge that a subtask of its source stage writes to."""
        if edge.exchange == "forward":
            return (ChannelId(edge.id, subtask, subtask),)
        return tuple(
            ChannelId(edge.id, subtask, target) for target in range(self.stages[edge.target_stage].parallelism)
        )

    def source_of(self, channel: ChannelId) -> TaskId:
        return TaskId(self.edges[channel.edge].source_stage, channel.source)

    def target_of(self, channel: ChannelId) -> TaskId:
        return TaskId(self.edges[channel.edge].target_stage, channel.target)

    def to_json(self) -> dict[str, Any]:
        """Stages and edges in plain values; operators are told by their ids in the graph."""
        return {
            "stages": [
                {"id": stage.id, "operators": list(stage.operators), "parallelism": stage.parallelism}
                for stage in self.stages
            ],
            "edges": [
                {
                    "id": edge.id,
                    "source": edge.source,
                    "target": edge.target,
                    "source_stage": edge.source_stage,
                    "target_stage": edge.target_stage,
                    "input": edge.input,
                    "exchange": edge.exchange,
                    "tag": edge.tag,
                    "back": edge.back,
                    "timed": edge.timed,
                }
                for edge in self.edges
            ],
        }
