"""For pytest: fixtures for tests of pipelines, and the options of the conformance kit.

pytest imports this module at its start wherever sage-core is installed, so it loads nothing of SAGE by itself.
"""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["pytest_addoption", "pytest_configure"]

_KIT = "sage.core.testing.conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sage", "SAGE: conformance of backends and connectors")

    def option(name: str, help: str, **how: Any) -> None:
        group.addoption(f"--sage-{name}", help=help, **how)

    option("backend", "the backend whose conformance is tried", metavar="NAME", dest="sage_backend")
    option(
        "backend-option",
        "an option of that backend, its value as in YAML; may be given several times",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="sage_backend_options",
    )
    option("report", "where to write, as JSON, which promises were kept", metavar="FILE", dest="sage_report")
    option(
        "limit",
        "seconds after which a job that should end is said never to (default: 60)",
        metavar="SECONDS",
        type=float,
        default=60.0,
        dest="sage_limit",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("sage_backend"):
        pytest.register_assert_rewrite(_KIT)
        config.pluginmanager.import_plugin(f"{_KIT}._plugin")
    elif config.option.pyargs and any(str(argument).startswith(_KIT) for argument in config.args):
        raise pytest.UsageError(f"which backend is to be tried? pytest --pyargs {_KIT} --sage-backend NAME")
