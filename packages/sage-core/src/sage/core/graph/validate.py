"""What makes a graph one that can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

from sage.core.errors import Problem
from sage.core.graph.awaiting import wrong_in_awaiting
from sage.core.graph.durations import is_duration
from sage.core.graph.joins import check_joining
from sage.core.graph.kinds import SINK_KINDS, SOURCE_KINDS
from sage.core.graph.loops import Loop, find_loops
from sage.core.graph.model import MAX_PARALLELISM, LogicalGraph, Operator
from sage.core.graph.policy import DEAD_LETTERS, FAIL, ErrorPolicy, named
from sage.core.graph.timed import has_time
from sage.core.graph.windows import LATE, WINDOW_KINDS, is_event_window, window_title, wrong_in_windowed

__all__ = ["sends_late", "sends_letters", "validate"]

_MAX_NAME = 200  # what a package takes: what runs here shall run under a JobManager as well


def validate(graph: LogicalGraph) -> list[Problem]:
    """All problems of ``graph``, in declaration order; of one operator the likeliest cause of others first."""
    if not graph.operators:
        return [Problem("the pipeline is empty: it has no source and no sink", hint="begin with env.from_batch(…)")]
    timed = has_time(graph)
    problems = _check_job_name(graph.name)
    for operator in graph.operators:
        problems += _check_names(operator)
        problems += _check_options(operator)
        problems += _check_policy(operator)
        problems += _check_parallelism(operator, graph)
        problems += _check_keys_are_used(operator, graph)
        problems += _check_alignment(operator, graph)
        problems += check_joining(operator, graph, timed)
        problems += _check_windows(operator, graph, timed)
        problems += _check_side_outputs(operator, graph)
        problems += _check_uid(operator, graph)
        problems += _check_connected(operator, graph)  # last: often it is only what comes of the others
    problems += _check_loops(graph)
    problems += _check_services(graph)
    if not any(operator.kind in SINK_KINDS for operator in graph.operators):
        problems.append(Problem("the pipeline has no sink", hint="end it with .sink(…) or .print()"))
    return problems


def _check_job_name(name: object) -> list[Problem]:
    if isinstance(name, str) and 1 <= len(name) <= _MAX_NAME and name.isprintable():
        return []
    shown = f"{name[:_MAX_NAME]!r}…" if isinstance(name, str) and len(name) > _MAX_NAME else repr(name)
    return [Problem(f"the environment's name must be 1 to {_MAX_NAME} printable characters, not {shown}")]


def _check_names(operator: Operator) -> list[Problem]:
    given = {"uid": operator.uid, "name": operator.name}
    return [
        operator.problem(f"its {what} must be text that is not empty, not {value!r}")
        for what, value in given.items()
        if not isinstance(value, str) or not value
    ]


def _check_uid(operator: Operator, graph: LogicalGraph) -> Iterator[Problem]:
    if not isinstance(operator.uid, str):
        return  # which is a problem already
    first = next(other for other in graph.operators if isinstance(other.uid, str) and other.uid == operator.uid)
    if first is not operator:
        yield operator.problem(
            f"the uid '{operator.uid}' is taken by the operator at {first.location}", "uids are unique"
        )


def _check_services(graph: LogicalGraph) -> Iterator[Problem]:
    names = [service.name for service in graph.services]
    for service in graph.services:
        where = str(service.location)
        if not isinstance(service.name, str) or not service.name:
            yield Problem(f"a service's name must be text that is not empty, not {service.name!r}", where)
        elif names.count(service.name) > 1:
            yield Problem(f"the name '{service.name}' is registered for more than one service", where)


def _check_connected(operator: Operator, graph: LogicalGraph) -> Iterator[Problem]:
    """What is put out has to go somewhere, and what is to come back has to come from somewhere."""
    tags = _tags_taken(operator, graph)
    if not tags and operator.kind not in SINK_KINDS:
        yield operator.problem(
            "its records go nowhere: no operator is connected to this stream",
            "end it with .sink(…) or .print(), or remove it",
        )
    elif sends_letters(operator) and DEAD_LETTERS not in tags:
        yield operator.problem(
            "its dead letters go nowhere: no operator is connected to this stream's dead_letters",
            "use them, or give dead_letter(FILE); skip() leaves such records out",
        )
    if operator.kind == "feedback" and not any(edge.back for edge in graph.inputs_of(operator.id)):
        yield operator.problem(
            "it is never filled, so that no record ever comes by it", "call stream.fill_future(…) with it"
        )


def _tags_taken(operator: Operator, graph: LogicalGraph) -> Set[str | None]:
    """The side outputs of an operator that others take, and None if they take its records."""
    return {edge.tag for edge in graph.edges if edge.source == operator.id}


def _check_options(operator: Operator) -> list[Problem]:
    check = _CHECKS.get(operator.kind)
    if operator.kind in WINDOW_KINDS:
        return [operator.problem(message, hint) for message, hint in wrong_in_windowed(operator.options)]
    return [] if check is None else [operator.problem(message) for message in check(operator.options)]


def _wrong_in_feedback(options: Mapping[str, Any]) -> Iterator[str]:
    for name, what, least in (("in_memory", "records", 1), ("on_disk", "bytes", 0)):
        number = options[name]
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            yield f"{name} must be a whole number of {what} from {least}, not {number!r}"


def _wrong_in_map_batches(options: Mapping[str, Any]) -> Iterator[str]:
    size, wait = options["max_size"], options["max_wait"]
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        yield f"max_size must be a whole number from 1, not {size!r}"
    if wait is not None and not is_duration(wait):
        yield f"max_wait must be a number of seconds, a timedelta, or None, not {wait!r}"


def _wrong_in_timestamps(options: Mapping[str, Any]) -> Iterator[str]:
    behind, idle = options["out_of_order"], options["idle_after"]
    if not is_duration(behind):
        yield f"out_of_order must be a number of seconds, or a timedelta, not below 0: not {behind!r}"
    if idle is not None and not is_duration(idle, above_zero=True):
        yield f"idle_after must be a number of seconds, or a timedelta, above 0, or None: not {idle!r}"
    if options["max_ahead"] is not None and not is_duration(options["max_ahead"], above_zero=True):
        yield f"max_ahead must be a number of seconds, or a timedelta, above 0, or None: not {options['max_ahead']!r}"


_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "feedback": _wrong_in_feedback,
    "map_async": wrong_in_awaiting,
    "map_batches": _wrong_in_map_batches,
    "timestamps": _wrong_in_timestamps,
}
"""By kind, what is wrong with an operator's options."""


def _check_policy(operator: Operator) -> list[Problem]:
    policy = operator.on_error
    if not isinstance(policy, ErrorPolicy):
        return [operator.problem(f"on_error takes fail(), skip(…), retry(…) or dead_letter(…), not {named(policy)}")]
    wrong = policy.problem()
    if wrong is not None:
        return [operator.problem(f"on_error: {wrong}")]
    if operator.kind == "collection" and policy != FAIL:
        return [operator.problem("an iterable that has raised has ended: there is nothing to skip or to retry")]
    if operator.kind in SINK_KINDS and policy.then == "dead_letter" and policy.file is None:
        return [operator.problem("dead letters of a sink have no stream to go to", "dead_letter(FILE)")]
    if operator.kind in SOURCE_KINDS - {"read"} and policy.then == "dead_letter":
        return [operator.problem("a source that raises has no record to send as a dead letter", "skip(…) or retry(…)")]
    return []


def _check_keys_are_used(operator: Operator, graph: LogicalGraph) -> list[Problem]:
    """Records that lose their keys before anything can use them would be folded across all keys, without a word."""
    if operator.kind != "keyby":
        return []
    operators = {other.id: other for other in graph.operators}
    again = [operators[edge.target] for edge in graph.edges if edge.source == operator.id and edge.exchange == "hash"]
    return [
        operator.problem(f"its keys are replaced by those of keyby '{other.name}' before anything has used them")
        for other in again
        if other.kind == "keyby" and other.function.form == "callable"
    ] + [
        operator.problem(
            f"its keys are lost on the way to {operators[edge.target].kind} '{operators[edge.target].name}':"
            " rebalance(), broadcast(), fill_future(…) and a union with a stream without keys drop them",
            "call keyby(…) last, and of what goes round in a loop behind the future",
        )
        for edge in graph.edges
        if edge.source == operator.id and edge.tag is None and edge.exchange != "hash"
    ]


def _check_windows(operator: Operator, graph: LogicalGraph, timed: Mapping[int, bool]) -> Iterator[Problem]:
    """Windows that records, or accumulators, do not fit into."""
    if operator.kind not in WINDOW_KINDS:
        return
    window = operator.options["window"]
    if is_event_window(window) and not all(timed[edge.source] for edge in graph.inputs_of(operator.id)):
        untimed = ", ".join(f"{other.kind} '{other.name}'" for other in _untimed_beside_timed(operator, graph, timed))
        yield operator.problem(
            f"{window_title(window)} is in event time, and the records of this stream have none"
            + (f": it is a union with {untimed}, whose records have none" if untimed else ""),
            f"call .assign_timestamps(…) before {'the union' if untimed else 'it'},"
            " or give the window time='processing'",
        )
    merges = callable(getattr(operator.function.target, "merge", None))
    if operator.kind == "window_aggregate" and window["kind"] == "session" and not merges:
        yield operator.problem(
            "sessions grow together where a record comes between two of them, and it has no merge",
            "define merge(self, a, b): the accumulator of both",
        )


def _untimed_beside_timed(operator: Operator, graph: LogicalGraph, timed: Mapping[int, bool]) -> list[Operator]:
    """Those without times among its inputs, if others of them have times."""
    sources = {edge.source for edge in graph.inputs_of(operator.id)}
    if not any(timed[source] for source in sources):
        return []
    return [other for other in graph.operators if other.id in sources and not timed[other.id]]


def _check_side_outputs(operator: Operator, graph: LogicalGraph) -> list[Problem]:
    """Side outputs that are taken where none can come would be empty, without a word."""
    tags = _tags_taken(operator, graph)
    if DEAD_LETTERS in tags and not sends_letters(operator):
        hint = "on_error=dead_letter(), or leave dead_letters out"
        return [operator.problem("its dead_letters are taken, and its on_error sends none to a stream", hint)]
    if LATE in tags and operator.options.get("window") is not None and not sends_late(operator):
        return [operator.problem("its late_records are taken, and only windows in event time have any")]
    named = tags - {None, DEAD_LETTERS} - ({LATE} if sends_late(operator) else set())
    if named and operator.function.form not in ("class", "instance"):
        tag = sorted(str(tag) for tag in named)[0]
        hint = "give a function class, which has self.context.side_output(tag, record)"
        return [operator.problem(f"its side output '{tag}' is taken, and a plain callable has none", hint)]
    return []


def sends_late(operator: Operator) -> bool:
    """Whether it is one of windows in event time, or a join in it, for which records can come too late."""
    window = operator.options.get("window")
    return operator.kind == "interval_join" or (window is not None and is_event_window(window))


def _check_alignment(operator: Operator, graph: LogicalGraph) -> list[Problem]:
    """What waits for slower sources has to be in the task of a source: elsewhere it would keep others waiting, too."""
    if operator.kind != "timestamps" or operator.options["max_ahead"] is None:
        return []
    operators = {other.id: other for other in graph.operators}
    edges = graph.inputs_of(operator.id)
    before = operators[edges[0].source]
    alone = len(edges) == 1 and edges[0].exchange == "forward" and edges[0].tag is None
    if alone and before.kind in SOURCE_KINDS and before.parallelism == operator.parallelism:
        return []
    return [operator.problem("max_ahead makes a source wait, and it does not come directly behind one", "put it there")]


def sends_letters(operator: Operator) -> bool:
    """Whether records that it gives up leave by a stream."""
    policy = operator.on_error
    if operator.kind in SINK_KINDS | SOURCE_KINDS - {"read"} or not isinstance(policy, ErrorPolicy):
        return False  # then it is a problem already
    return policy.then == "dead_letter" and policy.file is None


def _check_loops(graph: LogicalGraph) -> list[Problem]:
    operators = {operator.id: operator for operator in graph.operators}
    loops = find_loops(graph)
    problems = []
    for edge in graph.edges:
        head, source = operators[edge.target], operators[edge.source]
        if not edge.back or any(loop.operators.issuperset((edge.source, edge.target)) for loop in loops):
            continue
        problems.append(
            head.problem(
                f"it is filled by {source.described}, whose records do not come from it: that is no loop",
                "call .union(…) for records that only go forward",
            )
        )
    return problems + [problem for loop in loops for problem in _check_loop(graph, operators, loop)]


def _check_loop(graph: LogicalGraph, operators: Mapping[int, Operator], loop: Loop) -> Iterator[Problem]:
    head = operators[loop.heads[0]]
    inside = loop.operators
    if not any(edge.source not in inside and edge.target in inside for edge in graph.edges):
        yield head.problem(
            "nothing ever comes into its loop: there is no other stream in it",
            "call .union(…) or .connect(…) on it and on the stream that is to go round",
        )
    if not any(edge.source in inside and edge.target not in inside for edge in graph.edges):
        yield head.problem("nothing ever leaves its loop", "end a stream of the loop with .sink(…), too")
    for number in sorted(inside):
        operator = operators[number]
        outer = operator.kind == "join" and operator.options.get("how") != "inner"
        if outer or operator.options.get("final"):
            yield operator.problem(
                f"what it puts out at the end of its input goes back to {head.title}, whose loop is over by then",
                "give it window=… or within=…, or join what leaves the loop"
                if outer
                else "leave final=True out, or fold what leaves the loop",
            )


def _check_parallelism(operator: Operator, graph: LogicalGraph) -> list[Problem]:
    number = operator.parallelism
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_PARALLELISM:
        return [operator.problem(f"parallelism must be a whole number from 1 to {MAX_PARALLELISM}, not {number!r}")]
    if number == 1:
        return []
    if operator.kind in SOURCE_KINDS and not operator.is_partitioned:
        return [
            operator.problem(
                f"a source without partitions() runs as one subtask, not {number}",
                "raise the parallelism of what follows it",
            )
        ]
    keyed = any(edge.exchange == "hash" for edge in graph.inputs_of(operator.id))
    if operator.kind in {"reduce", "aggregate"} | WINDOW_KINDS and not keyed:
        called = "a window" if operator.kind in WINDOW_KINDS else operator.kind
        return [
            operator.problem(
                f"{called} without keyby runs as one subtask",
                "call keyby(…) first, or leave parallelism out",
            )
        ]
    return []
