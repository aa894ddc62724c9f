"""From a graph to the package that travels."""

from __future__ import annotations

from pathlib import Path

from sage.core.errors import GraphError
from sage.core.graph.model import LogicalGraph

__all__ = ["pack"]


def pack(path: Path, graph: LogicalGraph, uuid: str, backend: str | None) -> str:
    """Write the package of a job.

    Returns:
        its sha256.

    Raises:
        GraphError: parts of the graph cannot be pickled; each is named.
        PackagingError: the package cannot be made.
    """
    from sage.core.client.code import check_picklable, write_package

    from sage.core.client.package import PackageJob

    problems = [item for item in check_picklable(graph) if item.level == "error"]
    if problems:
        raise GraphError(problems)
    return write_package(path, graph, PackageJob(uuid=uuid, name=graph.name, backend=backend, options={}))
