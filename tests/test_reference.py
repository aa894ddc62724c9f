"""The reference pages name what there is."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

from sage.core import errors
from sage.core.errors import SageError

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def test_every_error_is_in_the_reference_with_its_code_and_exit_code() -> None:
    """The table of errors is complete and true."""
    text = (REFERENCE / "errors.md").read_text()
    rows = {
        match[1]: (match[2], int(match[3])) for match in re.finditer(r"^\| `(\w+)` \| `(\w+)` \| (\d+) \|", text, re.M)
    }
    classes = [getattr(errors, name) for name in errors.__all__]
    expected = {
        item.__name__: (item.code, item.exit_code)
        for item in classes
        if isinstance(item, type) and issubclass(item, SageError) and item is not SageError
    }
    assert rows == expected


def test_every_public_name_of_the_api_is_in_the_reference() -> None:
    """What `sage.core.api` exports is explained."""
    from sage.core import api

    text = (REFERENCE / "api.md").read_text()
    missing = [name for name in api.__all__ if name not in {"DataStream", "Environment"} and name not in text]
    assert missing == []
    methods = [name for name in vars(api.DataStream) if not name.startswith("_")]
    assert [name for name in methods if not re.search(rf"`{name}[(`]", text)] == []


def test_every_metric_is_in_the_reference() -> None:
    """Each field of what a job reports of itself is explained."""
    from sage.core.models import EdgeMetrics, JobMetrics, Latency, OperatorMetrics

    text = (REFERENCE / "metrics.md").read_text()
    told = set(re.findall(r"`(\w+)`", text)) | {"uid", "name", "kind", "parallelism", "operators", "edges"}
    models = (JobMetrics, OperatorMetrics, EdgeMetrics, Latency)
    assert {field.name for model in models for field in dataclasses.fields(model)} - told == set()


def test_every_option_of_files_is_in_the_reference() -> None:
    """Each keyword of the methods that read and write files is explained."""
    from sage.core.api import DataStream, LocalEnvironment

    text = (REFERENCE / "files.md").read_text()
    methods = [getattr(LocalEnvironment, f"from_{kind}") for kind in ("text", "jsonl", "csv")]
    methods += [getattr(DataStream, f"to_{kind}") for kind in ("text", "jsonl", "csv")]
    options = {name for method in methods for name in inspect.signature(method).parameters} - {"self", "path"}
    assert sorted(name for name in options if f"`{name}`" not in text) == []


def test_every_operator_is_described_with_an_example() -> None:
    """Each method of a stream has its place on the page of operators."""
    from sage.core import api

    text = (REFERENCE / "operators.md").read_text()
    streams = {"dead_letters", "late_records"}
    methods = [name for name in vars(api.DataStream) if not name.startswith("_") and name not in streams]
    assert [name for name in methods if f"`{name}(" not in text and f".{name}(" not in text] == []
    headings = " ".join(re.findall(r"^## (.*)$", text, re.M)).lower().replace("side outputs", "side_output")
    assert [name for name in methods if name not in headings] == []


def test_every_promise_is_in_the_reference() -> None:
    """The page of the conformance kit has each promise, in its group, as the kit tells it; and what it refers to."""
    from sage.core.testing.conformance import promises

    text = (REFERENCE / "conformance.md").read_text()
    rows = re.findall(r"^\| `([\w.-]+)` \| (.*?) \| (.*?) \| \[.*?\]\((.*?)\) \|$", text, re.M)
    all_of_them = (*promises("backend"), *promises("connector"))
    assert [(id, words, needs, f"reference/{page}") for id, words, needs, page in rows] == [
        (item.id, item.text, item.need, item.reference) for item in all_of_them
    ]
    assert re.findall(r"^### (.*)$", text, re.M) == list(dict.fromkeys(item.group for item in all_of_them))
