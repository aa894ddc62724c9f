"""Connectors of other distributions, reached by their names."""

from __future__ import annotations

import sys

import pytest
from conftest import Install

from sage.core import plugins
from sage.core.api import LocalEnvironment
from sage.core.errors import GraphError, PluginError

SHELF = """
    from sage.core.connectors.api import STOP, ConnectorError
    from sage.core.plugins import hookimpl

    taken = []

    class Reader:
        def __init__(self, items, position):
            self.items, self.at = items, position or 0
        def read(self, n):
            if self.at == len(self.items):
                return STOP
            found, self.at = self.items[self.at:self.at + n], min(self.at + n, len(self.items))
            return found
        def position(self): return self.at
        def wait(self, timeout): ...
        def close(self): ...

    class Source:
        bounded = True
        def __init__(self, items): self.items = items
        def partitions(self): return ["all"]
        def open(self, partition, position): return Reader(self.items, position)

    class Sink:
        delivery = "at-least-once"
        def open(self, context): ...
        def write(self, records): taken.extend(records)
        def prepare(self, n): return None
        def commit(self, handle): ...
        def abort(self, handle): ...
        def close(self): ...

    class Connector:
        def source(self, items, *, limit=None):
            if limit == 0:
                raise ConnectorError("limit must be above 0", hint="leave it out")
            return Source(list(items)[:limit])
        def sink(self):
            return Sink()

    @hookimpl
    def sage_connector(name):
        return Connector()
"""


def shelf(install: Install, name: str, code: str = SHELF) -> None:
    install(f"sage-{name.replace('_', '-')}", name, code, group="sage.connectors")


def test_a_pipeline_reads_from_and_writes_to_a_connector_by_name(install: Install) -> None:
    """Options go to the connector, and it is known in the graph by its name."""
    shelf(install, "c_shelf")
    env = LocalEnvironment()
    env.from_connector("c_shelf", items=[1, 2, 3], limit=2).map(str).to_connector("c_shelf", uid="out")
    assert "read 'c_shelf'" in env.explain() or "c_shelf" in env.explain()
    env.submit(autostop=True)
    assert sys.modules["c_shelf"].taken == ["1", "2"]


def test_wrong_options_are_problems_of_the_pipeline(install: Install) -> None:
    """All are told at once, each with the line that gives them."""
    shelf(install, "c_options")
    env = LocalEnvironment()
    env.from_connector("c_options", items=[1], limit=0).print()
    env.from_connector("c_options", itmes=[1]).print()
    env.from_connector("c_options", [1]).print()
    env.from_connector("c_options", items=5).print()
    with pytest.raises(GraphError) as caught:
        env.submit()
    said = [problem.message for problem in caught.value.problems]
    assert len(said) == 4
    for message, part in zip(
        said,
        ("limit must be above 0", "missing a required argument: 'items'", "by name", "'int' object is not iterable"),
        strict=True,
    ):
        assert part in message
        assert "read 'c_options'" in message
    assert caught.value.problems[0].hint == "leave it out"
    assert all(problem.where for problem in caught.value.problems)


def test_a_connector_may_only_read_or_only_write(install: Install) -> None:
    """What it cannot do is a problem of the pipeline that asks for it."""
    shelf(install, "c_reads", SHELF.replace("def sink", "def _sink"))
    env = LocalEnvironment()
    env.from_batch([1]).to_connector("c_reads")
    with pytest.raises(GraphError, match=r"the connector 'c_reads' only reads: it has no sink\(…\)"):
        env.submit()


def test_what_a_connector_gives_is_judged_like_a_users(install: Install) -> None:
    """A source that is none is told with the methods that it lacks."""
    shelf(install, "c_gives", SHELF.replace("return Sink()", "return 5"))
    env = LocalEnvironment()
    env.from_batch([1]).to_connector("c_gives")
    with pytest.raises(GraphError, match="does not define open, write, close"):
        env.submit()


def test_an_unknown_connector_is_an_error_where_it_is_named(install: Install) -> None:
    """It lists those installed, and the one that was meant."""
    shelf(install, "c_known")
    with pytest.raises(PluginError, match="there is no connector 'c_knwon'; installed: c_known") as caught:
        LocalEnvironment().from_connector("c_knwon")
    assert caught.value.hint == "did you mean 'c_known'?"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1", "it has no sage_connector marked with @hookimpl"),
        (SHELF.replace("return Connector()", "return 5"), "has neither source(…) nor sink(…)"),
        (SHELF.replace("return Connector()", "pass"), "sage_connector returned None"),
        (SHELF.replace("return Connector()", "return 1 / 0"), "sage_connector raised ZeroDivisionError"),
    ],
)
def test_a_broken_connector_is_named(install: Install, code: str, said: str) -> None:
    """As any plugin is that was asked for by name."""
    install("sage-t-broken", "c_broken", code, group="sage.connectors")
    with pytest.raises(PluginError, match=r"of sage-t-broken .* is broken") as caught:
        plugins.connector("c_broken")
    assert said in str(caught.value)
