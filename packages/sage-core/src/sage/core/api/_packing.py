"""From a graph to the package that travels."""

from __future__ import annotations

from pathlib import Path

from sage.core.graph.model import LogicalGraph

__all__ = ["pack"]


def pack(path: Path, graph: LogicalGraph, uuid: str, backend: str | None) -> None:
    """Write the package of a job.

    Raises:
        PackagingError: something in the graph cannot travel; ``problems`` names everything of that kind.
    """
    from sage.core.client.code import write_package
    from sage.core.client.package import PackageJob

    write_package(path, graph, PackageJob(uuid=uuid, name=graph.name, backend=backend))
