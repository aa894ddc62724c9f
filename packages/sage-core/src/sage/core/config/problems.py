"""What is wrong with a configuration: every problem, each with its field and where that was set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sage.core.errors import ConfigError

__all__ = ["ConfigProblem", "FieldPath", "config_error", "nearest", "parse_path", "path_text"]

FieldPath = tuple[str | int, ...]
"""Names of sections and fields, numbers of list items: ``("ssh", "workers", 2, "port")``."""

_PART = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")


@dataclass(frozen=True)
class ConfigProblem:
    """One thing that is wrong.

    Attributes:
        path: the field, ``ssh -> workers[2] -> port``; empty when the file as a whole is meant.
        message: what is wrong with it.
        where: where it was set: ``/home/ada/.sage/config.yaml:7``, the name of a variable, or "override".
        hint: what to do, where that is not plain from the message.
    """

    path: str
    message: str
    where: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


def path_text(path: Sequence[str | int]) -> str:
    """``("ssh", "workers", 2, "port")`` → ``ssh -> workers[2] -> port``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{' -> ' if text else ''}{part}"
    return text


def parse_path(text: str) -> FieldPath:
    """``ssh.workers[2].port`` → ``("ssh", "workers", 2, "port")``; the names are not looked up.

    Raises:
        ConfigError: that is no path.
    """
    path: list[str | int] = []
    for piece in text.strip().split("."):
        match = _PART.fullmatch(piece)
        if match is None:
            raise config_error([ConfigProblem(repr(text), "is no path of a setting", hint="write it as daemon.port")])
        path.append(match[1])
        path.extend(int(number) for number in re.findall(r"\d+", match[2]))
    return tuple(path)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be."""
    import difflib

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def config_error(problems: Sequence[ConfigProblem]) -> ConfigError:
    """One error that tells all of `problems` (at least one); its ``path`` is the first field among them."""
    first = problems[0]
    path = next((problem.path for problem in problems if problem.path), None)
    if len(problems) == 1:
        return ConfigError(str(first), hint=first.hint, path=path, problems=(first,))
    lines = [f"the configuration has {len(problems)} problems:"]
    for number, problem in enumerate(problems, 1):
        lines.append(f"  {number}. {problem}")
        if problem.hint:
            lines.append(f"     hint: {problem.hint}")
    return ConfigError("\n".join(lines), path=path, problems=tuple(problems))
