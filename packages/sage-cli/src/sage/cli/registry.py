"""Every built-in command by name: its one-line help and the module that holds it. Data only; imports nothing.

`sage --help` and completion are answered from here, so no command's module is imported for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["COMMANDS", "ELSEWHERE", "Entry"]


class Entry(NamedTuple):
    """One name in the command tree.

    Attributes:
        help: one line.
        module: holds the command as ``app``, a `typer.Typer` with one command; None for a group.
        children: the commands of a group, in the order in which help lists them.
    """

    help: str
    module: str | None = None
    children: Mapping[str, Entry] = MappingProxyType({})


def _command(help: str, module: str) -> Entry:
    return Entry(help, f"sage.cli.commands.{module}")


COMMANDS: Mapping[str, Entry] = {
    "version": _command("Show the versions of SAGE's distributions and of Python.", "version"),
    "run": _command("Run a script as Python would, and follow the jobs it submits.", "run"),
    "job": Entry(
        "Submit jobs to the JobManager, watch them and look after them.",
        children={
            "submit": _command("Send every pipeline that a script submits to the JobManager.", "job.submit"),
            "list": _command("List jobs, newest first.", "job.list"),
            "show": _command("Show one job; with -v its operators, counts and history.", "job.show"),
            "status": _command("Print the state of one job.", "job.status"),
            "logs": _command("Print what a job has written; with -f as it is written.", "job.logs"),
            "wait": _command("Wait until a job has ended.", "job.wait"),
            "stop": _command("Stop a job; for now by cancelling it.", "job.stop"),
            "pause": _command("The same as stop.", "job.stop"),
            "continue": _command("Let a stopped or failed job go on.", "job.continue_"),
            "resume": _command("The same as continue.", "job.continue_"),
            "delete": _command("Remove one job with its logs.", "job.delete"),
            "cleanup": _command("Remove ended jobs with their logs.", "job.cleanup"),
        },
    ),
    "config": Entry(
        "Make, show, change and check the configuration.",
        children={
            "init": _command("Write a commented config.yaml.", "config.init"),
            "show": _command("Show the configuration in force.", "config.show"),
            "path": _command("Print where config.yaml is.", "config.path"),
            "get": _command("Print one value of the configuration in force.", "config.get"),
            "set": _command("Change one value in config.yaml; comments stay.", "config.set"),
            "validate": _command("Check config.yaml.", "config.validate"),
        },
    ),
    "plugins": Entry(
        "See what is installed beside SAGE itself, and begin plugins.",
        children={
            "list": _command("List installed backends, connectors, commands and hooks.", "plugins.list"),
            "show": _command("Show one plugin: who brings it, where it is, its hooks.", "plugins.show"),
            "doctor": _command("Load each plugin, and tell what is wrong with it.", "plugins.doctor"),
            "new": _command("Write the project of a plugin, to start from.", "plugins.new"),
        },
    ),
}

ELSEWHERE: Mapping[str, str] = {
    "jobmanager": "sage-runtime",
    "deploy": "sage-runtime",
    "cluster": "sage-runtime",
}
"""Commands that one of our other distributions brings, for the error when it is absent."""
