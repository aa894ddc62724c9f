"""What a command does not load: start time by its causes, since figures are no test."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

HEAVY = (
    "pluggy",
    "importlib.metadata",
    "rich",
    "ray",
    "pydantic",
    "yaml",
    "ruamel",
    "http.client",
    "cloudpickle",
    "psutil",
)
PROBE = """
import json, sys
from _sage_boot import main
sys.argv[1:] = json.loads(sys.argv[1])
try:
    code = main()
except SystemExit as error:
    code = error.code
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded(sage: Any, *args: str) -> set[str]:
    """The modules that are loaded when the command is through."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROBE, json.dumps(args)],
        env=sage.environment(),
        cwd=sage.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


def test_version_loads_nothing_heavy(sage: Any) -> None:
    """`sage version` needs no plugin, no metadata, no YAML, no HTTP and no rich."""
    assert loaded(sage, "version").isdisjoint(HEAVY)


def test_list_loads_http_and_nothing_else_heavy(sage: Any, jobmanager: Any) -> None:
    """`sage job list` speaks HTTP; without a terminal it needs no rich, without a file and for a port no YAML."""
    jobmanager.on("GET", "jobs", {"items": [jobmanager.job()], "next_cursor": None})
    modules = loaded(sage, "job", "list")
    assert modules & set(HEAVY) == {"http.client"}
    assert {name for name in modules if name.startswith("sage.cli.commands.")} == {
        "sage.cli.commands.job",
        "sage.cli.commands.job.list",
    }


@pytest.mark.parametrize("args", [("--help",), ("job", "--help"), ("config", "--help")])
def test_help_loads_no_command(sage: Any, args: tuple[str, ...]) -> None:
    """Names and helps come from the registry and from metadata, not from the commands' modules."""
    modules = loaded(sage, *args)
    assert not [name for name in modules if name.startswith(("sage.cli.commands.", "sage.runtime"))]
    assert modules.isdisjoint({"rich", "pydantic", "yaml", "http.client"})
