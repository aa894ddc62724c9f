"""Generated code: names, sites and tracebacks; deep and wide chains compile and run."""

from __future__ import annotations

import linecache
import traceback
from typing import Any

import pytest

from sage.core.api import LocalEnvironment
from sage.core.engine.code import Code

LIMIT = 60.0


def fail(value: Any) -> Any:
    raise LookupError(value)


def compiled() -> tuple[Code, Any]:
    code = Code("test")
    at_end = f"{code.bind('seen', seen)}.append('end')"
    with code.function("def run(records):", lambda: code.line(at_end)), code.block("for record in records:"):
        code.line("pass")
        code.call(f"{code.fast('fail', fail)}(record)", "operator", "record")
    return code, code.compile()["run"]


seen: list[str] = []


def test_an_error_is_located_by_its_line() -> None:
    """The site tells whose call failed; the record and the user's frames come with it; the end has run."""
    seen.clear()
    code, run = compiled()
    with pytest.raises(LookupError) as caught:
        run([1])
    site, record, trace = code.locate(caught.value)
    assert site is not None
    assert (site.operator, record) == ("operator", 1)
    assert trace is not None
    assert trace.tb_frame.f_code.co_name == "fail"
    assert seen == ["end"]


def test_an_error_from_elsewhere_has_no_site() -> None:
    """What did not pass through this code is not ascribed to anybody."""
    code, _ = compiled()
    with pytest.raises(ValueError) as caught:
        int("x")
    assert code.locate(caught.value) == (None, None, caught.value.__traceback__)


def test_the_source_shows_in_tracebacks_until_it_is_forgotten() -> None:
    """A traceback shows generated lines, and nothing is left behind afterwards."""
    code, run = compiled()
    with pytest.raises(LookupError) as caught:
        run([1])
    assert "(record)" in "".join(traceback.format_exception(caught.value))
    code.forget()
    code.forget()
    assert code.filename not in linecache.cache


def test_names_never_clash() -> None:
    """Two bindings of one stem are two names."""
    code = Code("names")
    assert len({code.name("x"), code.bind("x", 1), code.fast("x", 2), code.counter("x"), code.local("x", "3")}) == 5


def one(value: int) -> int:
    return value + 1


def keep(value: int) -> bool:
    return True


def once(value: int) -> list[int]:
    return [value]


@pytest.mark.parametrize(("kind", "length"), [("map", 200), ("filter", 60), ("flatmap", 30)])
def test_deep_chains_run(backend: str, kind: str, length: int) -> None:
    """However many operators follow one another, Python's limits on nesting are not met."""
    out: list[int] = []
    env = LocalEnvironment(backend=backend)
    stream = env.from_batch(range(5))
    for _ in range(length):
        stream = getattr(stream, kind)({"map": one, "filter": keep, "flatmap": once}[kind])
    stream.sink(out.append)
    env.submit(autostop=True, timeout=LIMIT)
    assert out == [number + (length if kind == "map" else 0) for number in range(5)]


def test_deep_chains_of_all_kinds_run(backend: str) -> None:
    """Loops in conditions in loops, with a final reduce at the bottom and more of the same behind it."""
    out: list[int] = []
    env = LocalEnvironment(backend=backend)
    stream = env.from_batch(range(5))
    for _ in range(15):
        stream = stream.map(one).filter(keep).flatmap(once).keyby(one).reduce(one_of)
    stream = stream.reduce(one_of, final=True)
    for _ in range(15):
        stream = stream.flatmap(once).filter(keep).reduce(one_of)
    stream.sink(out.append)
    env.submit(autostop=True, timeout=LIMIT)
    assert out == [19]


def one_of(accumulated: int, value: int) -> int:
    return value


def test_a_wide_fan_out_runs(backend: str) -> None:
    """Hundreds of branches of one stream: each gets every record, in order."""
    outs: list[list[int]] = [[] for _ in range(300)]
    env = LocalEnvironment(backend=backend)
    source = env.from_batch(range(10))
    for number, out in enumerate(outs):
        source.map(one).sink(out.append, name=f"sink {number}")
    env.submit(autostop=True, timeout=LIMIT)
    assert all(out == list(range(1, 11)) for out in outs)


def test_names_of_users_get_into_no_source(backend: str) -> None:
    """Names that are no identifiers, or would end a string, are data and never code."""
    out: list[int] = []
    env = LocalEnvironment('"""; raise SystemExit', backend=backend)
    env.from_batch([1]).map(one, name="x\n'\"); import os #", uid='"""').sink(out.append, name="def")
    env.submit(autostop=True, timeout=LIMIT)
    assert out == [2]
