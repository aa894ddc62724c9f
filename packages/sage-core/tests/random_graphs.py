"""Random pipelines, what a plain evaluation of them gives, and whether a run has given that.

The evaluation knows nothing of graphs, plans or engines: it computes each stream as a list. What it expects of order
is what SAGE promises: exact along one path of single subtasks, per key across a hash exchange, none at fan-in; where
order is not promised, functions are chosen whose results do not depend on it.

A kind of node is an entry of `KINDS`: how to draw one, what it makes of lists, how it is declared. The functions of a
run note in a `Ledger` what they live through, so that a call before `open` or after `close` is found as well.
"""

from __future__ import annotations

import asyncio
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

from sage.core.api import (
    STOP,
    AggregateFunction,
    BaseFunction,
    BatchFunction,
    DeadLetter,
    ErrorPolicy,
    LocalEnvironment,
    Session,
    Sliding,
    SourceFunction,
    StopType,
    Tumbling,
    Window,
    WindowResult,
    dead_letter,
    retry,
    skip,
)
from sage.core.api.datastream import DataStream
from sage.core.api.windows import Windows
from sage.core.backends.api import Attempt, Backend
from sage.core.connectors.api import Sink
from sage.core.engine.coordinator import Coordinator
from sage.core.errors import SimulationError
from sage.core.graph.model import LogicalGraph
from sage.core.models import JobMetrics

__all__ = ["Draw", "Program", "Run", "check", "draw_program", "run"]

LIMIT = 60.0
MANY = 1100
"""More than a full batch."""

MOST = 3 * MANY
"""Records that a stream may hold."""

Order = Literal["exact", "per key", "none"]
_T = TypeVar("_T")


class Draw(Protocol):
    """Where the randomness of a program comes from."""

    def integer(self, low: int, high: int) -> int:
        """A whole number, both ends included."""

    def choose(self, options: Sequence[_T]) -> _T:
        """One of them."""

    def value(self) -> Any:
        """A record."""


# ---- functions -------------------------------------------------------------------------------------------------------


def number(value: Any) -> int:
    """A whole number for any record."""
    if value is None:
        return 7
    if isinstance(value, tuple):
        return sum(number(item) * (place + 1) for place, item in enumerate(value)) % 1009
    return len(value) if isinstance(value, str) else int(value)


def generate(value: Any) -> Iterator[Any]:
    yield value
    if number(value) % 2:
        yield None


def mix(left: tuple[Any, Any], right: tuple[Any, Any]) -> tuple[Any, Any]:
    """Depends on the order of its values."""
    return (left[0], (number(left[1]) * 31 + number(right[1])) % 1009)


def count(left: tuple[Any, Any], right: tuple[Any, Any]) -> tuple[Any, Any]:
    """The first value of a key counts as it is, so it is only used where all values are 1."""
    return (left[0], left[1] + right[1])


FUNCTIONS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "map": {
        "same": lambda value: value,
        "next": lambda value: number(value) + 1,
        "gone": lambda value: None if number(value) % 3 == 0 else value,
        "text": lambda value: "x" * (number(value) % 4),
        "pair": lambda value: (value, number(value) % 5),
    },
    "filter": {
        "truthy": lambda value: value,
        "nothing": lambda value: value is None,
        "odd": lambda value: number(value) % 2,
        "none": lambda value: False,
    },
    "flatmap": {
        "twice": lambda value: (value, value),
        "generator": generate,
        "sometimes": lambda value: None if number(value) % 2 else [value],
        "nothing": lambda value: {},
        "many": lambda value: [value] * MANY,
    },
    "keyed": {
        "rest": lambda value: number(value) % 3,
        "alike": lambda value: [1, True, 1.0, -0.0, 0, False][number(value) % 6],
        "text": lambda value: f"key{number(value) % 20}",
        "parts": lambda value: (number(value) % 2, ("a", None)),
        "same": lambda value: None,
    },
    "reduce": {"mix": lambda pair: mix(*pair), "count": lambda pair: count(*pair)},
}
REDUCES: dict[str, Callable[[Any, Any], Any]] = {"mix": mix, "count": count}


def refuses(value: Any) -> bool:
    """Whether functions that fail fail at this record."""
    return number(value) % 4 == 3


def failures_before(value: Any) -> int:
    """How often functions that succeed in the end fail at this record."""
    return number(value) % 3


class Broken(Exception):
    """What failing functions raise."""


class Ledger:
    """What the functions of one run have lived through.

    Attributes:
        meanwhile: called now and then in the middle of user code.
        problems: what should not have happened.
        alive: by operator, how many functions are open.
        owners: by operator and key, the subtask that had it first.
        unprepared: how many subtasks of sinks have not said that they are ready to publish.
        published: by sink, what each subtask has published.
        may_end: whether sources that wait for what they gave to arrive may end.
    """

    _all: dict[int, Ledger] = {}  # noqa: RUF012  (functions are copied for each subtask, and find theirs by number)
    _numbers = itertools.count()

    def __init__(self) -> None:
        self.number = next(self._numbers)
        self.meanwhile: Callable[[], None] = lambda: None
        self.problems: list[str] = []
        self.alive: Counter[str] = Counter()
        self.owners: dict[tuple[str, Any], int] = {}
        self.unprepared = 0
        self.published: dict[str, list[Any]] = {}
        self.may_end: Callable[[], bool] = lambda: True
        self._all[self.number] = self

    @classmethod
    def of(cls, number: int) -> Ledger:
        return cls._all[number]

    def close(self) -> None:
        self._all.pop(self.number, None)


class Watched(BaseFunction):
    """Any function of a record; notes what it lives through."""

    def __init__(self, ledger: int, uid: str, kind: str, choice: str) -> None:
        self.ledger = ledger
        self.uid = uid
        self.kind = kind
        self.choice = choice
        self.life = "made"

    def open(self, context: Any) -> None:
        self._expect("made", "open", "opened")
        Ledger.of(self.ledger).alive[self.uid] += 1

    def close(self) -> None:
        if self.life == "opened":
            Ledger.of(self.ledger).alive[self.uid] -= 1
        self._expect("opened", "close", "closed")

    def execute(self, value: Any) -> Any:
        self._expect("opened", "execute", "opened")
        Ledger.of(self.ledger).meanwhile()
        return FUNCTIONS[self.kind][self.choice](value)

    def _expect(self, before: str, what: str, after: str) -> None:
        if self.life != before:
            Ledger.of(self.ledger).problems.append(f"{what} of {self.uid} when it was {self.life}")
        self.life = after


class Reducing(Watched):
    """A function of two records, which may refuse the second."""

    def __init__(self, ledger: int, uid: str, choice: str, fails: bool) -> None:
        super().__init__(ledger, uid, "reduce", choice)
        self.fails = fails

    def execute(self, left: Any, right: Any = None) -> Any:
        result = super().execute((left, right))
        if self.fails and refuses(right):
            raise Broken(right)
        return result


class Refusing(Watched):
    """Fails at some records, whatever is done."""

    def execute(self, value: Any) -> Any:
        if refuses(value):
            self.context.side_output("aside", value)  # is withheld with everything else
            raise Broken(value)
        return super().execute(value)


class Unsteady(Watched):
    """Fails a few times at some records, then succeeds."""

    failed = 0

    def execute(self, value: Any) -> Any:
        self.context.side_output("aside", value)
        result = super().execute(value)
        if self.failed < failures_before(value):
            self.failed += 1
            raise Broken(value)
        self.failed = 0
        return result


class Awaiting(Watched):
    """A coroutine function that takes its time, and fails as `Refusing` or `Unsteady` do."""

    def __init__(self, ledger: int, uid: str, choice: str, fails: str) -> None:
        super().__init__(ledger, uid, "map", choice)
        self.fails = fails
        self.failed: Counter[Any] = Counter()

    async def execute(self, value: Any) -> Any:
        call = asyncio.current_task()  # the same for all tries of one record
        self._expect("opened", "execute", "opened")
        Ledger.of(self.ledger).meanwhile()
        await asyncio.sleep(number(value) % 4 * 0.0005)
        self._expect("opened", "execute", "opened")
        if self.fails == "skip" and refuses(value):
            raise Broken(value)
        if self.fails == "retry" and self.failed[call] < failures_before(value):
            self.failed[call] += 1
            raise Broken(value)
        return FUNCTIONS[self.kind][self.choice](value)


class Remembering(Watched):
    """Counts the records of each key in keyed state. What it did to that for a record that failed is undone."""

    def __init__(self, ledger: int, uid: str, fails: bool) -> None:
        super().__init__(ledger, uid, "map", "same")
        self.fails = fails

    def open(self, context: Any) -> None:
        super().open(context)
        self.count = context.value_state("count", 0)
        self.seen = context.map_state("seen")
        self.total = context.reducing_state("total", operator.add)

    def execute(self, pair: tuple[Any, Any]) -> Any:
        key, value = super().execute(pair)
        count = self.count.get() + 1
        self.count.set(count)
        self.seen[count] = key
        self.total.add(1)
        if self.fails and refuses(value):
            raise Broken(value)
        if not (count == len(self.seen) == self.total.get()):
            Ledger.of(self.ledger).problems.append(f"states of key {key!r} of {self.uid} disagree")
        return (key, count)


class Splitting(Watched):
    """Puts odd records out on the side as well."""

    def execute(self, value: Any) -> Any:
        if number(value) % 2:
            self.context.side_output("aside", value)
        return super().execute(value)


class Batching(Watched):
    """A function of batches, none of which is empty or too large; it may fail once at each."""

    def __init__(self, ledger: int, uid: str, kind: str, choice: str, most: int, fails: bool) -> None:
        super().__init__(ledger, uid, kind, choice)
        self.most = most
        self.fails = fails
        self.failed = False

    def execute(self, batch: list[Any]) -> list[Any]:
        if not 1 <= len(batch) <= self.most:
            Ledger.of(self.ledger).problems.append(f"a batch of {len(batch)} where {self.most} are the most")
        results = [super(Batching, self).execute(value) for value in batch]
        self.failed = self.fails and not self.failed
        if self.failed:
            raise Broken(batch)
        return results


class Stamping(Watched):
    """Numbers its records."""

    stamped = 0

    def execute(self, value: Any) -> tuple[int, int, Any]:
        self.stamped += 1
        return (self.context.subtask, self.stamped, super().execute(value))


class Lingering(Watched):
    """A coroutine function that gives back what it gets, some time later."""

    async def execute(self, stamped: Any) -> Any:
        self._expect("opened", "execute", "opened")
        await asyncio.sleep(number(stamped) % 4 * 0.0005)
        return stamped


class Checking(Watched):
    """Takes the numbers off: those of one sender must rise, by one if there is nobody else to get records."""

    def __init__(self, ledger: int, uid: str, kind: str, choice: str, key: str | None) -> None:
        super().__init__(ledger, uid, kind, choice)
        self.key = key
        self.last: dict[int, int] = {}

    def execute(self, stamped: tuple[int, int, Any]) -> Any:
        sender, stamp, value = stamped
        ledger, last = Ledger.of(self.ledger), self.last.get(sender, 0)
        if stamp <= last or (self.context.parallelism == 1 and stamp != last + 1):
            ledger.problems.append(f"{self.uid} got number {stamp} of sender {sender} after number {last}")
        self.last[sender] = stamp
        if self.key is not None:
            key, mine = FUNCTIONS["keyed"][self.key](value), self.context.subtask
            if self.context.key != key:
                ledger.problems.append(f"{self.uid} got {value!r} with the key {self.context.key!r}, not {key!r}")
            if ledger.owners.setdefault((self.uid, key), mine) != mine:
                ledger.problems.append(f"key {key!r} came to two subtasks of {self.uid}")
        return super().execute(value)


class Folding(AggregateFunction[Any, Any, Any]):
    """What `REDUCES` do, as an aggregate."""

    def __init__(self, reducing: str, fails: bool) -> None:
        self.reducing = reducing
        self.fails = fails

    def create(self) -> Any:
        return None

    def add(self, accumulator: Any, value: Any) -> Any:
        if self.fails and refuses(value):
            raise Broken(value)
        return value if accumulator is None else REDUCES[self.reducing](accumulator, value)


class Ordering(Watched):
    """Gives records a time by their place, and each is out of order by less than `JITTER`."""

    place = 0

    def execute(self, value: Any) -> Any:
        self.place += 1
        return (time_at(self.place, value), super().execute(value))


class Ticking(Watched):
    """Counts the records of each key in stretches of event time, and tells the count when that is over."""

    context: Any

    def __init__(self, ledger: int, uid: str, choice: str, fails: bool) -> None:
        super().__init__(ledger, uid, "keyed", choice)
        self.fails = fails

    def open(self, context: Any) -> None:
        super().open(context)
        self.counts = context.map_state("counts")

    def execute(self, timed: tuple[int, Any]) -> None:
        end = end_of(timed[0])
        if self.context.timestamp != timed[0]:
            Ledger.of(self.ledger).problems.append(f"{self.uid} got {timed!r} at {self.context.timestamp}")
        if self.context.watermark >= timed[0]:
            Ledger.of(self.ledger).problems.append(f"{self.uid} got {timed!r} late, at {self.context.watermark}")
        self.counts[end] = self.counts.get(end, 0) + 1
        self.context.set_timer(end)
        key = super().execute(timed[1])
        if key != self.context.key:
            Ledger.of(self.ledger).problems.append(f"{self.uid} got {timed!r} with the key {self.context.key!r}")
        if self.fails and refuses(timed[1]):
            raise Broken(timed)

    def on_timer(self, timer: Any) -> Iterator[Any]:
        self._expect("opened", "on_timer", "opened")
        if self.context.watermark < timer.at:
            Ledger.of(self.ledger).problems.append(f"{self.uid} fired {timer} at {self.context.watermark}")
        Ledger.of(self.ledger).meanwhile()
        yield (self.context.key, int(timer.at), self.counts.pop(int(timer.at)))


class Waiting(Watched):
    """Keeps the records of each key for a while."""

    context: Any

    def __init__(self, ledger: int, uid: str, choice: str, seconds: float) -> None:
        super().__init__(ledger, uid, "map", choice)
        self.seconds = seconds

    def open(self, context: Any) -> None:
        super().open(context)
        self.kept = context.list_state("kept")

    def execute(self, value: Any) -> None:
        self.kept.append(super().execute(value))
        self.context.set_timer(self.context.now + self.seconds, time="processing")

    def on_timer(self, timer: Any) -> list[Any]:
        kept = list(self.kept)
        self.kept.clear()
        return kept


class Tallying(AggregateFunction[Any, int, int]):
    """Counts the records of a window, some of which it may refuse."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def create(self) -> int:
        return 0

    def add(self, accumulator: int, timed: tuple[int, Any]) -> int:
        if self.fails and refuses(timed[1]):
            raise Broken(timed)
        return accumulator + 1

    def result(self, accumulator: int) -> int:
        return accumulator

    def merge(self, a: int, b: int) -> int:
        return a + b


class Exploding(Watched):
    """Fails at its record number ``at``."""

    def __init__(self, ledger: int, uid: str, at: int) -> None:
        super().__init__(ledger, uid, "map", "same")
        self.left = at

    def execute(self, value: Any) -> Any:
        self.left -= 1
        if not self.left:
            raise Broken("the bomb")
        return super().execute(value)


class Batched(BatchFunction[Any]):
    """Gives its records, then None."""

    def __init__(self, records: Sequence[Any]) -> None:
        self.records = list(records)

    def execute(self) -> Any:
        return self.records.pop(0) if self.records else None


class Halting(SourceFunction[Any]):
    """Gives its records; where there is None it has nothing yet. Then it may wait for all that was given to arrive."""

    def __init__(self, ledger: int, records: Sequence[Any]) -> None:
        self.ledger = ledger
        self.records = list(records)

    def execute(self) -> Any:
        if self.records:
            return self.records.pop(0)
        return STOP if Ledger.of(self.ledger).may_end() else None


class Shelf:
    """A partition: gives some of its records at a time; where there is None it has nothing yet."""

    def __init__(self, records: Sequence[Any]) -> None:
        self.records = list(records)
        self.taken = 0

    def read(self, n: int) -> list[Any] | StopType | None:
        if self.taken == len(self.records):
            return STOP
        first = self.records[self.taken]
        self.taken += 1
        if first is None:
            return None
        if n > 1 and self.taken < len(self.records) and self.records[self.taken] is not None:
            self.taken += 1
            return self.records[self.taken - 2 : self.taken]
        return [first]

    def position(self) -> object:
        return self.taken

    def wait(self, timeout: float) -> None:
        """Returns at once: there is always something more, or the end."""

    def close(self) -> None:
        """There is nothing to let go of."""


class Shelves:
    """A source of several partitions."""

    def __init__(self, records: Sequence[Any], count: int) -> None:
        self.parts = {f"shelf {place}": list(records[place::count]) for place in range(count)}

    def partitions(self) -> Sequence[str]:
        return tuple(self.parts)

    def open(self, partition: str, position: object | None) -> Shelf:
        return Shelf(self.parts[partition])


class Publishing(Sink):
    """Publishes what was written once all sinks of the job are prepared; notes it if that comes sooner, or twice."""

    delivery = "transactional"

    def __init__(self, ledger: int, uid: str) -> None:
        self.ledger = ledger
        self.uid = uid
        self.records: list[Any] = []
        self.is_prepared = False

    def open(self, context: Any) -> None:
        Ledger.of(self.ledger).alive[self.uid] += 1

    def write(self, records: list[Any]) -> None:
        if self.is_prepared:
            Ledger.of(self.ledger).problems.append(f"{self.uid} was written to after it was prepared")
        Ledger.of(self.ledger).meanwhile()
        self.records += records

    def prepare(self, n: int) -> object:
        self.is_prepared = True
        Ledger.of(self.ledger).unprepared -= 1
        return tuple(self.records)

    def commit(self, handle: object) -> None:
        ledger = Ledger.of(self.ledger)
        if ledger.unprepared:
            ledger.problems.append(f"{self.uid} is committed while {ledger.unprepared} others are not prepared")
        ledger.published.setdefault(self.uid, []).append(handle)

    def abort(self, handle: object) -> None:
        """Nothing was published."""

    def close(self) -> None:
        Ledger.of(self.ledger).alive[self.uid] -= 1


JITTER = 5
STRETCH = 10
SPREAD = 97


def time_at(place: int, value: Any) -> int:
    """The time of the record in this place of a stream."""
    return place - number(value) % JITTER


def time_of(value: Any) -> int:
    """The time of a record, whatever came before it."""
    return number(value) % SPREAD - 10


def end_of(time: int) -> int:
    """Of the stretch of time that holds ``time``."""
    return (time // STRETCH + 1) * STRETCH


def keyed_pair(value: Any, choice: str, reducing: str) -> tuple[Any, Any]:
    return (FUNCTIONS["keyed"][choice](value), value if reducing == "mix" else 1)


def first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def record_of(letter: DeadLetter) -> Any:
    return letter.record


# ---- programs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """One declaration: what, of which earlier nodes, on how many subtasks, and what else its kind wants to know."""

    kind: str
    inputs: tuple[int, ...] = ()
    parallelism: int = 1
    choice: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """A pipeline and its input; ``patient`` if its sources end when all records have arrived, and no sooner."""

    nodes: tuple[Node, ...]
    data: tuple[tuple[Any, ...], ...]
    patient: bool = False

    def __str__(self) -> str:
        lines = [f"{place}: {node}" for place, node in enumerate(self.nodes)]
        lines += [f"data {place}: {part!r}" for place, part in enumerate(self.data)]
        return "\n".join([*lines, *(["sources wait for all records to arrive"] if self.patient else [])])

    @property
    def holds_back(self) -> bool:
        """Whether some records leave at the end of the input only."""
        return any(
            node.options.get("final")
            or node.options.get("max_wait", 0) is None
            or node.options.get("how", "inner") != "inner"
            or "window" in JOINS.get(node.options.get("way", ""), ())
            or node.kind in ("ticking", "window")
            for node in self.nodes
        )

    def evaluate(self) -> list[Stream]:
        """The stream of each node, by plain Python."""
        streams: list[Stream] = []
        for node in self.nodes:
            streams.append(KINDS[node.kind].evaluate(node, [streams[place] for place in node.inputs], self))
        return streams


@dataclass(frozen=True)
class Stream:
    """What is known of a stream.

    Attributes:
        records: all of them.
        order: how far it is promised.
        parallelism: on how many subtasks it runs.
        aside: what its operator puts out on the side.
        letters: whether those are dead letters.
        taken: how many records its operator takes; None if it is not counted.
        given_up, retried: of its operator; None where that depends on the schedule.
    """

    records: list[Any]
    order: Order
    parallelism: int
    aside: list[Any] | None = None
    letters: bool = False
    taken: int | None = None
    given_up: int = 0
    retried: int | None = 0


@dataclass(frozen=True)
class Site:
    """Where a node is declared.

    Attributes:
        env, program, ledger: of the run.
        uid: of the node's operator.
        inputs: the streams that it takes.
        found: where a sink puts its records.
    """

    env: LocalEnvironment
    program: Program
    ledger: int
    uid: str
    inputs: list[DataStream[Any]]
    found: list[Any]


@dataclass(frozen=True)
class Kind:
    """A kind of node.

    Attributes:
        draw: one that takes these streams; its `inputs` are filled in later.
        evaluate: its stream.
        declare: the same with SAGE.
        inputs: how many streams it takes, from and to.
        aside: whether it takes what a node puts out on the side.
    """

    draw: Callable[[Draw, list[Stream]], Node]
    evaluate: Callable[[Node, list[Stream], Program], Stream]
    declare: Callable[[Node, Site], DataStream[Any]]
    inputs: tuple[int, int] = (1, 1)
    aside: bool = False


def _order(stream: Stream, parallelism: int) -> Order:
    return "exact" if stream.order == "exact" and parallelism == stream.parallelism == 1 else "none"


def _of_choices(kind: str) -> Callable[[Draw, list[Stream]], Node]:
    choices = [name for name in sorted(FUNCTIONS[kind]) if name != "many"]
    most = [*choices, *([name for name in FUNCTIONS[kind] if name == "many"])]

    def draw(draw: Draw, of: list[Stream]) -> Node:
        few = len(of[0].records) * MANY > MOST
        return Node(kind, (), draw.integer(1, 4), draw.choose(choices if few else most))

    return draw


def _results(kind: str, choice: str, records: list[Any]) -> list[Any]:
    function = FUNCTIONS[kind][choice]
    if kind == "filter":
        return [record for record in records if function(record)]
    if kind == "flatmap":
        return [item for record in records for item in function(record) or ()]
    return [function(record) for record in records]


def _apply(node: Node, of: list[Stream], _: Program) -> Stream:
    stream = of[0]
    records = _results(node.kind, node.choice, stream.records)
    return Stream(records, _order(stream, node.parallelism), node.parallelism, taken=len(stream.records))


def _declare_watched(node: Node, site: Site) -> DataStream[Any]:
    function = Watched(site.ledger, site.uid, node.kind, node.choice)
    method = getattr(site.inputs[0], node.kind)
    declared: DataStream[Any] = method(function, parallelism=node.parallelism, uid=site.uid)
    return declared


# sources


def _read(node: Node, _: list[Stream], program: Program) -> Stream:
    records = list(program.data[node.options["data"]])
    if node.choice == "batch" and None in records:
        records = records[: records.index(None)]
    if node.choice == "source":
        records = [record for record in records if record is not None]
    if node.choice == "read":
        return Stream([record for record in records if record is not None], "none", node.parallelism)
    return Stream(records, "exact", 1)


def _declare_source(node: Node, site: Site) -> DataStream[Any]:
    records = site.program.data[node.options["data"]]
    if node.choice == "read":
        shelves = Shelves(records, node.options["shelves"])
        return site.env.from_connector(shelves, parallelism=node.parallelism, uid=site.uid)
    if node.choice == "batch":
        return site.env.from_batch(Batched(records), uid=site.uid)
    if node.choice == "source":
        return site.env.from_source(Halting(site.ledger, records), uid=site.uid)
    return site.env.from_collection(records, uid=site.uid)


# several streams, and exchanges


def _draw_union(draw: Draw, of: list[Stream]) -> Node:
    return Node("union")


def _unite(_: Node, of: list[Stream], __: Program) -> Stream:
    if len(of) == 1:
        return replace(of[0], aside=None, letters=False, taken=None, given_up=0, retried=0)
    most = max(stream.parallelism for stream in of)
    return Stream([record for stream in of for record in stream.records], "none", most)


def _draw_comap(draw: Draw, of: list[Stream]) -> Node:
    choices = {"each": [draw.choose(sorted(FUNCTIONS["map"])) for _ in of]}
    return Node("comap", (), draw.integer(1, 3), options=choices)


def _comap(node: Node, of: list[Stream], _: Program) -> Stream:
    each = zip(node.options["each"], of, strict=True)
    records = [record for choice, stream in each for record in _results("map", choice, stream.records)]
    return Stream(records, "none", node.parallelism, taken=len(records))


def _declare_comap(node: Node, site: Site) -> DataStream[Any]:
    connected: Any = site.inputs[0].connect(*site.inputs[1:])
    functions = [FUNCTIONS["map"][choice] for choice in node.options["each"]]
    declared: DataStream[Any] = connected.comap(*functions, parallelism=node.parallelism, uid=site.uid)
    return declared


def _draw_exchange(kind: str) -> Callable[[Draw, list[Stream]], Node]:
    def draw(draw: Draw, of: list[Stream]) -> Node:
        return Node(kind, (), draw.integer(1, 3), draw.choose(sorted(FUNCTIONS["map"])))

    return draw


def _exchange(node: Node, of: list[Stream], _: Program) -> Stream:
    copies = node.parallelism if node.kind == "broadcast" else 1
    records = _results("map", node.choice, of[0].records * copies)
    return Stream(records, _order(of[0], node.parallelism), node.parallelism, taken=len(records))


def _declare_exchange(node: Node, site: Site) -> DataStream[Any]:
    stream = site.inputs[0].broadcast() if node.kind == "broadcast" else site.inputs[0].rebalance()
    function = Watched(site.ledger, site.uid, "map", node.choice)
    return stream.map(function, parallelism=node.parallelism, uid=site.uid)


def _draw_path(draw: Draw, of: list[Stream]) -> Node:
    options = {
        "senders": draw.integer(1, 3),
        "lingers": draw.integer(0, 3) == 0,
        "by": draw.choose(["forward", "rebalance", "key"]),
        "key": draw.choose(sorted(FUNCTIONS["keyed"])),
    }
    return Node("path", (), draw.integer(1, 3), options=options)


def _follow(node: Node, of: list[Stream], _: Program) -> Stream:
    order: Order = "exact" if _order(of[0], node.options["senders"]) == "exact" and node.parallelism == 1 else "none"
    return Stream(list(of[0].records), order, node.parallelism, taken=len(of[0].records))


def _declare_path(node: Node, site: Site) -> DataStream[Any]:
    options, stamp = node.options, Stamping(site.ledger, f"{site.uid}-stamp", "map", "same")
    stream: DataStream[Any] = site.inputs[0].map(stamp, parallelism=options["senders"])
    if options["lingers"]:
        lingering = Lingering(site.ledger, f"{site.uid}-lingers", "map", "same")
        stream = stream.map_async(lingering, concurrency=3, parallelism=options["senders"])
    key: str | None = None
    if options["by"] == "rebalance":
        stream = stream.rebalance()
    elif options["by"] == "key":
        key = options["key"]
        of_key = FUNCTIONS["keyed"][options["key"]]
        stream = stream.keyby(lambda stamped: of_key(stamped[2]), parallelism=options["senders"])
    function = Checking(site.ledger, site.uid, "map", "same", key)
    return stream.map(function, parallelism=node.parallelism, uid=site.uid)


# keys


def _draw_keyed(draw: Draw, of: list[Stream]) -> Node:
    before, reducing = draw.integer(1, 3), "count"
    if of[0].order == "exact" and of[0].parallelism == before == 1:
        reducing = draw.choose(sorted(REDUCES))
    options = {
        "before": before,
        "reducing": reducing,
        "final": bool(draw.integer(0, 1)),
        "as": draw.choose(["reduce", "aggregate"]),
        "fails": draw.choose(["no", "no", "skip", "then skip"]),
    }
    return Node("keyed", (), draw.integer(1, 4), draw.choose(sorted(FUNCTIONS["keyed"])), options)


def _reduce(node: Node, of: list[Stream], _: Program) -> Stream:
    stream, options = of[0], node.options
    order: Order = "none"
    if stream.order == "exact" and options["before"] == stream.parallelism == 1:
        order = "exact" if node.parallelism == 1 else "per key"
    states: dict[Any, Any] = {}
    running, given_up = [], 0
    for record in stream.records:
        key, value = pair = keyed_pair(record, node.choice, options["reducing"])
        called = key in states or options["as"] == "aggregate"  # the first value of a key is not reduced
        if called and options["fails"] != "no" and refuses(pair):
            given_up += 1
            continue
        states[key] = REDUCES[options["reducing"]](states[key], (key, value)) if key in states else pair
        running.append(states[key])
    return Stream(
        list(states.values()) if options["final"] else running,
        order,
        node.parallelism,
        taken=len(stream.records),
        given_up=given_up,
        retried=given_up if options["fails"] == "then skip" else 0,
    )


def _declare_keyed(node: Node, site: Site) -> DataStream[Any]:
    choice, options = node.choice, node.options
    reducing, final = options["reducing"], options["final"]
    pairs = site.inputs[0].map(lambda value: keyed_pair(value, choice, reducing), parallelism=options["before"])
    keyed: Any = pairs.keyby(first, parallelism=options["before"])
    fails, policy = options["fails"] != "no", POLICIES.get(options["fails"])
    more = {"final": final, "parallelism": node.parallelism, "uid": site.uid, "on_error": policy}
    if options["as"] == "aggregate":
        declared: DataStream[Any] = keyed.aggregate(Folding(reducing, fails), **more)
    else:
        declared = keyed.reduce(Reducing(site.ledger, site.uid, reducing, fails), **more)
    return declared


# batches


def _draw_batches(draw: Draw, of: list[Stream]) -> Node:
    options: dict[str, Any] = {
        "max_size": draw.choose([1, 2, 3, 10]),
        "max_wait": draw.choose([None, 0.0, 0.001, 0.02]),
    }
    options["fails"] = draw.integer(0, 3) == 0
    return Node("batches", (), draw.integer(1, 3), draw.choose(sorted(FUNCTIONS["map"])), options)


def _evaluate_batches(node: Node, of: list[Stream], _: Program) -> Stream:
    records = _results("map", node.choice, of[0].records)
    retried = None if node.options["fails"] else 0  # once for each batch, however many those are
    return Stream(records, _order(of[0], node.parallelism), node.parallelism, taken=len(records), retried=retried)


def _declare_batches(node: Node, site: Site) -> DataStream[Any]:
    options = node.options
    return site.inputs[0].map_batches(
        Batching(site.ledger, site.uid, "map", node.choice, options["max_size"], options["fails"]),
        max_size=options["max_size"],
        max_wait=options["max_wait"],
        parallelism=node.parallelism,
        uid=site.uid,
        on_error=POLICIES["retry"] if options["fails"] else None,
    )


# coroutines, and keyed state


def _draw_async(draw: Draw, of: list[Stream]) -> Node:
    options = {
        "concurrency": draw.choose([1, 2, 5]),
        "ordered": bool(draw.integer(0, 1)),
        "fails": draw.choose(["no", "skip", "retry"]),
    }
    return Node("async", (), draw.integer(1, 3), draw.choose(sorted(FUNCTIONS["map"])), options)


def _await(node: Node, of: list[Stream], _: Program) -> Stream:
    taken, fails = of[0].records, node.options["fails"]
    kept = [record for record in taken if not (fails == "skip" and refuses(record))]
    return Stream(
        _results("map", node.choice, kept),
        _order(of[0], node.parallelism) if node.options["ordered"] else "none",
        node.parallelism,
        taken=len(taken),
        given_up=len(taken) - len(kept),
        retried=sum(map(failures_before, taken)) if fails == "retry" else 0,
    )


def _declare_async(node: Node, site: Site) -> DataStream[Any]:
    fails = node.options["fails"]
    return site.inputs[0].map_async(
        Awaiting(site.ledger, site.uid, node.choice, fails),
        concurrency=node.options["concurrency"],
        ordered=node.options["ordered"],
        parallelism=node.parallelism,
        uid=site.uid,
        on_error=POLICIES.get(fails),
    )


def _draw_state(draw: Draw, of: list[Stream]) -> Node:
    options = {"before": draw.integer(1, 3), "fails": bool(draw.integer(0, 1))}
    return Node("state", (), draw.integer(1, 4), draw.choose(sorted(FUNCTIONS["keyed"])), options)


def _remember(node: Node, of: list[Stream], _: Program) -> Stream:
    taken = of[0].records
    kept = [record for record in taken if not (node.options["fails"] and refuses(record))]
    counts: Counter[Any] = Counter()
    records = []
    for key in (FUNCTIONS["keyed"][node.choice](record) for record in kept):
        counts[key] += 1
        records.append((key, counts[key]))
    return Stream(records, "none", node.parallelism, taken=len(taken), given_up=len(taken) - len(kept))


def _declare_state(node: Node, site: Site) -> DataStream[Any]:
    of_key, fails, before = FUNCTIONS["keyed"][node.choice], node.options["fails"], node.options["before"]
    keyed: Any = site.inputs[0].map(lambda value: (of_key(value), value), parallelism=before)
    keyed = keyed.keyby(first, parallelism=before)
    function, policy = Remembering(site.ledger, site.uid, fails), skip() if fails else None
    declared: DataStream[Any] = keyed.map(function, parallelism=node.parallelism, uid=site.uid, on_error=policy)
    return declared


# time


def _draw_ticking(draw: Draw, of: list[Stream]) -> Node:
    in_order = of[0].order == "exact" and of[0].parallelism == 1
    options = {
        "by place": in_order and bool(draw.integer(0, 1)),
        "before": draw.integer(1, 3),
        "fails": bool(draw.integer(0, 1)),
    }
    return Node("ticking", (), draw.integer(1, 4), draw.choose(sorted(FUNCTIONS["keyed"])), options)


def _timed(node: Node, records: list[Any]) -> list[tuple[int, Any]]:
    if node.options["by place"]:
        return [(time_at(place + 1, record), record) for place, record in enumerate(records)]
    return [(time_of(record), record) for record in records]


def _tick(node: Node, of: list[Stream], _: Program) -> Stream:
    taken = _timed(node, of[0].records)
    kept = [(time, record) for time, record in taken if not (node.options["fails"] and refuses(record))]
    counts = Counter((FUNCTIONS["keyed"][node.choice](record), end_of(time)) for time, record in kept)
    records = [(key, end, count) for (key, end), count in counts.items()]
    return Stream(records, "none", node.parallelism, taken=len(taken), given_up=len(taken) - len(kept))


def _with_times(node: Node, site: Site) -> DataStream[Any]:
    """Pairs of time and record, with that time."""
    if node.options["by place"]:
        stamped = site.inputs[0].map(Ordering(site.ledger, f"{site.uid}-order", "map", "same"))
        timed = stamped.assign_timestamps(first, out_of_order=JITTER)
        # Dealt out, so that watermarks take several ways, of which some are slower.
        return timed.rebalance().map(lambda pair: pair, parallelism=node.options["before"])
    stamped = site.inputs[0].map(lambda value: (time_of(value), value), parallelism=node.options["before"])
    return stamped.assign_timestamps(first, out_of_order=SPREAD, parallelism=node.options["before"])


def _declare_ticking(node: Node, site: Site) -> DataStream[Any]:
    of_key, fails = FUNCTIONS["keyed"][node.choice], node.options["fails"]
    keyed: Any = _with_times(node, site).keyby(lambda timed: of_key(timed[1]))
    function, policy = Ticking(site.ledger, site.uid, node.choice, fails), skip() if fails else None
    declared: DataStream[Any] = keyed.process(function, parallelism=node.parallelism, uid=site.uid, on_error=policy)
    return declared


WINDOWS: dict[str, Windows] = {
    "tumbling": Tumbling(STRETCH),
    "shifted": Tumbling(7, offset=3),
    "sliding": Sliding(STRETCH, 4),
    "session": Session(3),
}


def windows_of(window: Windows, times: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The windows of records of one key that have these times: for each time all that it is in."""
    if isinstance(window, Session):
        gap, first = int(window.gap), 0  # type: ignore[arg-type]
        ordered = sorted(times)
        for place in range(1, len(ordered) + 1):
            if place == len(ordered) or ordered[place] - ordered[place - 1] > gap:
                yield from [(ordered[first], ordered[place - 1] + gap)] * (place - first)
                first = place
        return
    assert isinstance(window, Tumbling | Sliding)
    size, offset = int(window.size), int(window.offset)  # type: ignore[arg-type]
    slide = int(window.slide) if isinstance(window, Sliding) else size  # type: ignore[arg-type]
    for time in times:
        start = (time - offset) // slide * slide + offset
        while start > time - size:
            yield (start, start + size)
            start -= slide


def _draw_window(draw: Draw, of: list[Stream]) -> Node:
    node = _draw_ticking(draw, of)
    into = draw.choose(["aggregate", "process"])
    options = {"window": draw.choose(sorted(WINDOWS)), "into": into}
    return replace(node, kind="window", options={**node.options, **options, "fails": into == "aggregate"})


def _cut(node: Node, of: list[Stream], _: Program) -> Stream:
    taken = _timed(node, of[0].records)
    kept = [(time, record) for time, record in taken if not (node.options["fails"] and refuses(record))]
    times: dict[Any, list[int]] = {}
    for time, record in kept:
        times.setdefault(FUNCTIONS["keyed"][node.choice](record), []).append(time)
    window = WINDOWS[node.options["window"]]
    records = [
        (key, start, end, count)
        for key, mine in times.items()
        for (start, end), count in Counter(windows_of(window, mine)).items()
    ]
    return Stream(records, "none", node.parallelism, taken=len(taken), given_up=len(taken) - len(kept))


def plain_window(result: WindowResult[int]) -> tuple[Any, int, int, int]:
    return (result.key, int(result.window.start), int(result.window.end), result.value)


def tell_window(key: Any, window: Window, records: Sequence[Any]) -> list[tuple[Any, int, int, int]]:
    return [(key, int(window.start), int(window.end), len(list(records)))]


def _declare_window(node: Node, site: Site) -> DataStream[Any]:
    of_key, fails = FUNCTIONS["keyed"][node.choice], node.options["fails"]
    keyed: Any = _with_times(node, site).keyby(lambda timed: of_key(timed[1]))
    windows = keyed.window(WINDOWS[node.options["window"]])
    more: dict[str, Any] = {"parallelism": node.parallelism, "uid": site.uid}
    declared: DataStream[Any]
    if node.options["into"] == "process":
        declared = windows.process(tell_window, **more)
        return declared
    policy = skip() if fails else None
    declared = windows.aggregate(Tallying(fails), with_window=True, on_error=policy, **more).map(
        plain_window, parallelism=node.parallelism
    )
    return declared


# joins, and loops


def pair_of(left: Any, right: Any) -> tuple[Any, Any]:
    return (left and left[1], right and right[1])


JOINS: dict[str, Mapping[str, Any]] = {
    "running": {},
    "interval": {"within": (-2, 3)},
    **{name: {"window": window} for name, window in WINDOWS.items()},
}


def _draw_join(draw: Draw, of: list[Stream]) -> Node:
    options = {
        "way": draw.choose(["running", "interval", draw.choose(sorted(WINDOWS))]),
        "how": draw.choose(["inner", "inner", "left", "right", "outer"]),
        "before": draw.integer(1, 3),
        "by place": False,
    }
    return Node("join", (), draw.integer(1, 4), draw.choose(sorted(FUNCTIONS["keyed"])), options)


Timed = tuple[int, Any]
Sides = tuple[list[Timed], list[Timed]]


def _join(node: Node, of: list[Stream], _: Program) -> Stream:
    sides = [_timed(node, stream.records) for stream in of]
    found = _joined(node, sides)
    records = [pair_of(left, right) for left, right in itertools.islice(found, MOST + 1)]  # more is too many anyway
    return Stream(records, "none", node.parallelism, taken=sum(map(len, sides)))


def _joined(node: Node, sides: Sequence[list[Timed]]) -> Iterator[tuple[Timed | None, Timed | None]]:
    by_key: dict[Any, Sides] = {}
    for side, records in enumerate(sides):
        for record in records:
            by_key.setdefault(FUNCTIONS["keyed"][node.choice](record[1]), ([], []))[side].append(record)
    for lefts, rights in by_key.values():
        if node.options["way"] == "interval":
            yield from _within(lefts, rights, node.options["how"])
            continue
        for some, others in _groups(lefts, rights, JOINS[node.options["way"]].get("window")):
            if some and others:
                yield from itertools.product(some, others)
            elif node.options["how"] in ("left", "outer") and not others:
                yield from ((left, None) for left in some)
            elif node.options["how"] in ("right", "outer") and not some:
                yield from ((None, right) for right in others)


def _groups(lefts: list[Timed], rights: list[Timed], window: Windows | None) -> Iterator[Sides]:
    """What meets: all records of a key, or those of each window."""
    if window is None:
        yield (lefts, rights)
        return
    spans = set(windows_of(window, [time for time, _ in (*lefts, *rights)]))
    for start, end in spans:
        last = end if isinstance(window, Session) else end - 1  # those of sessions end after their last record
        yield tuple([[record for record in side if start <= record[0] <= last] for side in (lefts, rights)])  # type: ignore[misc]


def _within(lefts: list[Timed], rights: list[Timed], how: str) -> Iterator[tuple[Timed | None, Timed | None]]:
    lower, upper = JOINS["interval"]["within"]
    at: tuple[dict[int, list[Timed]], dict[int, list[Timed]]] = ({}, {})
    for side, records in enumerate((lefts, rights)):
        for record in records:
            at[side].setdefault(record[0], []).append(record)
    for left in lefts:
        partners = [right for gap in range(lower, upper + 1) for right in at[1].get(left[0] + gap, ())]
        yield from ((left, right) for right in partners)
        if not partners and how in ("left", "outer"):
            yield (left, None)
    if how in ("right", "outer"):
        for right in rights:
            if not any(at[0].get(right[0] - gap) for gap in range(lower, upper + 1)):
                yield (None, right)


def _declare_join(node: Node, site: Site) -> DataStream[Any]:
    of_key = FUNCTIONS["keyed"][node.choice]
    timed: list[Any] = [_with_times(node, replace(site, inputs=[stream])) for stream in site.inputs]
    keyed: Any = timed[0].connect(timed[1]).keyby(*[lambda pair: of_key(pair[1])] * 2)
    how, way = node.options["how"], JOINS[node.options["way"]]
    declared: DataStream[Any] = keyed.join(pair_of, how=how, parallelism=node.parallelism, uid=site.uid, **way)
    return declared


def _go_round(node: Node, of: list[Stream], _: Program) -> Stream:
    records = []
    for left in map(number, of[0].records):
        value = abs(left)
        while True:
            records.append(value)
            if not value:
                break
            value //= 2
    return Stream(records, "none", node.parallelism, taken=len(records))


def _declare_loop(node: Node, site: Site) -> DataStream[Any]:
    """Each number is halved until nothing is left of it."""
    future: DataStream[Any] = site.env.from_future(f"{site.uid}-future")
    numbers = site.inputs[0].map(lambda value: abs(number(value))).union(future)
    halves = numbers.flatmap(lambda value: [value // 2] if value else None, parallelism=node.parallelism)
    halves.fill_future(future)
    return numbers.map(Watched(site.ledger, site.uid, "map", "same"), parallelism=node.parallelism, uid=site.uid)


def _draw_waiting(draw: Draw, of: list[Stream]) -> Node:
    options = {"key": draw.choose(sorted(FUNCTIONS["keyed"])), "seconds": draw.choose([0.0, 0.001, 0.02])}
    return Node("waiting", (), draw.integer(1, 3), draw.choose(sorted(FUNCTIONS["map"])), options)


def _wait(node: Node, of: list[Stream], _: Program) -> Stream:
    records = _results("map", node.choice, of[0].records)
    return Stream(records, "none", node.parallelism, taken=len(records))


def _declare_waiting(node: Node, site: Site) -> DataStream[Any]:
    keyed: Any = site.inputs[0].keyby(FUNCTIONS["keyed"][node.options["key"]])
    function = Waiting(site.ledger, site.uid, node.choice, node.options["seconds"])
    declared: DataStream[Any] = keyed.process(function, parallelism=node.parallelism, uid=site.uid)
    return declared


# what fails, and what leaves by the side


def _draw_failing(draw: Draw, of: list[Stream]) -> Node:
    kind, policy = draw.choose(["map", "filter", "flatmap"]), draw.choose(["skip", "dead_letter", "retry", "then skip"])
    choices = [name for name in sorted(FUNCTIONS[kind]) if name != "many"]
    return Node("failing", (), draw.integer(1, 3), draw.choose(choices), {"of": kind, "policy": policy})


def _evaluate_failing(node: Node, of: list[Stream], _: Program) -> Stream:
    taken, policy, stream = of[0].records, node.options["policy"], of[0]
    kept = taken if policy == "retry" else [record for record in taken if not refuses(record)]
    given_up = len(taken) - len(kept)
    return Stream(
        _results(node.options["of"], node.choice, kept),
        _order(stream, node.parallelism),
        node.parallelism,
        aside={"dead_letter": [record for record in taken if refuses(record)], "retry": list(taken)}.get(policy),
        letters=policy == "dead_letter",
        taken=len(taken),
        given_up=given_up,
        retried=sum(map(failures_before, taken)) if policy == "retry" else given_up if policy == "then skip" else 0,
    )


POLICIES: dict[str, ErrorPolicy] = {
    "skip": skip(),
    "dead_letter": dead_letter(),
    "retry": retry(2, backoff=0.0001),
    "then skip": retry(1, backoff=0.0001, then=skip()),
}


def _declare_failing(node: Node, site: Site) -> DataStream[Any]:
    kind, policy = node.options["of"], node.options["policy"]
    function = (Unsteady if policy == "retry" else Refusing)(site.ledger, site.uid, kind, node.choice)
    method = getattr(site.inputs[0], kind)
    declared: DataStream[Any] = method(function, parallelism=node.parallelism, uid=site.uid, on_error=POLICIES[policy])
    return declared


def _split(node: Node, of: list[Stream], _: Program) -> Stream:
    aside = [record for record in of[0].records if number(record) % 2]
    records = _results("map", node.choice, of[0].records)
    return Stream(records, _order(of[0], node.parallelism), node.parallelism, aside, taken=len(records))


def _declare_split(node: Node, site: Site) -> DataStream[Any]:
    function = Splitting(site.ledger, site.uid, "map", node.choice)
    return site.inputs[0].map(function, parallelism=node.parallelism, uid=site.uid)


def _draw_aside(draw: Draw, of: list[Stream]) -> Node:
    return Node("aside", (), draw.integer(1, 2), options={"letters": of[0].letters})


def _take_aside(node: Node, of: list[Stream], _: Program) -> Stream:
    assert of[0].aside is not None
    return Stream(of[0].aside, _order(of[0], node.parallelism), node.parallelism, taken=len(of[0].aside))


def _declare_aside(node: Node, site: Site) -> DataStream[Any]:
    stream = site.inputs[0]
    if node.options["letters"]:
        return stream.dead_letters.map(record_of, parallelism=node.parallelism, uid=site.uid)
    function = Watched(site.ledger, site.uid, "map", "same")
    return stream.side_output("aside").map(function, parallelism=node.parallelism, uid=site.uid)


# ends


def _draw_sink(draw: Draw, of: list[Stream]) -> Node:
    return Node(draw.choose(["sink", "sink", "sink", "publish"]), (), draw.integer(1, 2))


def _sink(node: Node, of: list[Stream], _: Program) -> Stream:
    return replace(of[0], aside=None, taken=len(of[0].records), given_up=0, retried=0)


def _declare_sink(node: Node, site: Site) -> DataStream[Any]:
    return site.inputs[0].sink(site.found.append, parallelism=node.parallelism, uid=site.uid)


def _publish(node: Node, of: list[Stream], _: Program) -> Stream:
    return replace(_sink(node, of, _), order="none")


def _declare_publish(node: Node, site: Site) -> DataStream[Any]:
    Ledger.of(site.ledger).unprepared += node.parallelism
    return site.inputs[0].to_connector(Publishing(site.ledger, site.uid), parallelism=node.parallelism, uid=site.uid)


def _no_draw(draw: Draw, of: list[Stream]) -> Node:
    raise TypeError("drawn with the data")


KINDS: dict[str, Kind] = {
    "source": Kind(_no_draw, _read, _declare_source, inputs=(0, 0)),
    "map": Kind(_of_choices("map"), _apply, _declare_watched),
    "filter": Kind(_of_choices("filter"), _apply, _declare_watched),
    "flatmap": Kind(_of_choices("flatmap"), _apply, _declare_watched),
    "filter_map": Kind(
        _draw_exchange("filter_map"),
        lambda node, of, _: replace(
            made := _apply(replace(node, kind="map"), of, _),
            records=[item for item in made.records if item is not None],
        ),
        lambda node, site: site.inputs[0].filter_map(
            Watched(site.ledger, site.uid, "map", node.choice), parallelism=node.parallelism, uid=site.uid
        ),
    ),
    "keyed": Kind(_draw_keyed, _reduce, _declare_keyed),
    "batches": Kind(_draw_batches, _evaluate_batches, _declare_batches),
    "async": Kind(_draw_async, _await, _declare_async),
    "state": Kind(_draw_state, _remember, _declare_state),
    "ticking": Kind(_draw_ticking, _tick, _declare_ticking),
    "window": Kind(_draw_window, _cut, _declare_window),
    "waiting": Kind(_draw_waiting, _wait, _declare_waiting),
    "union": Kind(_draw_union, _unite, lambda node, site: site.inputs[0].union(*site.inputs[1:]), inputs=(1, 3)),
    "comap": Kind(_draw_comap, _comap, _declare_comap, inputs=(2, 3)),
    "join": Kind(_draw_join, _join, _declare_join, inputs=(2, 2)),
    "loop": Kind(_draw_exchange("loop"), _go_round, _declare_loop),
    "broadcast": Kind(_draw_exchange("broadcast"), _exchange, _declare_exchange),
    "rebalance": Kind(_draw_exchange("rebalance"), _exchange, _declare_exchange),
    "path": Kind(_draw_path, _follow, _declare_path),
    "failing": Kind(_draw_failing, _evaluate_failing, _declare_failing),
    "split": Kind(_draw_exchange("split"), _split, _declare_split),
    "aside": Kind(_draw_aside, _take_aside, _declare_aside, aside=True),
    "bomb": Kind(
        _no_draw,
        lambda node, of, _: Stream(of[0].records, _order(of[0], 1), 1, taken=len(of[0].records)),
        lambda node, site: site.inputs[0].map(Exploding(site.ledger, site.uid, node.options["at"]), uid=site.uid),
    ),
    "sink": Kind(_draw_sink, _sink, _declare_sink),
    "publish": Kind(_draw_sink, _publish, _declare_publish),
    # New operators go here: how to draw a node, what it makes of lists, how it is declared.
}
DRAWN = sorted(set(KINDS) - {"source", "bomb", "sink", "publish"})
DRAWN += ["keyed", "map", "path", "aside", "join"]  # more often than the others


def _draw_source(draw: Draw, data: int) -> Node:
    choice = draw.choose(["collection", "collection", "batch", "source", "read"])
    shelves = draw.integer(1, 3) if choice == "read" else 1
    return Node("source", (), draw.integer(1, shelves), choice, {"data": data, "shelves": shelves})


def draw_program(draw: Draw, *, most: int = MOST, nodes: int = 9, bomb: bool = False) -> Program:
    """A random pipeline with its input. Every stream ends somewhere; streams stay small.

    Args:
        draw: the randomness.
        most: records that a stream may hold.
        nodes: how many there may be, beside sources and sinks.
        bomb: whether a function may fail the job.
    """
    data = tuple(tuple(draw.value() for _ in range(draw.integer(0, 12))) for _ in range(draw.integer(1, 3)))
    sources = [_draw_source(draw, place) for place in range(len(data))]
    program = Program(tuple(sources), data)
    streams = [_read(node, [], program) for node in sources]
    found = list(sources)
    for _ in range(draw.integer(0, nodes)):
        name = draw.choose(DRAWN)
        kind = KINDS[name]
        places = [place for place, stream in enumerate(streams) if stream.aside is not None or not kind.aside]
        if not places:
            continue
        inputs = tuple(draw.choose(places) for _ in range(draw.integer(*kind.inputs)))
        of = [streams[place] for place in inputs]
        node = replace(kind.draw(draw, of), inputs=inputs)
        stream = kind.evaluate(node, of, program)
        if len(stream.records) <= most:
            found.append(node)
            streams.append(stream)
    if bomb:
        place = draw.integer(0, len(found) - 1)
        if streams[place].records:
            at = draw.integer(1, len(streams[place].records))
            found.append(Node("bomb", (place,), 1, options={"at": at}))
            streams.append(KINDS["bomb"].evaluate(found[-1], [streams[place]], program))
    taken = {node.inputs[0] for node in found if node.kind == "aside"}
    for place, stream in enumerate(streams):
        if stream.letters and place not in taken:  # dead letters have to go somewhere
            found.append(replace(_draw_aside(draw, [stream]), inputs=(place,)))
    read = {place for node in found for place in node.inputs}
    ends = [place for place in range(len(found)) if place not in read or draw.integer(0, 3) == 0]
    sinks = [replace(_draw_sink(draw, []), inputs=(place,)) for place in ends]
    program = Program((*found, *sinks), data)
    if bomb or program.holds_back or not draw.integer(0, 2):
        return program
    # All of them, since what a source gives would otherwise end with it.
    patient = [
        replace(node, choice="source", parallelism=1) if node.kind == "source" else node for node in program.nodes
    ]
    waiting = Program(tuple(patient), data, patient=True)
    # Where None ends a source of one kind, it has more records as another: streams may have become too large.
    return waiting if all(len(stream.records) <= most for stream in waiting.evaluate()) else program


# ---- runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A program on its way through SAGE.

    Attributes:
        graph: the program as a graph.
        found: by node, the lists that the sinks fill.
        ledger: what its functions live through.
    """

    program: Program
    graph: LogicalGraph
    found: dict[int, list[Any]]
    ledger: Ledger

    @classmethod
    def of(cls, program: Program) -> Run:
        env, ledger = LocalEnvironment("random"), Ledger()
        streams: list[DataStream[Any]] = []
        found: dict[int, list[Any]] = {}
        for place, node in enumerate(program.nodes):
            into: list[Any] = []
            if node.kind == "sink":
                found[place] = into
            inputs = [streams[number] for number in node.inputs]
            site = Site(env, program, ledger.number, f"n{place}", inputs, into)
            streams.append(KINDS[node.kind].declare(node, site))
        if program.patient:
            expected = sum(
                len(stream.records)
                for node, stream in zip(program.nodes, program.evaluate(), strict=True)
                if node.kind == "sink"
            )
            ledger.may_end = lambda: sum(map(len, found.values())) >= expected
        return cls(program, env._builder.build(), found, ledger)


def run(program: Program, backend: Backend, prepare: Callable[[Coordinator, Ledger], None] | None = None) -> str:
    """Run a program and check what it gives.

    Args:
        prepare: called before the job runs.

    Returns:
        the state that it has ended in.

    Raises:
        AssertionError: it gives something else.
    """
    made = Run.of(program)
    try:
        job = Coordinator(made.graph, backend, Attempt("random", "random"))
        job.start()
        if prepare is not None:
            prepare(job, made.ledger)
        assert job.join(LIMIT), "the job does not end"
        check(made, job)
    finally:
        made.ledger.close()
    return job.state


def check(made: Run, job: Coordinator) -> None:
    """Whether a job has ended as it should, and given what it should."""
    program, metrics = made.program, job.metrics()
    explodes = any(node.kind == "bomb" for node in program.nodes)
    if isinstance(job.error, SimulationError):
        raise AssertionError(str(job.error))
    if job.state == "failed":
        assert explodes, job.failure and f"{job.failure.message}\n{job.failure.traceback}"
        assert isinstance(job.error, Broken), job.failure
    else:
        assert job.state == "cancelled" or (job.state == "completed" and not explodes), job.state
    assert made.ledger.problems == []
    assert job.state != "failed" or not made.ledger.published, "a job that has failed has published something"
    assert +made.ledger.alive == Counter(), "functions that were opened are not closed"
    assert metrics.running_tasks == 0
    _check_streams(made, metrics, whole=job.state == "completed")


def _check_streams(made: Run, metrics: JobMetrics, *, whole: bool) -> None:
    program = made.program
    counts = {item.uid: item for item in metrics.operators}
    aside = {node.inputs[0] for node in program.nodes if node.kind == "aside"}
    streams = program.evaluate()
    for place, (node, stream) in enumerate(zip(program.nodes, streams, strict=True)):
        if node.kind == "sink":
            _check_sink(node, streams[node.inputs[0]], made.found[place], whole=whole)
        if node.kind == "publish":
            handles = made.ledger.published.get(f"n{place}", [])
            records = Counter(exactly(record) for handle in handles for record in handle)
            assert records == Counter(map(exactly, stream.records)) or not whole, f"what {node} has published"
            assert len(handles) <= node.parallelism, f"{node} has published more than once"
        if stream.taken is not None and whole:
            counted, out = counts[f"n{place}"], 0 if node.kind in ("sink", "publish") else len(stream.records)
            if place in aside:
                out += len(stream.aside or ())
            what = f"the counts of n{place}, {node}"
            assert (counted.records_in, counted.records_out) == (stream.taken, out), what
            assert counted.skipped + counted.dead_lettered == stream.given_up, what
            assert stream.retried is None or counted.retried == stream.retried, what


def _check_sink(node: Node, expected: Stream, got: list[Any], *, whole: bool) -> None:
    should, does = Counter(map(exactly, expected.records)), Counter(map(exactly, got))
    assert does == should if whole else does <= should, f"{node}: {does - should} too many, {should - does} too few"
    if node.parallelism == 1 and expected.order == "exact" and expected.parallelism == 1:
        assert [*map(exactly, got)] == [*map(exactly, expected.records[: len(got)])], f"the order at {node}"
    if node.parallelism == 1 and expected.order == "per key":
        for key in {record[0] for record in expected.records}:
            mine = [exactly(item) for item in got if item[0] == key]
            should_be = [exactly(item) for item in expected.records if item[0] == key]
            assert mine == should_be[: len(mine)], f"the order of key {key!r} at {node}"


def exactly(record: Any) -> str:
    """A record with its type; but of keys that are equal (1, True, 1.0) any may stand for all, so in tuples they do."""
    return repr(_alike(record) if isinstance(record, tuple) else record)


def _alike(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(map(_alike, part))
    return float(part) + 0.0 if isinstance(part, int | float) else part
