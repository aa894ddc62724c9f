"""For pytest: fixtures for tests of pipelines, and the options of the conformance kit.

pytest imports this module at its start wherever sage-core is installed, so it loads nothing of SAGE by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sage.core.api import DataStream, LocalEnvironment
    from sage.core.testing import CollectingSink, ThrowAwayJobManager

__all__ = [
    "jobmanager",
    "pytest_addoption",
    "pytest_configure",
    "sage_env",
    "sage_environment",
    "sage_script",
    "sage_sink",
]

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
    option("connector", "the connector whose conformance is tried", metavar="NAME", dest="sage_connector")
    option(
        "connector-option",
        "an option of its source and sink, or of one: source.KEY=VALUE, sink.KEY=VALUE; may be given several times",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="sage_connector_options",
    )
    option(
        "connector-records",
        "JSON Lines with records that its sink can write; without, the sink is not tried",
        metavar="FILE",
        dest="sage_connector_records",
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
    if config.getoption("sage_backend") or config.getoption("sage_connector"):
        pytest.register_assert_rewrite(_KIT, "sage.core.testing.connectors")
        config.pluginmanager.import_plugin(f"{_KIT}._plugin")
    elif config.option.pyargs and any(str(argument).startswith(_KIT) for argument in config.args):
        raise pytest.UsageError(
            f"what is to be tried? pytest --pyargs {_KIT} --sage-backend NAME, or --sage-connector NAME"
        )


@pytest.fixture
def sage_environment() -> Iterator[Callable[..., LocalEnvironment]]:
    """Makes environments: ``sage_environment(name="test", backend="inline", **options)``.

    After the test, jobs of theirs that have not ended are cancelled.
    """
    from sage.core.api import LocalEnvironment

    made: list[LocalEnvironment] = []

    def make(name: str = "test", backend: str = "inline", **options: Any) -> LocalEnvironment:
        made.append(LocalEnvironment(name, backend, options=options))
        return made[-1]

    yield make
    for environment in made:
        _end(environment)


@pytest.fixture
def sage_env(sage_environment: Callable[..., LocalEnvironment]) -> LocalEnvironment:
    """An environment whose pipeline runs within `submit`, record by record, in virtual time: nothing is waited for."""
    return sage_environment(clock="virtual")


@pytest.fixture
def sage_script(sage_env: LocalEnvironment) -> Callable[..., DataStream[Any]]:
    """Declares sources of ``sage_env`` that give what a test says: ``sage_script(steps, name="script")``."""
    from sage.core.testing import script

    def declare(steps: Iterable[Any], name: str = "script") -> DataStream[Any]:
        return script(sage_env, steps, name=name)

    return declare


@pytest.fixture
def sage_sink() -> CollectingSink:
    """A sink that keeps what it is given, in ``records``."""
    from sage.core.testing import CollectingSink

    return CollectingSink()


@pytest.fixture(scope="session")
def jobmanager() -> Iterator[ThrowAwayJobManager]:
    """A JobManager on a free port, in a ``SAGE_HOME`` of its own; it ends with all of its jobs after the last test.

    It needs sage-runtime.
    """
    from sage.core.testing import ThrowAwayJobManager

    with ThrowAwayJobManager() as manager:
        yield manager


def _end(environment: LocalEnvironment) -> None:
    from sage.core.errors import WrongStateError

    try:
        environment.stop()
    except WrongStateError:
        return  # it was not submitted
    environment.close()
