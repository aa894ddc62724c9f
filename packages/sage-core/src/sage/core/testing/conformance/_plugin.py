"""For pytest, once a backend or a connector was named: collects the promises, runs them, and tells which were kept."""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sage.core.errors import SageError
from sage.core.testing.conformance._promises import MODULES, promise_of
from sage.core.testing.conformance.kit import Kit
from sage.core.testing.conformance.named import NamedConnector
from sage.core.versions import version_of

__all__ = [
    "Report",
    "Watch",
    "kit",
    "pytest_collect_directory",
    "pytest_collect_file",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_terminal_summary",
    "pytest_unconfigure",
    "sage_connector",
]

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[2]
"""Where the namespace package is: none of the folders from here down may be imported by where it is."""

_WORDS = {"passed": "kept", "failed": "broken", "skipped": "not claimed"}


@dataclass
class Report:
    """What became of the promises.

    Attributes:
        subject: ``backend`` or ``connector``.
        name: of it.
        options: it was made with these.
        capabilities: that it declares.
        results: by id, the promise, the outcome, seconds and what went wrong.
    """

    subject: str
    name: str
    options: dict[str, Any]
    capabilities: frozenset[str] = frozenset()
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, promise: dict[str, Any], outcome: str, seconds: float, message: str | None) -> None:
        known = self.results.get(promise["id"])
        if known is None or outcome == "broken":
            self.results[promise["id"]] = {**promise, "outcome": outcome, "seconds": seconds, "message": message}

    def to_json(self) -> dict[str, Any]:
        counts = {word: sum(item["outcome"] == word for item in self.results.values()) for word in _WORDS.values()}
        return {
            "sage": 1,
            "kind": "Conformance",
            "data": {
                self.subject: self.name,
                "options": self.options,
                "capabilities": sorted(self.capabilities),
                "versions": {"sage-core": version_of("sage-core"), "python": sys.version.split()[0]},
                "kept": counts["kept"],
                "broken": counts["broken"],
                "not_claimed": counts["not claimed"],
                "promises": list(self.results.values()),
            },
        }


_report = pytest.StashKey[Report]()
_connector = pytest.StashKey[NamedConnector]()


class _Promises(pytest.Module):
    """A module of promises, imported by its name, as the processes of a backend import it."""

    def _getobj(self) -> Any:
        return importlib.import_module(f"{__package__}.{self.path.stem}")

    def istestfunction(self, obj: object, name: str) -> bool:
        return promise_of(obj) is not None

    def istestclass(self, obj: object, name: str) -> bool:
        return isinstance(obj, type) and obj.__module__ == self.obj.__name__ and name == "OfTheConnector"


def pytest_configure(config: pytest.Config) -> None:
    backend, connector = config.getoption("sage_backend"), config.getoption("sage_connector")
    if backend and connector:
        raise pytest.UsageError("--sage-backend and --sage-connector: one at a time")
    try:
        if backend:
            options = _options(config.getoption("sage_backend_options"))
            report = Report("backend", backend, options, Kit(backend, options, Path(), 0.0).capabilities)
        else:
            options = _options(config.getoption("sage_connector_options"))
            records = config.getoption("sage_connector_records")
            named = NamedConnector(connector, options, Path(records) if records else None)
            config.stash[_connector] = named
            report = Report("connector", connector, options)
    except (SageError, OSError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_report] = report
    config.pluginmanager.register(Watch(report), "sage-conformance-watch")


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Folders of SAGE are no packages of tests: pytest would import them by another name."""
    return pytest.Dir.from_parent(parent, path=path) if path.is_relative_to(_ROOT / "core") else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    modules = MODULES if parent.config.getoption("sage_backend") else ("sources", "sinks")
    if file_path.parent == _HERE and file_path.stem in modules:
        return _Promises.from_parent(parent, path=file_path)
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    report = config.stash[_report]
    for item in items:
        promise = promise_of(getattr(item, "function", None))
        if promise is None:
            continue
        item.extra_keyword_matches.add(promise.id)  # so that -k finds it
        told = {
            "id": promise.id,
            "group": promise.group,
            "text": promise.text,
            "reference": promise.reference,
            "needs": promise.need,
        }
        item.user_properties.append(("sage_promise", told))
        if not promise.is_claimed(report.capabilities):
            reason = f"'{report.name}' does not declare what this needs: {promise.need}"
            item.add_marker(pytest.mark.skip(reason=reason))
    order = {name: number for number, name in enumerate((*MODULES, "sources", "sinks"))}
    items.sort(key=lambda item: order[item.path.stem] if item.path.parent == _HERE else -1)


class Watch:
    """Hears what became of the promises; under pytest-xdist, of those that others have run."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties).get("sage_promise")
        if isinstance(told, dict) and (report.when == "call" or report.outcome != "passed"):
            message = report.longreprtext.strip().splitlines()[-1] if report.failed and report.longrepr else None
            crash = getattr(report.longrepr, "reprcrash", None)
            message = getattr(crash, "message", message) if report.failed else message
            self._report.note(told, _WORDS[report.outcome], round(report.duration, 3), message)


@pytest.fixture
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kit]:
    """What promises of a backend are tried with."""
    report = request.config.stash[_report]
    kit = Kit(report.name, report.options, tmp_path, request.config.getoption("sage_limit"))
    yield kit
    kit.close()


@pytest.fixture
def sage_connector(request: pytest.FixtureRequest) -> NamedConnector:
    """What promises of a connector are tried with."""
    return request.config.stash[_connector]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    report = config.stash[_report]
    data = report.to_json()["data"]
    path = config.getoption("sage_report")
    if path:
        Path(path).write_text(json.dumps(report.to_json(), indent=1) + "\n")
    if not report.results:
        return
    write = terminalreporter.write_line
    claims = f": {', '.join(data['capabilities']) or 'no capabilities'}" if report.subject == "backend" else ""
    terminalreporter.section(f"{report.subject} {report.name}{claims}", sep="=")
    width = max(map(len, report.results))
    room = max(40, terminalreporter._tw.fullwidth - width - 15)
    for id, result in report.results.items():
        outcome, text = result["outcome"], result["text"]
        text = text if len(text) <= room else text[: room - 1] + "…"
        color = {"kept": "green", "broken": "red"}.get(outcome, "yellow")
        write(f"{id:<{width}}  {outcome:<11}  {text}", **{color: True})
    write(f"{data['kept']} kept, {data['broken']} broken, {data['not_claimed']} not claimed")
    if path:
        write(f"report: {path}")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """A backend that never returns may not keep the kit from ending."""
    report = config.stash.get(_report, None)
    hangs = any(thread.name.startswith("conformance-") for thread in threading.enumerate())
    if report is not None and hangs:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _options(given: list[str]) -> dict[str, Any]:
    """``KEY=VALUE``, with values as in YAML."""
    from yaml import YAMLError, safe_load

    options = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise pytest.UsageError(f"an option is given as KEY=VALUE, not {item!r}")
        try:
            options[key] = safe_load(value)
        except YAMLError as error:
            raise pytest.UsageError(f"the value of {key} cannot be read: {error}") from error
    return options
