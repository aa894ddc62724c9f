"""`sage plugins doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from _sage_boot import intruder
from sage.cli.context import current
from sage.cli.plugin_reports import PluginReport, reports_on, view
from sage.cli.render.parts import Line, Part

app = typer.Typer()

_UNHEALTHY = 10


@app.command()
def doctor(
    timeout: Annotated[float, typer.Option("--timeout", help="For loading each.", min=0.1)] = 30.0,
) -> None:
    """Load each plugin, and tell what is wrong with it; the exit code is 10 if anything is.

    That holds, too, if another distribution has put files of its own into SAGE's package.

    Each is loaded in a process of its own, so that one which hangs or crashes does no harm. Disabled ones are left
    alone.
    """
    from sage.core.plugins import installed_plugins

    reports = reports_on(installed_plugins(), timeout)
    current().emit(reports, kind="PluginReportList", view=_view)
    within = intruder()
    if within is not None:
        current().note(f"warning: {within}")
    if within is not None or any(report.problems for report in reports):
        raise typer.Exit(_UNHEALTHY)


def _view(reports: Sequence[PluginReport]) -> Sequence[Part]:
    ill = [report for report in reports if report.problems]
    tried = sum(report.seconds is not None or bool(report.problems) for report in reports)
    return [*view(ill), Line(f"{tried} plugins looked at, {len(ill)} with problems")]
