"""What can be told of installed plugins: from metadata, and by loading each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from sage.cli.registry import COMMANDS, Entry
from sage.cli.render.parts import Block, Fields, Part
from sage.core.plugins.disabling import disabled
from sage.core.plugins.entry_points import GROUPS, InstalledPlugin, file_of, help_of
from sage.core.plugins.metadata import BUILT_IN, find, scan

__all__ = ["PluginReport", "notes_on", "report_on", "reports_on", "view"]

_SLOW = 5.0  # seconds, as whoever loads it is told then
_MOST_PRINTED = 2_000
_AT_ONCE = 4


@dataclass(frozen=True)
class PluginReport:
    """What is known of one plugin.

    Attributes:
        file: of the module that the entry point leads to; None if there is none.
        help: the one line that `sage --help` shows, of a command.
        hooks: those that it implements; empty if it could not be loaded, or is disabled.
        seconds: to load it; None if it was not tried.
        printed: what it printed meanwhile.
        problems: what is wrong with it.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str
    disabled: bool
    file: str | None
    help: str | None
    hooks: Sequence[str]
    seconds: float | None
    printed: str
    problems: Sequence[str]


def notes_on(plugin: InstalledPlugin) -> list[str]:
    """What metadata alone tells of a plugin that people should know."""
    notes = []
    if plugin.disabled:
        notes.append(f"disabled by {disabled().by}")
    return notes + _wrong_by_metadata(plugin)


def reports_on(plugins: Sequence[InstalledPlugin], timeout: float) -> list[PluginReport]:
    """A report on each plugin, in the same order; several are loaded side by side."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sage-plugins") as pool:
        return list(pool.map(lambda plugin: report_on(plugin, timeout), plugins))


def report_on(plugin: InstalledPlugin, timeout: float) -> PluginReport:
    """Load one plugin in a child, unless it is disabled, and tell how that went."""
    claim = find(plugin.group, plugin.name, plugin.value, plugin.distribution)
    file, problems = file_of(claim.module), _wrong_by_metadata(plugin)
    found: dict[str, Any] = {"hooks": (), "seconds": None, "printed": ""}
    if not plugin.disabled and plugin.group in GROUPS:
        found |= _load(plugin, timeout)
        problems += found.pop("problems")
    line = help_of(claim) if plugin.group == "sage.commands" else None
    if line is not None and line.startswith("(no help:"):
        problems.append(line.strip("()"))
    return PluginReport(
        plugin.group,
        plugin.name,
        plugin.value,
        plugin.distribution,
        plugin.version,
        plugin.disabled,
        None if file is None else str(file),
        line,
        problems=problems,
        **found,
    )


def view(reports: Sequence[PluginReport]) -> Sequence[Part]:
    """The reports as fields, each under the name of its plugin."""
    parts: list[Part] = []
    for report in reports:
        facts = [
            ("distribution", f"{report.distribution} {report.version}"),
            ("entry point", f"{report.name} = {report.value}"),
            ("file", report.file or "there is none"),
            ("help", report.help),
            ("hooks", ", ".join(report.hooks) or None),
            ("loaded in", None if report.seconds is None else f"{report.seconds:.2f} s"),
            ("disabled", "yes" if report.disabled else None),
        ]
        facts += [("problem", problem) for problem in report.problems]
        parts.append(Fields([(name, text) for name, text in facts if text], f"{report.group}: {report.name}"))
        if report.printed:
            parts.append(Block("printed while it was loaded", report.printed))
    return parts


def _wrong_by_metadata(plugin: InstalledPlugin) -> list[str]:
    wrong = []
    if plugin.clash:
        wrong.append(f"clashes with {', '.join(plugin.clash)}")
    if plugin.group not in GROUPS:
        wrong.append(f"there is no group {plugin.group}; those there are: {', '.join(GROUPS)}")
    if plugin.group == "sage.commands" and _built_in(plugin.name) is not None:
        wrong.append("hidden: a built-in command has this name")
    parent = plugin.name.rpartition(".")[0]
    if plugin.group == "sage.commands" and parent and not _is_group(parent):
        wrong.append(f"out of reach: there is no group of commands '{parent.replace('.', ' ')}'")
    if (plugin.group, plugin.name) in BUILT_IN and plugin.distribution != "sage-core":
        wrong.append("hidden: a built-in backend has this name")
    return wrong


def _built_in(name: str) -> Entry | None:
    """The built-in command or group of that name."""
    found, entries = None, COMMANDS
    for part in name.split("."):
        found = entries.get(part)
        entries = found.children if found is not None else {}
    return found


def _is_group(name: str) -> bool:
    """Whether there may be commands below that name: in a group of SAGE's own, or in what a plugin brings."""
    found = _built_in(name)
    return bool(found.children) if found is not None else name in scan("sage.commands")


def _load(plugin: InstalledPlugin, timeout: float) -> dict[str, Any]:
    """What a child says that loads the plugin. The child may print, hang, exit or crash: it is the plugin's."""
    with tempfile.TemporaryFile() as printed:
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as answer:
            command = [sys.executable, "-P", "-m", "sage.cli.plugin_probe", str(writer)]
            child = subprocess.Popen(  # noqa: S603 - ourselves
                [*command, plugin.group, plugin.name, plugin.value, plugin.distribution],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                pass_fds=[writer],
                start_new_session=True,
            )
            os.close(writer)
            ended = _ended(child, timeout)
            os.set_blocking(reader, False)  # a stray process of the plugin's may still hold the other end
            said = (answer.read() or b"") if ended else b""
        text = _text(printed)
    if not ended:
        return {"printed": text, "problems": [f"loading it took more than {timeout:g} s, and was given up"]}
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        status = child.returncode
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return {"printed": text, "problems": [f"the process that loaded it {how} before it was through"]}
    if found["seconds"] is not None and found["seconds"] > _SLOW:
        found["problems"].append(f"loading it takes {found['seconds']:.1f} s, for which all wait that need it")
    return {**found, "printed": text}


def _ended(child: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait for the child; in any case, nothing of what it has started goes on after."""
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return True


def _text(printed: IO[bytes]) -> str:
    """The end of what the child printed."""
    size = printed.seek(0, os.SEEK_END)
    printed.seek(max(0, size - _MOST_PRINTED))
    text = printed.read().decode("utf-8", "replace").strip()
    return f"… {text}" if size > _MOST_PRINTED else text
