"""``--output`` and ``--json``, which every command takes, ours and plugins' alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Literal

import typer

from sage.cli.context import current

__all__ = ["add_output_options", "is_output_option", "wanted_format"]

_FORMATS = ("table", "json", "yaml")


def add_output_options(command: Any) -> None:
    """Give a command the options; one that has an option of that name itself keeps its own."""
    taken = {name for param in command.params for name in param.opts}
    command.params.extend(param for param in _params() if taken.isdisjoint(param.opts))


def is_output_option(param: Any) -> bool:
    """Whether the parameter is one of the options that every command takes."""
    return any(param is each for each in _params())


def wanted_format(args: Sequence[str]) -> str | None:
    """The format that a command line asks for, read without parsing it: for errors in the command line itself."""
    found = None
    for arg, following in zip(args, [*args, ""][1:], strict=True):
        if arg == "--":
            break
        if arg == "--json":
            found = "json"
        elif arg.startswith("--output="):
            found = arg.partition("=")[2]
        elif arg == "--output":
            found = following
    return found if found in _FORMATS else None


@cache
def _params() -> Sequence[Any]:
    """Made by Typer from a signature, as those of any command are."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(_signature)
    return typer.main.get_command(app).params


def _set_output(value: str | None) -> str | None:
    if value is not None:
        current().use_format(value)
    return value


def _set_json(value: bool) -> bool:
    if value:
        current().use_format("json")
    return value


def _signature(
    output: Annotated[
        Literal["table", "json", "yaml"] | None,
        typer.Option("--output", callback=_set_output, expose_value=False, help="How to print results."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", callback=_set_json, expose_value=False, help="The same as --output json.")
    ] = False,
) -> None:
    """Carries the two options; never called."""
