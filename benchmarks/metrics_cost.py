"""What metrics cost: the same work with what is always measured, and with all of it taken out of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from _measure import in_turn, report
from stateless_chain import RECORDS, Total, on_sage

from sage.core.api import LocalEnvironment
from sage.core.engine.compiling import ChainCompiler
from sage.core.engine.histogram import Histogram
from sage.core.engine.links import Inbox
from sage.core.engine.messages import Message

SPLIT = 300_000
ONE_BY_ONE = 50_000


def put(inbox: Inbox, message: Message) -> None:
    inbox._queue.append((0.0, message))
    inbox._wake()


def take(inbox: Inbox) -> Message | None:
    try:
        _, message = inbox._queue.popleft()
    except IndexError:
        return None
    if inbox._granted is not None:
        inbox._granted(1)
    return message


@contextmanager
def unmeasured() -> Iterator[None]:
    """No record is counted, nothing is stamped, no duration is noted. Slices are timed all the same: pace needs it."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(Histogram, "add", lambda histogram, seconds, weight=1: None))
        patches.enter_context(patch.object(ChainCompiler, "_write_counts", lambda compiler: compiler._counts.clear()))
        patches.enter_context(patch.object(Inbox, "put", put))
        patches.enter_context(patch.object(Inbox, "take", take))
        yield


def without(work: Callable[[], int]) -> Callable[[], int]:
    def run() -> int:
        with unmeasured():
            return work()

    return run


def on_three_tasks(backend: str, records: int) -> int:
    """Two exchanges between three tasks; ``inline`` moves every record through them on its own."""
    Total.total = 0
    env = LocalEnvironment("three-tasks", backend=backend)
    env.from_batch(range(records)).map(abs, parallelism=2).sink(Total)
    env.submit(autostop=True)
    return Total.total


def main() -> None:
    work: dict[str, Callable[[], int]] = {
        f"chain, {RECORDS:,}, local": lambda: on_sage("local"),
        f"three tasks, {SPLIT:,}, local": lambda: on_three_tasks("local", SPLIT),
        f"three tasks, {ONE_BY_ONE:,}, inline": lambda: on_three_tasks("inline", ONE_BY_ONE),
    }
    runs: dict[str, Callable[[], object]] = {}
    for name, run in work.items():
        assert run() == without(run)(), "measuring must change nothing"
        runs[name] = run
        runs[f"{name}, unmeasured"] = without(run)
    ratios = [(f"{name}, unmeasured", name, f"speed kept: {name}") for name in work]
    report("metrics: speed with them against without", in_turn(runs, rounds=9), ratios)


if __name__ == "__main__":
    main()
