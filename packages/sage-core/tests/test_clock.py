"""The clock that the engine keeps time by can be another one."""

from __future__ import annotations

from sage.core.api import LocalEnvironment, retry
from sage.core.backends.api import Attempt
from sage.core.engine.clock import WALL, Clock, VirtualClock
from sage.core.engine.interrupt import Interrupt
from sage.core.engine.links import Signal
from sage.core.engine.wiring import TaskSet, Wiring, wire
from sage.core.plan.planner import make_plan

YEAR = 365 * 24 * 3600.0


def wired(env: LocalEnvironment, clock: Clock) -> Wiring:
    plan = make_plan(env._builder.build())
    wiring = wire(TaskSet(plan, plan.tasks), Attempt("job"), {}, print, clock=clock)
    for task in wiring.tasks:
        task.open()
    return wiring


def test_the_wall_clock_waits_for_a_signal() -> None:
    """A signal that is set ends a wait at once, however long it was to be."""
    signal, before = Signal(), WALL.now()
    signal.set()
    assert WALL.wait(signal, YEAR)
    assert not WALL.wait(signal, 0.0)
    assert WALL.now() >= before


def test_a_virtual_clock_jumps_where_it_waits() -> None:
    """It goes on by as much as would have been waited; a signal that is set already makes it wait not at all."""
    clock, signal = VirtualClock(5.0), Signal()
    assert clock.now() == 5.0
    assert not clock.wait(signal, YEAR)
    assert clock.now() == 5.0 + YEAR
    signal.set()
    assert clock.wait(signal, YEAR)
    assert clock.now() == 5.0 + YEAR


def test_a_pause_of_a_year_takes_no_time() -> None:
    """A pause on a virtual clock is over at once, to the second; what wakes it in between does not shorten it."""
    clock = VirtualClock()
    interrupt = Interrupt(Signal(), clock)
    interrupt.signal.set()
    assert interrupt.pause(YEAR)
    assert clock.now() == YEAR
    interrupt.cancel()
    assert not interrupt.pause(YEAR)
    assert clock.now() == YEAR


def test_backoffs_and_deadlines_follow_the_clock() -> None:
    """Retries wait, and batches are due, by the clock that the tasks were wired with."""
    clock, tries, found = VirtualClock(), list[float](), list[object]()

    def fails_twice(value: int) -> int:
        tries.append(clock.now())
        if len(tries) < 3:
            raise ValueError(value)
        return value

    env = LocalEnvironment("clock")
    numbers = iter([1, None])
    stream = env.from_source(lambda: next(numbers, None)).map(fails_twice, on_error=retry(2, backoff=10.0))
    stream.map_batches(lambda batch: [batch], max_size=10, max_wait=YEAR).sink(found.append)
    (task,) = wired(env, clock).tasks
    while task.step() != "wait":
        continue
    assert tries == [0.0, 10.0, 30.0]
    assert found == []
    task.patience = YEAR
    task.idle()
    while task.step() != "wait":
        continue
    assert found == [[1]]
    task.close()
