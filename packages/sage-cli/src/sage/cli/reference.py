"""The reference page of the command line, made from the command tree. ``python -m sage.cli.reference`` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperGroup

from sage.cli.groups import Stub
from sage.cli.main import root
from sage.cli.options import is_output_option
from sage.cli.registry import COMMANDS, ELSEWHERE

__all__ = ["commands", "reference_page"]

_TYPES = {"str": "TEXT", "int": "NUMBER", "float": "SECONDS", "path": "FOLDER"}
_HEAD = """\
# Command line

<!-- Made by `python -m sage.cli.reference`; change the help texts of the commands instead. -->

`sage` runs, submits and looks after jobs. `python -m sage.cli` is the same. `--help` after any command explains it;
names and one-line helps of all commands are known without loading any of them. Distributions may add commands
(`sage plugins list`); a built-in name always wins, and a plugin that is broken is named and disturbs no other command.

`sage --no-plugins …` leaves all plugins alone but those of SAGE itself, in what it runs as well; `SAGE_TRACE_PLUGINS=1`
tells on stderr what is loaded when, and how long that takes.

## Output

Every command takes `--output table|json|yaml`, or `--json` for short, anywhere on its line, but before the script of
`run` and `job submit`, whose arguments follow it; without either, `output.format` of the
[configuration](configuration.md) decides. Data goes to stdout, words for people to stderr.

- **For people**: tables and fields; with colours on a terminal (`output.colors` may say always or never, and `NO_COLOR`
  says never), plain and aligned elsewhere. Control characters in names, reasons and failures that come from jobs are
  shown as `\\x1b`. Logs are printed as they are, save on a terminal, where colours pass and other control sequences
  are shown, not obeyed.
- **For programs**: one document, `{"sage": 1, "kind": …, "data": …}`, where `data` is what the JobManager's REST
  interface gives; lists are `{"items": […]}`, and a page has `next_cursor` beside `data` too. Commands that follow
  something (`logs -f`, `run`, `submit --wait`) print one document a line. Fields are only ever added.
- **Errors** are `error: …` and a hint on stderr; with `--json` or YAML a document of kind `Error` on stdout, whose
  data are `code`, `message`, `hint` and `exit_code`. `SAGE_DEBUG=1` adds Python's traceback, on stderr.

| kind | printed by |
|---|---|
| `Job` | `job show` (and what `-v`, `--graph` add), `status`, `wait`, `stop`, `continue`, `delete`; followers, last |
| `JobList` | `job list`, `job submit`, `job cleanup` (what was removed) |
| `Log` | `job logs`, `jobmanager logs`: `text` and its place; while a job is followed: `job`, `uuid`, `text` |
| `Run` | `run`: `exit_status` of the script, and its `jobs` as they ended |
| `JobManagerStatus` | `jobmanager start`, `restart`, `status`, and the same of `deploy` and `cluster` |
| `Config`, `ConfigValue`, `ConfigFile` | `config show`; `get`, `set`; `init`, `path`, `validate` |
| `PluginList`, `PluginReportList`, `Project` | `plugins list`; `plugins show` and `doctor`; `plugins new` |
| `Version` | `version` |
| `Error` | any command that fails |

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | a job failed: only from commands that wait (`run`, `job wait`, `job submit --wait`, `job logs -f`) |
| 2 | a mistake in the command line |
| 3 | no such job, or a beginning that fits several |
| 4 | no JobManager answers (`jobmanager status`: it is down) |
| 5 | not allowed: token missing or wrong, a file that others may read |
| 6 | the time to wait is over; the job, or the JobManager, goes on |
| 7 | the job was stopped or cancelled: only from commands that wait |
| 8 | wrong state: the job's state does not allow that, a JobManager runs already |
| 9 | refused: validation, versions, capabilities, plugins, a question that nobody can be asked |
| 10 | unhealthy or partly done |
| 70 | a bug: in SAGE, or in the plugin that the message names |
| 130 | interrupted by Ctrl-C, or a question answered with no |
| 141 | nobody reads stdout any more (`sage … \\| head`) |

`sage run` ends with the script's own exit status if that is not 0, whatever it means.
"""


def reference_page() -> str:
    """The page, in Markdown."""
    parts = [_HEAD]
    for path, command in commands():
        title = f"sage {' '.join(path)}"
        if isinstance(command, TyperGroup):
            parts.append(f"\n## `{title}`\n\n{command.help}\n")
            continue
        depth = "##" if len(path) == 1 else "###"
        parts.append(f"\n{depth} `{title}{_arguments(command)}`\n\n")
        alias = _alias_of(path)
        parts.extend([f"The same as `{alias}`.\n"] if alias else [f"{command.help}\n", *_table(command)])
    return "".join(parts)


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group of SAGE itself below the root, loaded, with the names that lead to it."""
    group = root()
    with group.make_context("sage", [], resilient_parsing=True) as ctx:
        for name in (*COMMANDS, *ELSEWHERE):
            yield from _below((name,), group.get_command(ctx, name))


def _below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    command = command.load() if isinstance(command, Stub) else command
    yield path, command
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            yield from _below((*path, name), child)


def _alias_of(path: tuple[str, ...]) -> str | None:
    """The name above under which the same module stands in the registry."""
    entries = COMMANDS
    for part in path[:-1]:
        if part not in entries:
            return None
        entries = entries[part].children
    entry = entries.get(path[-1])
    first = next((name for name, other in entries.items() if entry and other.module == entry.module), path[-1])
    return None if first == path[-1] else " ".join(("sage", *path[:-1], first))


def _arguments(command: Any) -> str:
    return "".join(f" {_name(param)}" for param in command.params if param.param_type_name == "argument")


def _table(command: Any) -> Iterator[str]:
    params = [param for param in command.params if not is_output_option(param)]
    if not params:
        return
    yield "\n| | |\n|---|---|\n"
    for param in params:
        number = isinstance(param.default, (int, float)) and not isinstance(param.default, bool)
        yield f"| `{_name(param)}` | {param.help}{f' Default: {param.default:g}.' if number else ''} |\n"


def _name(param: Any) -> str:
    """An argument's name, or an option's with what it takes."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    if param.is_flag:
        return ", ".join(param.opts)
    choices = getattr(param.type, "choices", None)
    takes = param.metavar or ("\\|".join(choices) if choices else _TYPES[param.type.name.split()[0]])
    return f"{', '.join(param.opts)} {takes}"


if __name__ == "__main__":
    print(reference_page(), end="")
