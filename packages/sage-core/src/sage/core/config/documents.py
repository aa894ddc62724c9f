"""YAML in: a file or one value as plain data, with the line of every entry. PyYAML is imported here, when asked."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sage.core.config.problems import ConfigProblem, FieldPath, config_error, path_text

__all__ = ["Document", "parse_value", "read_document"]

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Document:
    """A parsed file.

    Attributes:
        data: what it holds; an empty file holds None.
        lines: the line (from 1) of each entry.
    """

    data: Any = None
    lines: Mapping[FieldPath, int] = field(default_factory=dict)


def read_document(path: Path) -> Document:
    """Parse the file at `path`; one that is absent is empty.

    Raises:
        ConfigError: it cannot be read, may be written by everybody, is no YAML (with line and
            column), or gives a key twice.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MAX_BYTES + 1)
        text = raw.decode()
    except FileNotFoundError:
        return Document()
    except OSError as error:
        raise config_error([ConfigProblem("", f"cannot be read: {error.strerror or error}", str(path))]) from error
    except UnicodeDecodeError as error:
        raise config_error([ConfigProblem("", f"is no UTF-8 text: {error}", str(path))]) from error
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        # It says to whom the token is sent, and which programs run.
        what = f"may be written by everybody (mode {stat.S_IMODE(mode):04o})"
        raise config_error([ConfigProblem("", what, str(path), f"look what it says now, then: chmod o-w {path}")])
    if len(raw) > _MAX_BYTES:
        raise config_error([ConfigProblem("", f"is larger than {_MAX_BYTES} bytes; it is no configuration", str(path))])
    return _parse(text, str(path))


def parse_value(text: str, where: str) -> Any:
    """The value that `text` is in YAML; `where` names it in errors.

    Raises:
        ConfigError: it is no YAML.
    """
    if text.isascii() and text.isdigit() and len(text) < 19 and (text == "0" or text[0] != "0"):
        return int(text)  # what YAML says, too; but most variables are a port, and loading YAML takes longer than that
    return _parse(text, where).data


def _parse(text: str, where: str) -> Document:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    problems: list[ConfigProblem] = []
    lines: dict[FieldPath, int] = {}
    try:
        root = loader.get_single_node()
        if root is None:
            return Document()
        _walk(root, (), lines, problems, where, frozenset())
        if problems:
            raise config_error(problems)
        return Document(loader.construct_document(root), lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark is not None else where
        what = getattr(error, "problem", None) or str(error)
        raise config_error([ConfigProblem("", f"is no valid YAML: {what}", place)]) from error
    except (RecursionError, ValueError) as error:
        # PyYAML lets through what Python says of impossible dates and of thousands of nested brackets.
        raise config_error([ConfigProblem("", f"is no valid YAML: {error}", where)]) from error
    finally:
        loader.dispose()


def _walk(
    node: Any,
    path: FieldPath,
    lines: dict[FieldPath, int],
    problems: list[ConfigProblem],
    where: str,
    above: frozenset[int],
) -> None:
    """Note the line of every entry below `node`; keys given twice are problems, since YAML would drop one silently."""
    if id(node) in above:
        problems.append(ConfigProblem(path_text(path), "refers to itself", f"{where}:{node.start_mark.line + 1}"))
        return
    above |= {id(node)}
    if node.id == "sequence":
        for number, item in enumerate(node.value):
            lines[(*path, number)] = item.start_mark.line + 1
            _walk(item, (*path, number), lines, problems, where, above)
    elif node.id == "mapping":
        for key, value in node.value:
            entry = (*path, str(key.value))
            line = key.start_mark.line + 1
            if entry in lines:
                message = f"is set twice, first in line {lines[entry]}"
                problems.append(ConfigProblem(path_text(entry), message, f"{where}:{line}"))
                continue
            lines[entry] = line
            _walk(value, entry, lines, problems, where, above)
