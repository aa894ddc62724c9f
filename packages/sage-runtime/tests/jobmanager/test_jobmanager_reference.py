"""The reference page of the REST interface is true."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from sage.core.errors import SageError
from sage.runtime.jobmanager import guard, home, lifecycle, network, problems, store

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "rest-api.md"
ROW = re.compile(r"^\| `(?P<method>[A-Z]+) (?P<path>/[^`]*)` \|", re.M)


def test_every_route_is_on_the_page_and_the_other_way_round(daemon: Any) -> None:
    """The table names exactly what the OpenAPI document has."""
    paths = daemon.ask("GET", "/api/v1/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    told = {(match["method"], match["path"]) for match in ROW.finditer(PAGE.read_text())}
    assert told == routes | {("GET", "/api/v1/openapi.json")}


def test_every_parameter_and_field_is_on_the_page(daemon: Any) -> None:
    """Query parameters, and the fields of what is answered."""
    document = daemon.ask("GET", "/api/v1/openapi.json").json()
    names = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            names |= {item["name"] for item in operation.get("parameters", ())}
    for model in ("JobInfo", "DaemonInfo", "JobMetrics", "LogChunk", "FailureInfo", "StateChange", "CleanupRequest"):
        names |= set(document["components"]["schemas"][model]["properties"])
    text = PAGE.read_text()
    told = set(re.findall(r"[`\"](\w+)(?:=[^`]*)?[`\"]", text)) | {"ref", "last-event-id"}
    missing = sorted(names - told)
    assert missing == []


def test_every_code_of_the_daemon_is_on_the_page() -> None:
    """The errors that its own modules define, each with the code that clients see."""
    text = PAGE.read_text()
    for module in (guard, home, lifecycle, network, problems, store):
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, SageError) and cls is not SageError:
                assert f"`{cls.code}`" in text, cls
