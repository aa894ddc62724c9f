"""All that leaves a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sage.core.engine.event_time import MIN_TIME
from sage.core.engine.messages import Hold, Probe
from sage.core.engine.output import Output

__all__ = ["Outputs"]


class Outputs:
    """The outputs of a task.

    Args:
        by_edge: one per edge of the plan that leaves the task's stage, by its id.
        collected: those of what is collected, which leave for the coordinator.

    Attributes:
        are_free: whether nothing waits for a credit; else the task must not produce more.
    """

    def __init__(self, by_edge: Mapping[int, Output], collected: Sequence[Output] = ()) -> None:
        self._by_edge = dict(by_edge)
        self._collected = tuple(collected)
        self._all = (*by_edge.values(), *collected)
        self.are_free = True

    def flush(self, *, partial: bool) -> bool:
        """Send what is full, and with ``partial`` also what is not, as far as credits allow. Returns `are_free`."""
        free = True
        for output in self._all:
            free = output.flush(partial=partial) and free
        self.are_free = free
        return free

    def rest(self) -> None:
        """Let nobody wait for what comes from here to tell the time, until it does."""
        for output in self._all:
            output.mark(MIN_TIME, idle=True)

    def tell(self, message: Probe | Hold, edges: Collection[int]) -> None:
        """Let a message follow what has gathered so far, by some of the edges, and send it all."""
        for edge in edges:
            self._by_edge[edge].tell(message)
        self.flush(partial=True)

    def end(self) -> bool:
        """Send what is left, then the end of input. Returns whether all of it has gone out."""
        done = True
        for output in self._all:
            done = output.end() and done
        return done

    def deliver(self) -> None:
        """Send what was collected, although nothing else is sent any more."""
        for output in self._collected:
            output.flush(partial=True)

    def rescue(self) -> None:
        """Send what has gathered while the chain is at work on another thread; any thread may ask."""
        for output in self._all:
            output.rescue()

    def sent(self) -> dict[int, tuple[int, int]]:
        """By edge, the records and the batches handed over so far; any thread may ask."""
        return {edge: (output.sent, output.sent_batches) for edge, output in self._by_edge.items()}
