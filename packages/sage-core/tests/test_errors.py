"""The tree of errors: what its drawing says is what it is, and every error survives a process border."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any, cast

import pytest

from sage.core import errors
from sage.core.errors import GraphError, Problem, SageError
from sage.core.models import FailureInfo

CLASSES = sorted(
    (item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, SageError)),
    key=lambda item: item.__name__,
)


def test_all_names_every_class() -> None:
    """``__all__`` is what the module defines for others, sorted."""
    defined = {
        name
        for name, item in vars(errors).items()
        if isinstance(item, type) and item.__module__ == errors.__name__ and not name.startswith("_")
    }
    assert set(errors.__all__) == defined
    assert list(errors.__all__) == sorted(errors.__all__)


def _tree() -> dict[str, tuple[str | None, int | None]]:
    """The drawing in the docstring: parent and exit code by class."""
    found: dict[str, tuple[str | None, int | None]] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([ │├└─]*)([A-Z]\w+Error)\b(.*)", line)
        if match:
            depth, name, rest = len(match[1]), match[2], match[3]
            path = [item for item in path if item[0] < depth]
            code = re.search(r"\(exit (\d+)\)", rest)
            found[name] = (path[-1][1] if path else None, int(code[1]) if code else None)
            path.append((depth, name))
    return found


def test_the_drawing_is_the_tree() -> None:
    """Every class is drawn under its parent, with its exit code unless that is its parent's."""
    tree = _tree()
    assert set(tree) == {item.__name__ for item in CLASSES}
    for item in CLASSES:
        parent, exit_code = tree[item.__name__]
        base = item.__mro__[1]
        assert (parent or "Exception") == base.__name__
        inherited = base.exit_code if issubclass(base, SageError) else 70
        assert item.exit_code == (inherited if exit_code is None else exit_code)


def test_codes_are_unique_and_plain() -> None:
    """Machines tell errors apart by their codes."""
    codes = [item.code for item in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)
    assert {item.exit_code for item in CLASSES} <= {1, 3, 4, 5, 6, 8, 9, 70}


def make(kind: type[SageError]) -> SageError:
    if issubclass(kind, GraphError):
        return kind(
            [Problem("wrong", "x.py:3", "map:x", "mend it"), Problem("odd", level="warning")], hint="look", own=(1, 2)
        )
    details: dict[str, Any] = {"path": "a -> b", "job": "uuid", "failure": FailureInfo("user_code", "x"), "own": (1, 2)}
    return kind("what, and where", hint="do this", **details)


WAYS: dict[str, Callable[[SageError], SageError]] = {
    "pickle": lambda error: cast(SageError, pickle.loads(pickle.dumps(error))),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda item: item.__name__)
@pytest.mark.parametrize("way", WAYS)
def test_every_error_comes_back_equal(kind: type[SageError], way: str) -> None:
    """Type, text, arguments and attributes are the same on the other side, notes included."""
    error = make(kind)
    error.add_note("noted")
    back = WAYS[way](error)
    assert type(back) is kind
    assert str(back) == str(error)
    assert back.args == error.args
    assert vars(back) == vars(error)
    assert back.__notes__ == ["noted"]
    assert repr(back) == repr(error)


def test_the_text_ends_with_the_hint() -> None:
    """What to do comes last, and only where there is something to do."""
    assert str(SageError("broken", hint="mend it")) == "broken\n  hint: mend it"
    assert str(SageError("broken")) == "broken"


def test_a_graph_error_lists_every_problem() -> None:
    """Numbered, each with its line; one alone is not called problems."""
    one = GraphError([Problem("wrong", "x.py:3")])
    assert str(one) == "the pipeline has a problem:\n  1. x.py:3: wrong"
    two = GraphError([Problem("wrong", "x.py:3", hint="mend it"), Problem("odd")])
    assert str(two) == "the pipeline has 2 problems:\n  1. x.py:3: wrong\n      hint: mend it\n  2. odd"
    assert [problem.message for problem in two.problems] == ["wrong", "odd"]


def test_subclasses_of_others_travel_too() -> None:
    """A plugin's error that derives from ours and asks for more arguments comes back all the same."""
    back = pickle.loads(pickle.dumps(Special(3)))
    assert (type(back), str(back), back.number) == (Special, "number 3", 3)


class Special(SageError):
    number: int

    def __init__(self, number: int) -> None:
        super().__init__(f"number {number}", number=number)
