"""Arguments and options that several commands share, spelled and explained once."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Force", "Ref", "ScriptArgs", "Setting", "Yes", "seconds"]

Ref = Annotated[
    str,
    typer.Argument(metavar="JOB", help="The job's number, its uuid, or a unique beginning of at least 4 characters."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Do not ask, and cancel the job first if it has not ended.")]
ScriptArgs = Annotated[
    list[str] | None, typer.Argument(metavar="[ARGS]...", help="Arguments of the script, options included.")
]
Setting = Annotated[str, typer.Argument(metavar="SETTING", help="Its path, such as daemon.port.")]


def seconds(text: str) -> float:
    """A duration as it is typed, ``30``, ``500ms``, ``7d``, in seconds.

    Raises:
        typer.BadParameter: it is none.
    """
    from sage.core.config.kinds import Duration, Invalid

    try:
        return Duration(low=0.0).check(text)
    except Invalid as error:
        raise typer.BadParameter(str(error)) from error
