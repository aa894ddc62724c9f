"""What is saved of an operator, and how it goes on from that, at this or at another parallelism."""

from __future__ import annotations

from collections.abc import Sequence

from sage.core.engine.attributes import lay_over, load_attributes
from sage.core.engine.operators.base import RunningOperator
from sage.core.engine.saving import groups_of, load, save, share_out_keyed, share_out_records, share_out_timers
from sage.core.engine.snapshot import OperatorSnapshot
from sage.core.errors import StateError

__all__ = ["restore", "take_snapshot"]


def take_snapshot(operator: RunningOperator) -> OperatorSnapshot:
    """What is to be saved of an operator. Called on the task's thread, between two steps.

    Raises:
        StateError: something cannot be saved.
    """
    context, states, limit = operator.context, operator.states, operator.state_limit
    tables, in_flight, timers = operator.keyed_tables(), operator.in_flight(), operator.save_timers()
    broadcast = states.broadcast if context.subtask == 0 else {}
    keyed = save(tables, "its keyed state") if tables else None
    attributes = None if operator.attributes is None else operator.attributes.save()
    if limit is not None:
        limit.check_saved(len(keyed or b""))
        limit.check_attributes(len(attributes or b""), operator.function)
    return OperatorSnapshot(
        kind=operator.spec.kind,
        attributes=attributes,
        keyed=keyed,
        groups=groups_of(context.subtask, context.parallelism),
        states=dict(states.kinds),
        ttl_times={name: expiry.time for name, expiry in states.expiries.items()},
        broadcast=save(broadcast, "its broadcast state") if broadcast else None,
        in_flight=save(in_flight, "a record in flight") if in_flight else None,
        source={name: save(value, "its position") for name, value in operator.positions().items()},
        timers=save(timers, "its timers") if timers else None,
        watermark=operator.watermark,
        seen=operator.seen,
    )


def restore(operator: RunningOperator, saved: Sequence[OperatorSnapshot]) -> None:
    """Let an operator go on from what all its subtasks have saved. Called once, when it is open, before any record.

    Raises:
        StateError: it does not fit this operator, or its attributes cannot be shared out.
    """
    _check_kinds(operator, saved)
    subtask, parallelism = operator.context.subtask, operator.context.parallelism
    _restore_attributes(operator, [part.attributes for part in saved])
    operator.pass_time(min(part.watermark for part in saved))
    operator.seen = max(part.seen for part in saved)
    ttl_times = {name: time for part in saved for name, time in part.ttl_times.items()}
    for name, items in share_out_keyed(saved, subtask, parallelism).items():
        operator.restore_table(name, items, ttl_times.get(name))
    for part in saved:
        if part.broadcast is not None:
            for name, kept in load(part.broadcast, "its broadcast state").items():
                operator.states.broadcast[name].update(kept)
    operator.restore_timers(dict(share_out_timers(saved, subtask, parallelism)))
    operator.take_back(share_out_records(saved, subtask, parallelism))
    operator.go_on_at({name: position for part in saved for name, position in part.source.items()})


def _check_kinds(operator: RunningOperator, saved: Sequence[OperatorSnapshot]) -> None:
    """See that operator and state are what they were. Raises `StateError`."""
    kind, kinds = operator.spec.kind, operator.states.kinds
    if any(part.kind != kind for part in saved):
        raise StateError(
            f"what was saved belongs to an operator of kind {saved[0].kind}, this is {kind}",
            hint=f"give this operator a uid of its own: under '{operator.spec.uid}' another one was saved",
        )
    for part in saved:
        for name, was in part.states.items():
            if kinds.get(name) != was:
                raise StateError(
                    f"the saved keyed state '{name}' was of kind {was}, it is"
                    f" {kinds.get(name, 'not declared any more')} now",
                    hint="declare it in open(context) as it was, and new state under another name",
                )


def _restore_attributes(operator: RunningOperator, saved: Sequence[bytes | None]) -> None:
    """Each subtask has its own again; at another parallelism they are shared out, as far as that can be done."""
    attributes = operator.attributes
    if attributes is None or any(part is None for part in saved):
        return
    subtask, parallelism = operator.context.subtask, operator.context.parallelism
    if len(saved) == parallelism:
        own = saved[subtask]
        assert own is not None
        lay_over(operator.function, load_attributes(own, operator.function))
        return
    states = [load_attributes(part, operator.function) for part in saved if part is not None]
    lay_over(operator.function, attributes.share_out(states, subtask, parallelism))
