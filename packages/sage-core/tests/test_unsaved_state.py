"""What functions change outside of themselves is told, and nothing else is."""

from __future__ import annotations

import collections
import functools
import logging
import os
import queue
import re
import subprocess
import sys
import textwrap
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy
import pytest

from sage.core.api import (
    AggregateFunction,
    BatchFunction,
    CoMapFunction,
    DataStream,
    LocalEnvironment,
    MapFunction,
    RemoteEnvironment,
    StateWarning,
)
from sage.core.api._packing import pack
from sage.core.graph.unsaved import unsaved_state

HERE = Path(__file__).name
ROOT = Path(__file__).parents[3]

log = logging.getLogger(__name__)
seen: set[Any] = set()
counts: dict[Any, Any] = {}
table = {"a": 1}
words = ["a", "b"]
total = 0
model: Any = None
newest: Any = None
array = numpy.zeros(3)
local = threading.local()
box = types.SimpleNamespace(items=[], count=0)
pattern = re.compile("x")
helpers = types.ModuleType("helpers")


def told(function: Any, *args: Any, declare: str = "map") -> list[str]:
    """What is said of a function."""
    stream: DataStream[Any] = LocalEnvironment().from_batch([1])
    getattr(stream, declare)(function, *args)
    graph, _ = stream._environment._builder.draft()
    return [found.what for found in unsaved_state(graph)]


class Tally:
    total = 0

    def __init__(self) -> None:
        self.count = 0
        self.seen: set[Any] = set()

    def __call__(self, value: Any) -> int:
        self.count += 1
        return self.count

    def remember(self, value: Any) -> None:
        self.seen.add(value)

    def knows(self, value: Any) -> bool:
        return value in self.seen

    @staticmethod
    def everywhere(value: Any) -> None:
        Tally.total += 1


# Globals


def assigns(value: Any) -> None:
    global total
    total += value


def assigns_always(value: Any) -> None:
    global newest
    newest = value


def deletes(value: Any) -> None:
    global total
    del total


def adds(value: Any) -> bool:
    if value in seen:
        return False
    seen.add(value)
    return True


def sets_item(value: Any) -> None:
    counts[value] = counts.get(value, 0) + 1


def adds_to_item(value: Any) -> None:
    counts[value] += 1


def deletes_item(value: Any) -> None:
    del counts[value]


def sets_inner_item(value: Any) -> None:
    counts["a"]["b"] = value


def fills_item(value: Any) -> None:
    counts.setdefault(value, []).append(value)


def fills_inner_list(value: Any) -> None:
    counts["a"].append(value)


def sets_in_array(value: Any) -> None:
    array[0] = value


def sets_attribute(value: Any) -> None:
    box.count = value


def adds_to_attribute(value: Any) -> None:
    box.count += value


def fills_attribute(value: Any) -> None:
    box.items.append(value)


def through_another(value: Any) -> Any:
    return adds(value)


def recursive(value: Any) -> Any:
    return recursive(value) if value else adds(value)


def within_another(value: Any) -> Any:
    def inner() -> None:
        seen.add(value)

    return [seen.add(each) for each in value], inner, lambda: counts.clear()  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (assigns, "assigns the global variable 'total'"),
        (assigns_always, "assigns the global variable 'newest'"),
        (deletes, "assigns the global variable 'total'"),
        (adds, "changes the global set 'seen'"),
        (sets_item, "changes the global dict 'counts'"),
        (adds_to_item, "changes the global dict 'counts'"),
        (deletes_item, "changes the global dict 'counts'"),
        (sets_inner_item, "changes the global dict 'counts'"),
        (fills_item, "changes the global dict 'counts'"),
        (fills_inner_list, "changes the global dict 'counts'"),
        (sets_in_array, "changes the global ndarray 'array'"),
        (sets_attribute, "changes the global SimpleNamespace 'box'"),
        (adds_to_attribute, "changes the global SimpleNamespace 'box'"),
        (fills_attribute, "changes the global SimpleNamespace 'box'"),
        (through_another, "changes the global set 'seen'"),
        (recursive, "changes the global set 'seen'"),
        (lambda value: seen.add(value), "changes the global set 'seen'"),
        (lambda value: words.sort() or value, "changes the global list 'words'"),
        (functools.partial(adds), "changes the global set 'seen'"),
        (Tally.everywhere, "changes the global class 'Tally'"),
    ],
)
def test_globals_that_are_changed(function: Any, what: str) -> None:
    """Whether the variable is assigned or what it holds is changed, here or in a function that is called."""
    assert told(function) == [what]


def test_functions_within_functions() -> None:
    """What stands in a function belongs to it."""
    assert told(within_another) == ["changes the global set 'seen'", "changes the global dict 'counts'"]


def test_functions_of_own_modules_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are called by way of their module, and only these; fifty of them at most."""
    source = "seen = []\n\n\ndef count(value):\n    seen.append(value)\n\n\ndef step0(value):\n    count(value)\n"
    source += "".join(f"\n\ndef step{n}(value):\n    step{n - 1}(value)\n" for n in range(1, 60))
    folder = tmp_path / "own_helpers"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "counting.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    package = __import__("own_helpers.counting")
    monkeypatch.setitem(globals(), "own", package)

    def calls(value: Any) -> Any:
        return own.counting.count(value)  # type: ignore[name-defined]  # noqa: F821

    def has_the_name(value: Any) -> Any:
        return own, value.counting.count(value)  # type: ignore[name-defined]  # noqa: F821

    assert told(calls) == ["changes the global list 'seen'"]
    assert told(has_the_name) == []
    assert told(package.counting.step40) == ["changes the global list 'seen'"]
    assert told(package.counting.step59) == []


# Variables of functions around, and what is bound


def closures() -> dict[str, Callable[..., Any]]:
    number = 0
    filled: list[Any] = []
    read = {"a": 1}
    lazily = None

    def counts_up(value: Any) -> int:
        nonlocal number
        number += 1
        return number

    def fills(value: Any) -> None:
        filled.append(value)

    def reads(value: Any) -> Any:
        return read.get(value, read["a"]), len(filled)

    def makes_once(value: Any) -> Any:
        nonlocal lazily
        if lazily is None:
            lazily = object()
        return lazily

    def calls(value: Any) -> Any:
        return fills(value)

    return {each.__name__: each for each in (counts_up, fills, reads, makes_once, calls)}


def test_variables_of_the_function_around() -> None:
    """A closure's variables that are assigned or changed, and none that are only read."""
    given = closures()
    assert told(given["counts_up"]) == ["assigns 'number', a variable of the function around it"]
    assert told(given["fills"]) == ["changes the list 'filled' of the function around it"]
    assert told(given["calls"]) == ["changes the list 'filled' of the function around it"]
    assert told(given["reads"]) == []
    assert told(given["makes_once"]) == []


def fills_first(kept: list[Any], value: Any) -> None:
    kept.append(value)


def fills_default(value: Any, kept: list[Any] = []) -> None:  # noqa: B006
    kept.append(value)


def fills_keyword(value: Any, *, kept: dict[Any, Any] = {}) -> None:  # noqa: B006
    kept[value] = 1


def fills_record(value: Any, other: Any = None) -> Any:
    value.append(1)
    value["a"] = 2
    value.count = 3
    return value


def replaces_default(value: Any, kept: list[Any] = []) -> None:  # noqa: B006
    kept = list(kept)
    kept.append(value)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (functools.partial(fills_first, []), ["changes the list that is bound to it as 'kept'"]),
        (functools.partial(fills_default, kept=[]), ["changes the list that is bound to it as 'kept'"]),
        (fills_default, ["changes the list that is bound to it as 'kept'"]),
        (fills_keyword, ["changes the dict that is bound to it as 'kept'"]),
        (Tally(), ["changes the Tally it belongs to"]),
        (Tally().remember, ["changes the Tally it belongs to"]),
        (functools.partial(Tally.remember, Tally()), ["changes the Tally it belongs to"]),
        ([].append, ["calls append of a list of this program"]),
        (set().add, ["calls add of a set of this program"]),
        (collections.deque[int]().appendleft, ["calls appendleft of a deque of this program"]),
        (collections.Counter[str]().update, ["calls update of a Counter of this program"]),
        (functools.partial(list.append, []), ["calls append of a list of this program"]),
        (functools.partial([].append), ["calls append of a list of this program"]),
        (Tally().knows, []),
        (fills_record, []),
        (replaces_default, []),
        ({"a": 1}.get, []),
        ([1].index, []),
        (list.append, []),
    ],
)
def test_what_is_bound_to_a_function(function: Any, what: list[str]) -> None:
    """Arguments, defaults and objects that are the same at each call; records are not."""
    assert told(function, declare="sink") == what


# Function classes


class Kept(MapFunction):
    """Attributes are state, however they are made."""

    def __init__(self) -> None:
        self.seen: set[Any] = set()
        self.count = 0

    def execute(self, value: Any) -> Any:
        self.seen.add(value)
        self.count += 1
        self.newest = [value]
        self.newest.append(value)
        return value


class MadeInOpen(MapFunction):
    kept: list[Any] = []  # noqa: RUF012

    def open(self, context: Any) -> None:
        global model
        model = object()
        self.kept = []

    def execute(self, value: Any) -> Any:
        self.kept.append(value)
        return value


@dataclass
class Data(MapFunction):
    factor: int = 2
    kept: list[Any] = field(default_factory=list)
    constants: ClassVar[dict[str, int]] = {"a": 1}

    def execute(self, value: Any) -> Any:
        self.kept.append(value)
        return self.constants.get(value)


class Shared(MapFunction):
    seen: set[Any] = set()  # noqa: RUF012

    def execute(self, value: Any) -> Any:
        self.seen.add(value)
        return value


class Derived(Shared): ...


class Global(MapFunction):
    def execute(self, value: Any) -> Any:
        self.note(value)
        return value

    def note(self, value: Any) -> None:
        counts[value] = 1


class Summing(AggregateFunction):
    def create(self) -> dict[str, int]:
        return {}

    def add(self, accumulator: dict[str, int], value: Any, /) -> dict[str, int]:
        accumulator[value] = 1
        accumulator.update(a=2)
        return accumulator


class Numbers(BatchFunction):
    left = 3

    def execute(self) -> int | None:
        self.left -= 1
        return self.left if self.left >= 0 else None


class Slotted:
    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[Any] = []

    def execute(self, value: Any) -> Any:
        self.items.append(value)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (Kept, []),
        (Kept(), []),
        (MadeInOpen, []),
        (Data, []),
        (Slotted, []),
        (Shared, ["changes the set 'seen' that all instances of Shared share"]),
        (Shared(), ["changes the set 'seen' that all instances of Shared share"]),
        (Derived, ["changes the set 'seen' that all instances of Derived share"]),
        (Global, ["changes the global dict 'counts'"]),
    ],
)
def test_attributes_are_state_and_what_a_class_shares_is_not(function: Any, what: list[str]) -> None:
    """A list in the body of a class is one for all subtasks of a process, and is saved with none."""
    assert told(function) == what


class Dedup(MapFunction):
    def __init__(self, words: list[Any] = [], seen: Any = {}, /, *, names: list[Any] = []) -> None:  # noqa: B006
        self.words = words
        self.seen: Any = seen
        self.renamed = names

    def execute(self, value: Any) -> Any:
        self.words.append(value)
        self.seen[value] = 1
        self.renamed.clear()
        return value


class DerivedDedup(Dedup):
    """Takes the constructor of its base."""


class Careful(MapFunction):
    """Each of these is a container of its own, or nobody's to change."""

    def __init__(
        self,
        words: list[Any] = [],  # noqa: B006
        seen: list[Any] = [],  # noqa: B006
        rows: list[Any] = [],  # noqa: B006
        more: list[Any] = [],  # noqa: B006
        late: list[Any] = [],  # noqa: B006
        read: list[Any] = [],  # noqa: B006
        none: Any = None,
    ) -> None:
        self.words = list(words)
        self.seen = seen or []
        rows = rows or []
        self.rows = rows
        self.more = more
        if not more:
            self.more = []
        self.other = [] if not seen else seen  # noqa: SIM212 - the order in which they are loaded
        self.late = late
        self.read = read
        self.none = [] if none is None else none

    def open(self, context: Any) -> None:
        self.late = []

    def execute(self, value: Any) -> Any:
        for each in (self.words, self.seen):
            each.append(value)
        self.words.append(value)
        self.seen.append(value)
        self.rows.append(value)
        self.more.append(value)
        self.other.append(value)
        self.late.append(value)
        self.none.append(value)
        return value in self.read


def test_a_default_of_the_constructor_is_one_for_all_instances() -> None:
    """Python makes it once, with the class; what is given instead is copied, as an instance is."""
    words = "changes the list 'words' that all instances of Dedup share, a default of __init__"
    seen = "changes the dict 'seen' that all instances of Dedup share, a default of __init__"
    renamed = "changes the list 'renamed' that all instances of Dedup share, a default of __init__"
    assert told(Dedup) == [words, seen, renamed]
    assert told(Dedup, []) == [seen, renamed]
    assert told(Dedup, [], {}) == [renamed]
    assert told(Dedup()) == []
    assert told(DerivedDedup)[0] == words.replace("Dedup", "DerivedDedup")
    assert told(Careful) == []


def test_a_default_given_by_name() -> None:
    """An argument given by its name replaces it as well."""
    stream: DataStream[Any] = LocalEnvironment().from_batch([1])
    stream.map(Dedup, [], {}, names=[])
    graph, _ = stream._environment._builder.draft()
    assert unsaved_state(graph) == ()


def test_an_instance_with_an_attribute_of_its_own() -> None:
    """It hides that of the class."""
    function = Shared()
    function.seen = set()
    assert told(function) == []


def test_other_kinds_of_operators() -> None:
    """Sources, aggregates, and one function for each of several streams."""

    class Both(CoMapFunction):
        def map0(self, value: Any) -> None:
            seen.add(value)

        def map1(self, value: Any) -> None:
            counts[value] = 1

    def generated() -> Iterator[int]:
        seen.clear()
        yield 1

    env = LocalEnvironment()
    one, two = env.from_batch(Numbers), env.from_batch(generated)
    one.aggregate(Summing).print()
    one.connect(two).comap(Both).print()
    one.connect(two).comap(adds, seen.discard).print()
    one.collect()
    found = unsaved_state(env._builder.build())
    assert [(each.operator.uid, each.what) for each in found] == [
        ("collection:generated", "changes the global set 'seen'"),
        ("comap:Both", "changes the global set 'seen'"),
        ("comap:Both", "changes the global dict 'counts'"),
        ("comap:adds+set.discard", "changes the global set 'seen'"),
        ("comap:adds+set.discard", "calls discard of a set of this program"),
    ]


# No false alarms


def reads_globals(value: Any) -> Any:
    log.info("%s", value)
    return table[value], table.get(value), len(words), value in seen, sorted(seen), pattern.match("x"), os.sep


def works_on_copies(value: Any) -> Any:
    mine = dict(table)
    mine[value] = 1
    mine.update(a=2)
    dict(table).update(a=2)
    table.copy().pop("a")
    counts.get(value, []).append(1)
    other = [*words]
    other.append(value)
    return [other.append(each) for each in words]  # type: ignore[func-returns-value]


def makes_once(value: Any) -> Any:
    global model
    if model is None:
        model = object()
    return model


def makes_once_if_false(value: Any) -> Any:
    global model
    if not model:
        model = object()
    return model


def per_thread(value: Any) -> Any:
    local.connection = value
    return local


def of_libraries(value: Any) -> Any:
    os.environ.get("X")
    sys.path.append("x")
    return textwrap.dedent(value)


def shadows(seen: Any) -> None:
    seen.add(1)


def unknown(value: Any) -> Any:
    return missing.append(value)  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    "function",
    [
        reads_globals,
        works_on_copies,
        makes_once,
        makes_once_if_false,
        per_thread,
        of_libraries,
        shadows,
        unknown,
        print,
        len,
        str,
        str.upper,
        Tally,
        int("3").__add__,
        sys.stdout.write,
        log.info,
        log,
        queue.Queue[int]().put,
        numpy.sin,
        pattern.match,
        "x".join,
        functools.partial(pow, 2),
        functools.cache(reads_globals),
        logging.getLogger,
        types.SimpleNamespace(execute=print),
        3,
        None,
    ],
    ids=repr,
)
def test_what_is_no_state(function: Any) -> None:
    """Constants, modules, loggers, functions, copies, what is made once, what libraries do, and what is no function."""
    assert told(function) == []


def test_objects_that_raise_when_they_are_looked_at() -> None:
    """Nothing is said of them, and nothing is called."""

    class Odd:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    odd, names = Odd(), {"__name__": "odd"}
    exec("def f(value): odd.items.append(value); odd.count = 1; odd[value] = 2", names | {"odd": odd}, names)
    told(names["f"])
    told(functools.partial(fills_first, odd))  # type: ignore[arg-type]


# The warning


def warned(env: LocalEnvironment, folder: Path) -> list[warnings.WarningMessage]:
    """The warnings when a pipeline is packed, as it is for every job of a JobManager."""
    graph = env._builder.build()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        pack(folder / "a.sagepkg", graph, env.env_uuid, None)
    return caught


def test_a_job_that_runs_elsewhere_warns(tmp_path: Path) -> None:
    """Once for each operator, at its line, with what to do."""
    env = LocalEnvironment()
    numbers = env.from_batch([1])
    line = sys._getframe().f_lineno
    numbers.map(through_another).sink(print)
    numbers.sink(list[int]().append)
    first, second = warned(env, tmp_path)
    assert (first.category, first.filename, first.lineno) == (StateWarning, __file__, line + 1)
    assert str(first.message) == (
        f"map 'through_another' changes the global set 'seen' ({HERE}:{adds.__code__.co_firstlineno + 3}): the job runs"
        " in another process and changes a copy there, which is not saved with it; keep it in an attribute of a"
        " function class, which is saved with the job"
    )
    assert (second.category, second.lineno) == (StateWarning, line + 2)
    assert str(second.message) == (
        "sink 'list.append' calls append of a list of this program: the job runs in another process and changes a copy"
        " there, which is not saved with it; write the records somewhere, or run the pipeline on a LocalEnvironment"
    )


def test_submitting_to_a_jobmanager_warns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is sent; as an error where warnings are."""
    monkeypatch.setenv("SAGE_HOME", str(tmp_path))
    env = RemoteEnvironment(host="127.0.0.1", port=1, token="t")
    env.from_batch([1]).sink(list[int]().append)
    with pytest.raises(StateWarning, match="calls append of a list"):
        env.submit()


def test_a_job_of_this_process_does_not_warn() -> None:
    """Here a list that is filled is what its author meant."""
    for backend in ("inline", "local"):
        records: list[int] = []
        env = LocalEnvironment(backend=backend)
        env.from_batch([1, 2]).sink(records.append)
        env.submit(autostop=True)
        assert records == [1, 2]


def test_a_local_job_in_other_processes_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a backend says of itself decides, not the environment."""

    class Elsewhere:
        capabilities = frozenset({"processes"})

    monkeypatch.setattr("sage.core.plugins.backend", lambda name, options=None: Elsewhere())
    env = LocalEnvironment()
    env.from_batch([1]).sink(list[int]().append)
    with pytest.raises(StateWarning, match="calls append of a list"):
        env.submit()
    assert env.get_job_status()["status"] == "not_submitted"


PROGRAMS = sorted(path for path in (ROOT / "examples").rglob("*.py") if "submit" in path.read_text())


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_examples_do_not_warn(program: Path, tmp_path: Path) -> None:
    """None of our own programs keeps anything where it is lost: seen by packing what they submit."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(program)],
        cwd=tmp_path,
        env={**os.environ, "SAGE_CAPTURE": str(tmp_path), "SAGE_HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert "StateWarning" not in done.stdout, done.stdout
    assert list(tmp_path.glob("*.sagepkg")), done.stdout
