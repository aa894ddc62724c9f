"""`sage job cleanup`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from sage.cli.arguments import Yes, seconds
from sage.cli.context import current
from sage.cli.failures import misuse
from sage.cli.render.parts import Part
from sage.core.models import ENDED_STATES, JobInfo

app = typer.Typer()

_USUAL = ("completed", "failed", "cancelled")


@app.command()
def cleanup(
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB]...", help="Only these jobs; all without any.")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help="Jobs in this state; may be given again. Without it: completed, failed and cancelled ones.",
        ),
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option(parser=seconds, metavar="DURATION", help="Only jobs that ended longer ago than this: 12h, 7d."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Remove ended jobs for good, with their logs, and list them. Stopped jobs are only taken with --state stopped."""
    context = current()
    states = _checked(state or _USUAL)
    if not yes:
        which = f"{len(jobs)} given" if jobs else "all"
        age = "" if older_than is None else f" that ended more than {older_than:g} s ago"
        kinds = " and ".join(filter(None, (", ".join(states[:-1]), states[-1])))
        context.confirm(f"Remove {which} {kinds} jobs{age} with their logs?")
    removed = context.client().cleanup(states=states, older_than=older_than, jobs=jobs)
    context.emit(removed, kind="JobList", view=_view)
    if not context.for_machines:
        context.note(f"removed {len(removed)} job{'' if len(removed) == 1 else 's'}")


def _view(removed: list[JobInfo]) -> Sequence[Part]:
    from sage.cli.render.jobs import table

    return table(removed, empty=None)


def _checked(states: Sequence[str]) -> Sequence[str]:
    wrong = [state for state in states if state not in ENDED_STATES]
    if wrong:
        known = ", ".join(sorted(ENDED_STATES))
        misuse(f"{wrong[0]!r} is no state of an ended job", f"--state takes {known}")
    return list(dict.fromkeys(states))
