"""The queue of timers against a plain sorted set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sage.core.engine.timers import TimerQueue

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 9), st.sampled_from([None, "a", 1, ("b", 2)])),
        st.tuples(st.just("remove"), st.integers(0, 9), st.sampled_from([None, "a", 1, ("b", 2)])),
        st.tuples(st.just("due"), st.integers(-1, 9), st.none()),
    ),
    max_size=60,
)


@given(_STEPS)
def test_it_is_a_set_read_in_the_order_of_time_and_then_of_asking(
    steps: list[tuple[str, int, object]],
) -> None:
    """Whatever is added, removed and taken out in between."""
    queue, model = TimerQueue(), dict[tuple[int, object], None]()
    for what, time, key in steps:
        if what == "add":
            assert queue.add(time, key) == ((time, key) not in model)
            model.setdefault((time, key))
        elif what == "remove":
            assert queue.remove(time, key) == ((time, key) in model)
            model.pop((time, key), None)
        else:
            due = [item for item in sorted(model, key=lambda item: item[0]) if item[0] <= time]
            assert list(queue.pop_due(time)) == due
            for item in due:
                del model[item]
        assert len(queue) == len(model)
        assert queue.first == min((time for time, _ in model), default=None)
        assert list(queue.items()) == sorted(model, key=lambda item: item[0])


def test_what_is_added_while_it_is_read_comes_in_its_turn() -> None:
    """Also for the very time that is being read."""
    queue, found = TimerQueue(), []
    queue.add(1, "a")
    queue.add(3, "c")
    for time, key in queue.pop_due(3):
        found.append((time, key))
        if key == "a":
            queue.add(1, "again")
            queue.add(2, "b")
    assert found == [(1, "a"), (1, "again"), (2, "b"), (3, "c")]


def test_removed_timers_do_not_pile_up() -> None:
    """A timer that is put off again and again leaves nothing behind."""
    queue = TimerQueue()
    for time in range(10_000):
        queue.add(time, "key")
        queue.remove(time, "key")
    assert len(queue._heap) + len(queue._run) < 200
    assert queue.first is None
