"""The page of hooks: complete, and its distribution does what the page says once it is installed."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sage.core import plugins
from sage.core.plugins import hookspecs

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "hooks.md"
FENCE = re.compile(r"^<!-- (?P<directive>[^\n]*) -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
HOOKS = [hook for hooks in hookspecs.HOOKS.values() for hook in hooks]
LIMIT = 120
USED = "not run: acme-sage has to be installed"
PRINTS = "not run: what that prints"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Block(NamedTuple):
    """A fenced block of the page, and what the comment above it says."""

    directive: str
    language: str
    text: str


BLOCKS = [Block(*match.groups()) for match in FENCE.finditer(PAGE.read_text())]


def section(hook: str) -> str:
    """The text under a hook's heading, which is its signature."""
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "").replace("-> Any", "-> typer.Typer")
    _, found, text = PAGE.read_text().partition(f"\n## `{hook}{signature}`\n")
    assert found, f"no heading `{hook}{signature}`"
    return text.partition("\n## ")[0]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    """With its signature and what it is for; the group is in the table, and the page implements it."""
    assert len(section(hook).split()) > 15
    (group,) = (group for group, hooks in hookspecs.HOOKS.items() if hook in hooks)
    assert re.search(rf"^\| `{group}` \|.*`{hook}`", PAGE.read_text(), re.M)
    assert any(f"@hookimpl\ndef {hook}(" in block.text for block in BLOCKS)


def test_every_public_name_is_documented() -> None:
    """Those of `sage.core.plugins`, and what a command's context has."""
    names = [*plugins.__all__, *(name for name in vars(plugins.CommandContext) if not name.startswith("_"))]
    text = PAGE.read_text()
    assert [name for name in names if not re.search(rf"`{name}[`(]", text)] == []


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on its own with the page's distribution, built and installed."""
    source, target = tmp_path_factory.mktemp("acme"), tmp_path_factory.mktemp("site")
    for block in BLOCKS:
        kind, _, name = block.directive.partition(":")
        if kind == "file":
            (source / name.strip()).write_text(block.text)
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--offline",
    ]
    done = subprocess.run(
        [*command, "--python", sys.executable, "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def run(acme: Path, tmp_path: Path) -> Run:
    """Run a command as somebody would who has installed the distribution."""

    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SAGE_", "COV"))}
        env = clean | {
            "PYTHONPATH": os.pathsep.join([str(acme), os.environ.get("PYTHONPATH", "")]),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "SAGE_HOME": str(tmp_path / "home"),
            "SAGE_PLUGINS__DISABLE": "[sage-plugins-example]",
            **variables,
        }
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)

    return run


def used(language: str) -> list[tuple[Block, Block]]:
    """The blocks that use the distribution, each with the one behind it."""
    pairs = zip(BLOCKS, [*BLOCKS[1:], Block("", "", "")], strict=True)
    return [(block, after) for block, after in pairs if block.directive == USED and block.language == language]


def test_the_programs_of_the_page_print_what_it_says(run: Run, tmp_path: Path) -> None:
    """A connector and a backend by their names, a veto, and a diary of jobs."""
    assert len(used("python")) == 3
    for block, after in used("python"):
        (tmp_path / "diary.txt").unlink(missing_ok=True)
        done = run(sys.executable, "-c", block.text)
        assert done.returncode == 0, done.stderr
        if after.directive == PRINTS:
            assert done.stdout == after.text
        else:
            assert after.directive == "not run: the diary"
            assert (tmp_path / "diary.txt").read_text() == after.text


def test_the_commands_of_the_page_print_what_it_says(run: Run) -> None:
    """And are listed with their helps, beside and inside SAGE's own groups."""
    ((block, _),) = used("console")
    command, _, printed = block.text.removeprefix("$ ").partition("\n")
    done = run(*shlex.split(command))
    assert (done.returncode, done.stdout) == (0, printed), done.stderr
    assert "  acme        Say what Acme is.\n" in run("sage", "--help").stdout
    assert "  age       Tell when a job was submitted.\n" in run("sage", "job", "--help").stdout


def test_every_hook_of_the_page_is_called(run: Run, tmp_path: Path) -> None:
    """All of them in the end, with the arguments that they name."""
    done = run(sys.executable, "-c", used("python")[0][0].text, SAGE_TRACE_PLUGINS="1")
    failed = run(sys.executable, "-c", used("python")[2][0].text, SAGE_TRACE_PLUGINS="1")
    command = run("sage", "acme", SAGE_TRACE_PLUGINS="1")
    checkpoint = run(
        sys.executable,
        "-c",
        "from sage.core.models import CheckpointInfo, JobInfo\n"
        "from sage.core.plugins.job_hooks import installed_job_hooks\n"
        "hooks = installed_job_hooks()\n"
        "hooks.checkpoint(JobInfo(1, 'u', 'orders', 'running'), CheckpointInfo(7, 'savepoint', 0, 'now'))\n"
        "hooks.close(60)\n",
        SAGE_TRACE_PLUGINS="1",
    )
    called = "".join(each.stderr for each in (done, failed, command, checkpoint))
    assert [hook for hook in HOOKS if f"called {hook} of acme" not in called] == []
    assert "orders has the savepoint 7\n" in (tmp_path / "diary.txt").read_text()
    assert "acme: 1 tasks of countdown" in done.stderr


def test_the_doctor_finds_nothing_wrong_with_it(run: Run) -> None:
    """Nor with anything else that is installed."""
    done = run("sage", "plugins", "doctor")
    assert done.returncode == 0, done.stdout
