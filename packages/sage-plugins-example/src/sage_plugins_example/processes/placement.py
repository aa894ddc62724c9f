"""Which task runs in which worker, and which channels lead from one to another."""

from __future__ import annotations

from collections.abc import Mapping

from sage.core.backends.api import ChannelId, ExecutionPlan, TaskId

__all__ = ["Places", "crossing", "place"]

Places = Mapping[TaskId, int]
"""By task, the number of its worker, from 0."""


def place(plan: ExecutionPlan, workers: int) -> Places:
    """Deal the tasks out to at most so many workers.

    A task whose input comes by a forward edge runs where that comes from: nothing need be pickled between them. Others
    go to the worker that has the fewest, so that the subtasks of a stage run side by side.
    """
    places: dict[TaskId, int] = {}
    tasks = [0] * workers
    for task in plan.tasks:  # upstream first
        before = [
            places[source]
            for edge in plan.edges
            if edge.target_stage == task.stage and edge.exchange == "forward"
            if (source := TaskId(edge.source_stage, task.subtask)) in places
        ]
        worker = before[0] if before else tasks.index(min(tasks))
        places[task] = worker
        tasks[worker] += 1
    return places


def crossing(plan: ExecutionPlan, places: Places) -> tuple[ChannelId, ...]:
    """The channels between two workers, in an order that all processes agree on: they speak of them by number."""
    return tuple(
        channel
        for task in plan.tasks
        for channel in plan.channels_into(task)
        if places[plan.source_of(channel)] != places[task]
    )
