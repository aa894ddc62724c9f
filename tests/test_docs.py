"""The documentation: its code runs, its links lead somewhere, its map of the code is true.

How a page's fenced blocks are run, each page in an empty folder and with an empty SAGE_HOME:

- `python` blocks are one program, run in order in one process, after everything else.
- A block after `<!-- file: NAME -->` is written to that file instead.
- `console` blocks after `<!-- run -->` are run line by line (those that begin with `$ `), each has to succeed. `cd`
  leads from one folder to another, for what follows too. `pip install` of a project builds and installs it, for this
  page alone and without a network: what it depends on is there already.
- A block after `<!-- output -->` is what the `python` block right before it prints, all of it. Behind any other block
  it has to appear in what was printed at all.
- A block after `<!-- not run: REASON -->` is for reading only.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *ROOT.glob("packages/*/*.md"),
    ]
)
FENCE = re.compile(
    r"^(?P<mark><!--(?P<directive>[^\n]*?)-->\n+)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.M | re.S
)
BEGIN = "--- block on line "
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    directive: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in order; `line` is that of the first line of code."""
    text = page.read_text()
    return [
        Block(
            match["language"],
            (match["directive"] or "").strip(),
            match["text"],
            text.count("\n", 0, match.start("text")) + 1,
        )
        for match in FENCE.finditer(text)
    ]


def is_code(block: Block) -> bool:
    """Whether a block is part of the page's program."""
    return block.language == "python" and not block.directive


def program(page: Path) -> str:
    """The page's `python` blocks as one program, each on the line it has in the page, so that tracebacks fit.

    On the line of its fence each begins to print where that of its own is looked for.
    """
    lines: list[str] = []
    for block in blocks(page):
        if is_code(block):
            lines += [""] * (block.line - 2 - len(lines)) + [f'print("{BEGIN}{block.line}")', *block.text.splitlines()]
    return "\n".join(lines) + "\n" if lines else ""


def printed_by(block: Block, printed: str) -> str:
    """What a `python` block of the page has printed, of all that the page has."""
    return printed.partition(f"{BEGIN}{block.line}\n")[2].partition(BEGIN)[0]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


INSTALL = [*(sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable), "--quiet", "--offline"]
INSTALL += ["--no-deps", "--no-build-isolation", "--reinstall"]


class Run(Protocol):
    """Runs a command in a folder, by default the page's; returns its output."""

    def __call__(self, command: list[str], folder: Path | None = None) -> str: ...


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run commands as a reader would."""
    (tmp_path / "page").mkdir()
    site = tmp_path / "site"
    editable: list[str] = []
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SAGE_")}
    environment |= {
        "SAGE_HOME": str(tmp_path / "home"),
        "SAGE_DAEMON__PORT": str(free_port()),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
    }

    def run(command: list[str], folder: Path | None = None) -> str:
        folder = folder or tmp_path / "page"
        if command[:2] == ["pip", "install"]:
            if "-e" in command:
                editable.append(str(folder / "src"))
            command = [*INSTALL, "--target", str(site), *(part for part in command[2:] if part != "-e")]
        places = [*editable, str(site), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment | ({"PYTHONPATH": os.pathsep.join(filter(None, places))} if site.exists() else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    return run


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_the_code_of_a_page_runs(page: Path, run: Run, tmp_path: Path) -> None:
    """A reader who does what the page says, in the page's order, meets no error and sees what it promises."""
    folder = tmp_path / "page"
    printed = ""
    starts_daemon = False
    try:
        for block in blocks(page):
            kind, _, argument = block.directive.partition(":")
            assert kind in {"", "file", "run", "output", "not run"}, f"line {block.line}: unknown mark {kind!r}"
            if kind == "file":
                path = folder / argument.strip()
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
            if kind == "run":
                for line in block.text.splitlines():
                    if line.startswith("$ "):
                        command = shlex.split(line[2:], comments=True)
                        if command[0] == "cd":
                            folder /= command[1]
                            continue
                        starts_daemon = starts_daemon or command[:3] == ["sage", "jobmanager", "start"]
                        printed += run(command, folder)
        if code := program(page):
            # What is imported by name is not the page.
            script = folder / f"{page.stem}{'_page' if page.stem in sys.stdlib_module_names else ''}.py"
            script.write_text(code)
            printed += run([sys.executable, str(script)], folder)
    finally:
        if starts_daemon:
            run(["sage", "jobmanager", "stop"])
    assert "StateWarning" not in printed
    for before, block in itertools.pairwise(blocks(page)):
        if block.directive == "output" and is_code(before):
            assert printed_by(before, printed) == block.text, f"line {block.line}"
        elif block.directive == "output":
            assert block.text in printed, f"line {block.line}: not in\n{printed}"


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "tutorial" / "first-pipeline.md"], ids=name)
def test_type_checkers_accept_the_first_programs(page: Path, checker: str, run: Run, tmp_path: Path) -> None:
    """What a newcomer copies has no error in an editor, under the settings that checkers have by themselves."""
    for block in blocks(page):
        if block.directive.startswith("file:") and block.language == "python":
            (tmp_path / "page" / block.directive.removeprefix("file:").strip()).write_text(block.text)
    if code := program(page):
        (tmp_path / "page" / "program.py").write_text(code)
    run(
        [
            sys.executable,
            "-m",
            checker,
            "--python-executable" if checker == "mypy" else "--pythonpath",
            sys.executable,
            ".",
        ]
    )


def slug(heading: str) -> str:
    """The anchor of a heading, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]+`", "``", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file or heading of the repository finds it."""
    broken = []
    for match in LINK.finditer(without_code(page.read_text())):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists():
            broken.append(f"{match['target']}: no such file")
        elif anchor:
            headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S), re.M)
            if anchor not in {slug(heading) for heading in headings}:
                broken.append(f"{match['target']}: no such heading")
    assert broken == []


def test_every_page_can_be_found_from_the_index() -> None:
    """Following links from the index reaches every page below docs."""
    docs = ROOT / "docs"
    todo, reached = [docs / "index.md"], set()
    while todo:
        page = todo.pop()
        reached.add(page)
        for match in LINK.finditer(without_code(page.read_text())):
            target = (page.parent / match["target"].partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_relative_to(docs) and target.exists() and target not in reached:
                todo.append(target)
    assert sorted(name(page) for page in set(docs.rglob("*.md")) - reached) == []


def map_of_the_code() -> list[Path]:
    """Every path that architecture.md names: in backquotes, relative to the folder of its section."""
    paths, base = [], ROOT
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        if line.startswith("#"):
            base = ROOT
        if match := re.match(r"Below `([\w/.-]+)`", line):
            base = ROOT / match[1]
            paths.append(base)
        elif line.startswith("|"):
            cell = line.split("|")[1]
            paths += [base / token for token in re.findall(r"`([\w/.-]+)`", cell)]
    return paths


def test_the_map_names_what_exists() -> None:
    """Each folder and file that the map of the code names is there."""
    assert [name(path) for path in map_of_the_code() if not path.exists()] == []


def test_the_map_is_complete() -> None:
    """Each package folder of the sources is on the map."""
    mapped = {path.resolve() for path in map_of_the_code()}
    folders = {path.parent for path in ROOT.glob("packages/*/src/**/*.py") if path.parent.name != "src"}
    assert sorted(name(folder) for folder in folders - mapped) == []
