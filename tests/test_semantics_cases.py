"""The page of semantics cases lists the tests that hold us to them, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "semantics-cases.md"
TESTS = ROOT / "packages" / "sage-core" / "tests"


def rows() -> Iterator[str]:
    """A row of the table for each test of `test_cases_*.py`, made of its docstring."""
    for file in sorted(TESTS.glob("test_cases_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                told = re.sub(r"\s*\n\s*", " ", (ast.get_docstring(node) or "").replace("\n\nOurs differs: ", "\0"))
                told, _, differs = told.partition("\0")
                match = re.fullmatch(r"((?:Flink|Beam) [A-Z]\w+[^:]*): (.*)", told)
                assert match, f"{file.name}: the docstring of {node.name} names no case"
                yield f"| {match[1]} | {match[2]} | {differs} | `{file.stem}.{node.name}` |".replace("|  |", "| |")


def test_the_page_lists_every_case() -> None:
    """A case that is added, dropped or reworded is so on the page, too."""
    listed = [line for line in PAGE.read_text().splitlines() if re.match(r"\| (Flink|Beam) ", line)]
    assert listed == list(rows())
