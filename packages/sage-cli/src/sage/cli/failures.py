"""What a command says when it fails: to people ``error: …``, to machines ``kind: "Error"``, to shells the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from sage.core.errors import SageError

__all__ = ["DECLINED", "CommandError", "Failure", "failure_of", "misuse", "refuse"]

DECLINED = 130
"""Exit code of a command that was interrupted, or whose question was answered with no."""


class Failure(NamedTuple):
    """A failure as it is shown.

    Attributes:
        code: stable name, for machines.
        message: what happened and where; may have several lines.
        hint: what to do.
        exit_code: of the command.
        details: further facts for machines, beside those four.
    """

    code: str
    message: str
    hint: str | None
    exit_code: int
    details: Mapping[str, Any] = MappingProxyType({})

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "exit_code": self.exit_code,
            **self.details,
        }


class CommandError(SageError):
    """A failure that a command words itself; ``failure`` holds it."""

    code = "refused"
    exit_code = 9
    failure: Failure

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, hint=failure.hint, failure=failure)


def refuse(
    code: str, message: str, hint: str | None = None, *, exit_code: int = CommandError.exit_code, **details: Any
) -> NoReturn:
    """End the command with this failure.

    Raises:
        CommandError: always.
    """
    raise CommandError(Failure(code, message, hint, exit_code, details))


def misuse(message: str, hint: str | None = None) -> NoReturn:
    """End the command because of what was typed: exit code 2.

    Raises:
        CommandError: always.
    """
    refuse("usage", message, hint, exit_code=2)


def failure_of(error: SageError) -> Failure:
    """The failure to show for an error of SAGE."""
    if isinstance(error, CommandError):
        return error.failure
    return Failure(error.code, error.message, error.hint, error.exit_code)
