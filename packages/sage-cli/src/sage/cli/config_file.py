"""``config.yaml`` as a text that people edit too: a commented template, and changes that leave their comments alone."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sage.cli.failures import refuse
from sage.core.config import fields, parse_path, sections

__all__ = ["changed", "template", "write_private"]

_HEAD = """\
# Configuration of SAGE.
#
# Every setting is here with its default, commented out: take the "# " before it away to change one, or use
#   sage config set daemon.port 19002
# Variables such as SAGE_DAEMON__PORT go before this file, options of a command before both.
# "sage config show" tells what is in force, "sage config validate" whether this file is sound.
"""
_INDENT = "  "
_WIDTH = 100
_UNFOLDED = 1 << 16  # a width at which YAML is never folded


def template() -> str:
    """A configuration file in which nothing is set, and everything explained."""
    lines = [_HEAD.rstrip("\n")]
    helps = sections()
    opened: set[str] = set()
    for setting in fields():
        *above, name = setting.path.replace("[]", "").split(".")
        for depth in range(len(above)):
            section = ".".join(above[: depth + 1])
            if section in helps and section not in opened:
                opened.add(section)
                lines += ["", *_comment(helps[section], _INDENT * depth), f"{_INDENT * depth}{above[depth]}:"]
        if "[]" in setting.path:  # a field of a list's items; these have no line of their own to uncomment
            need = "required" if setting.required else f"default {_flow(setting.default)}"
            lines += _comment(f"  {name}: {setting.help} ({setting.type}; {need})", _INDENT * (len(above) - 1))
        else:
            indent = _INDENT * len(above)
            lines += [
                *_comment(f"{setting.help} ({setting.type})", indent),
                f"{indent}# {_entry(name, setting.default)}",
            ]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> Sequence[str]:
    width = _WIDTH - len(indent)
    further = " " * (len(text) - len(text.lstrip()))
    return [
        f"{indent}# {line}" for line in textwrap.wrap(text, width, subsequent_indent=further, break_long_words=False)
    ]


def changed(text: str, path: str, value: Any) -> str:
    """The text of a configuration file with one value set, comments kept.

    A setting that the template left commented out is set where it stands; others by ruamel.yaml.

    Args:
        text: a valid configuration file.
        path: ``daemon.port`` or ``ssh.workers[0].host``.
        value: plain YAML data, checked.
    """
    target = parse_path(path)
    lines = text.split("\n")
    place = _commented(lines, target)
    if place is not None:
        lines[place] = _INDENT * (len(target) - 1) + _entry(str(target[-1]), value)
        return "\n".join(lines)
    return _rewritten(text, target, value)


def write_private(path: Path, text: str, *, exclusive: bool = False) -> None:
    """Write a 0600 file, at once or not at all, into a folder that is 0700 and ours.

    Args:
        path: the file; a symbolic link is written through.
        text: what it shall hold.
        exclusive: do not replace a file.

    Raises:
        CommandError: the folder belongs to another user.
        FileExistsError: the file exists, and `exclusive` was asked for.
    """
    _private_folder(path.parent)
    target = path.resolve()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    written = target if exclusive else target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    descriptor = os.open(written, flags, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        written.replace(target)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def _private_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not folder.is_dir():
        refuse("unsafe_file", f"{folder} is no folder", "move it away or set SAGE_HOME", exit_code=5)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        refuse(
            "unsafe_file",
            f"{folder} belongs to user {found.st_uid}, not to user {os.geteuid()} who runs this command",
            "set SAGE_HOME to a folder of your own",
            exit_code=5,
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _commented(lines: Sequence[str], path: Sequence[str | int]) -> int | None:
    """The line in which the template left the setting commented out; None if there is none."""
    if any(isinstance(part, int) for part in path):
        return None
    low, high = 0, len(lines)
    for depth, part in enumerate(path[:-1]):
        header = next((n for n in range(low, high) if lines[n].rstrip() == f"{_INDENT * depth}{part}:"), None)
        if header is None:
            return None
        low, high = header + 1, _end(lines, header + 1, high, depth)
    indent = _INDENT * (len(path) - 1)
    if any(re.match(rf"{indent}{path[-1]}\s*:", lines[n]) for n in range(low, high)):
        return None  # it is set already
    pattern = re.compile(rf"{indent}# {path[-1]}:( .*)?")
    return next((n for n in range(low, high) if pattern.fullmatch(lines[n])), None)


def _end(lines: Sequence[str], start: int, high: int, depth: int) -> int:
    """Where the section ends whose header has `depth` indents: at the next entry that is not deeper."""
    for number in range(start, high):
        line = lines[number]
        if (
            line.strip()
            and not line.lstrip().startswith("#")
            and len(line) - len(line.lstrip()) <= len(_INDENT) * depth
        ):
            return number
    return high


def _rewritten(text: str, path: Sequence[str | int], value: Any) -> str:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _UNFOLDED
    tree = yaml.load(text)
    if tree is None:  # nothing but comments, which a new tree would not have
        return text.rstrip("\n") + "\n\n" * bool(text.strip()) + "\n".join(_nested(path, value)) + "\n"
    node = tree
    for part in path[:-1]:
        if not isinstance(part, int) and node.get(part) is None:
            node[part] = {}
        node = node[part]
    node[path[-1]] = value
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _nested(path: Sequence[str | int], value: Any) -> Iterator[str]:
    *above, name = path
    for depth, part in enumerate(above):
        yield f"{_INDENT * depth}{part}:"
    yield f"{_INDENT * len(above)}{_entry(str(name), value)}"


def _entry(name: str, value: Any) -> str:
    return f"{name}: {_flow(value)}"


def _flow(value: Any) -> str:
    """A value in one line of YAML."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=_UNFOLDED)
    text = text.removesuffix("\n...\n").rstrip("\n")
    return json.dumps(value) if "\n" in text else text
