"""Help for everything, and a clear word for what is mistyped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Done, User

PROMISED = {
    "job": ["submit", "list", "show", "status", "logs", "wait", "stop", "continue", "delete", "cleanup"],
    "config": ["init", "show", "path", "get", "set", "validate"],
    "jobmanager": ["start", "stop", "restart", "status", "logs"],
    "deploy": ["start", "stop", "restart", "status"],
    "cluster": ["status"],
    "plugins": ["list"],
}


def commands_of(help_: str) -> list[str]:
    """The names under the heading of commands."""
    _, _, listed = help_.partition("Commands")
    return re.findall(r"^\W{1,4}([a-z][a-z-]*) {2,}\S", listed, re.M)


def walk(user: User, *path: str) -> Iterator[tuple[tuple[str, ...], Done]]:
    """The help of a command and of all that are below it."""
    done = user.sage(*path, "--help")
    yield path, done
    names = commands_of(done.out)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda name: list(walk(user, *path, name)), names):
            yield from found


def test_help_for_everything(stranger: User) -> None:
    """Every command that is listed has a help that says how it is used; no JobManager or configuration is needed."""
    found = dict(walk(stranger))
    expected = {(group, name) for group, names in PROMISED.items() for name in names} | {("version",), ("run",)}
    assert expected - found.keys() == set()
    for path, done in found.items():
        assert re.search(rf"Usage:\s+{' '.join(('sage', *path))}\b", done.out), done
        assert "--output" in done.out or commands_of(done.out), done
        assert done.err == ""
    assert not stranger.home.exists()


def test_mistyped(stranger: User) -> None:
    """What there is instead is named; exit code 2."""
    for command, part in (
        (["jbo"], "job"),
        (["job", "lst"], "list"),
        (["job", "list", "--stat", "running"], "--state"),
        (["job", "list", "--state", "runing"], "running"),
        (["jobmanager", "strat"], "start"),
        (["job", "wait", "--timeout", "soon", "1"], "5m"),
        (["run", "missing.py"], "missing.py"),
    ):
        done = stranger.sage(*command, code=2)
        assert done.out == ""
        assert part in done.err, done
