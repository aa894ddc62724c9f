"""From a graph to the package that travels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage.core.api.state_warning import warn_of_unsaved
from sage.core.errors import GraphError, PackagingError
from sage.core.graph.model import LogicalGraph

__all__ = ["pack", "pack_graph"]


def pack(
    path: Path, graph: LogicalGraph, uuid: str, backend: str | None, options: Mapping[str, Any] | None = None
) -> None:
    """Write the package of a job.

    Raises:
        GraphError: parts of the graph cannot travel; all of them are named.
        PackagingError: the package cannot be made for another reason: it is too large, or a module hides SAGE.
    """
    stays = [
        operator.problem(
            "collect() fills a list of this process, and the job runs in another",
            "write the records somewhere with .sink(…), or run the pipeline on a LocalEnvironment",
        )
        for operator in graph.operators
        if operator.options.get("collect")
    ]
    if stays:
        raise GraphError(stays)
    pack_graph(path, graph, uuid, backend, options)


def pack_graph(
    path: Path, graph: LogicalGraph, uuid: str, backend: str | None, options: Mapping[str, Any] | None = None
) -> None:
    """As `pack`, for a job whose coordinator stays in this process: what `collect` takes comes back to it."""
    from sage.core.client.code import check_picklable, write_package
    from sage.core.client.package import PackageJob

    warn_of_unsaved(graph)
    try:
        write_package(path, graph, PackageJob(uuid=uuid, name=graph.name, backend=backend, options=options or {}))
    except PackagingError as error:
        # Packing ends at the first kind of trouble; looking for all of it is only worth the time now.
        problems = check_picklable(graph)
        if problems:
            raise GraphError(problems) from error
        raise
