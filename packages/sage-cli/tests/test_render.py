"""Rendering: what is cleaned, what is aligned, what passes on a terminal, and what documents look like."""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.cli.render import plain, rich_
from sage.cli.render.documents import json_text, yaml_text
from sage.cli.render.envelope import envelope
from sage.cli.render.jobs import duration, metrics_tables, moment
from sage.cli.render.jobs import table as job_table
from sage.cli.render.logs import LogPrinter
from sage.cli.render.parts import Block, Column, Fields, Line, Part, Table
from sage.cli.render.text import LogFilter, clean, clean_block
from sage.cli.render.views import view
from sage.core.models import DaemonInfo, EdgeMetrics, JobInfo, JobMetrics, Latency, OperatorMetrics, Page

PARTS: list[Part] = [
    Line("a\x1b[2Jline"),
    Fields([("name", "one\ntwo"), ("longer name", "\x9b31m")], title="fields"),
    Table([Column("N", right=True), Column("STATE", states=True)], [["1", "failed"], ["22", "[red]x"]], title="table"),
    Table([Column("NONE")], [], title="empty"),
    Block("text", "first\n\tsecond\x07\n"),
]


def test_plain_text_is_aligned_and_cleaned() -> None:
    """Parts with a line between, cells under their headings, controls spelled out, empty tables left out."""
    assert plain.render(PARTS) == (
        "a\\x1b[2Jline\n"
        "\n"
        "fields:\n"
        "  name:         one\n"
        "                two\n"
        "  longer name:  \\x9b31m\n"
        "\n"
        "table:\n"
        "   N  STATE\n"
        "   1  failed\n"
        "  22  [red]x\n"
        "\n"
        "text:\n"
        "  first\n"
        "  \tsecond\\x07\n"
    )
    assert plain.render([]) == ""
    assert plain.render([Line("a"), Line("b")]) == "a\nb\n"


def test_wide_characters_take_two_columns() -> None:
    """Names in wide scripts keep the columns aligned."""
    table = Table([Column("NAME"), Column("X")], [["数字", "1"], ["e\u0301", "2"]])
    assert plain.render([table]) == "NAME  X\n数字  1\ne\u0301     2\n"


def test_rich_reads_no_markup_and_lets_no_control_through() -> None:
    """On a terminal text from jobs is text, whatever it looks like."""
    out = io.StringIO()
    console = rich_.console(out, colors=False)
    console.print(rich_.renderable(PARTS))
    shown = out.getvalue()
    assert "[red]x" in shown and "\\x1b[2Jline" in shown and "\\x07" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)


@pytest.mark.parametrize("width", [80, 40])
def test_in_80_columns_only_names_of_jobs_are_folded(width: int) -> None:
    """Numbers, times and uuids stay in one piece where there is room for that; nothing is lost where there is not."""
    name = "ZQ ZQ ZQ ZQ ZQ ZQ ZQ ZQ ZQ ZQ"
    row = ["12", name, "completed", "local", "2026-01-02 03:04:05", "2.5s", "0a1b2c3d"]
    out = io.StringIO()
    console = rich_.console(out, colors=False)
    console.width = width
    console.print(rich_.renderable([Table(job_table([])[0].columns, [row])]))
    lines = out.getvalue().splitlines()
    in_one_line = any(all(cell in line for cell in row if cell != name) for line in lines)
    assert in_one_line == (width == 80)
    assert max(map(len, lines)) <= width
    assert (out.getvalue().count("Z"), out.getvalue().count("Q")) == (10, 10)


def test_in_80_columns_metrics_fold_only_names() -> None:
    """A job of some size fits: every number of a row is on the row's first line."""
    latency = Latency(10**9, 5e4, 1.2e-4, 9e-4, 0.25, ())
    uid = "map:SplitSentencesIntoWords"
    operator = OperatorMetrics(
        uid,
        "SplitSentencesIntoWords",
        "map_batches",
        16,
        987_654_321,
        123_456_789,
        0,
        7,
        0,
        0.97,
        0.03,
        7,
        123_456.7,
        9.5,
    )
    edge = EdgeMetrics(uid, uid.replace("map", "sink"), "broadcast", 987_654_321, 964_506, 0.875, latency)
    metrics = JobMetrics(operators=(dataclasses.replace(operator, latency=latency),), edges=(edge,))
    out = io.StringIO()
    console = rich_.console(out, colors=False)
    console.width = 80
    console.print(rich_.renderable(metrics_tables(metrics)))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for cells in (
        ["map_batches", "16", "987654321", "123456789", "7"],
        ["123457", "9.5", "97%", "3%", "120us", "250ms"],
        ["broadcast", "987654321", "964506", "88%", "120us", "250ms"],
    ):
        assert any(all(cell in line for cell in cells) for line in lines), cells


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (9.5e-7, "0.95us"),
        (9.94e-4, "990us"),
        (9.96e-4, "1ms"),
        (0.0123, "12ms"),
        (999.0, "17min"),
        (4000.0, "67min"),
    ],
)
def test_latencies_have_two_digits(seconds: float, shown: str) -> None:
    """More than that a histogram does not know."""
    table = metrics_tables(JobMetrics(edges=(EdgeMetrics("a", "b", "hash", wait=Latency(1, 1.0, p50=seconds)),)))[2]
    assert isinstance(table, Table)
    assert table.rows[0][-2] == shown


def test_rich_colours_states() -> None:
    """The state of a job has the colour of its meaning where colours are wanted."""
    import rich.console

    out = io.StringIO()
    console = rich.console.Console(file=out, force_terminal=True, color_system="standard", markup=False, width=60)
    console.print(rich_.renderable([PARTS[2]]))
    assert "\x1b[1;31mfailed" in out.getvalue()


@given(st.text())
def test_cleaned_text_is_printable(text: str) -> None:
    """Whatever a job is called, the cell is one line that no terminal obeys; printable text is left alone."""
    for char in clean(text):
        assert char.isprintable() or char not in "\x1b\x07\n\r\t\x9b\u202e\u2066\u2028"
    assert clean(clean(text)) == clean(text)
    assert clean_block(text).count("\n") == text.count("\n")
    if text.isprintable():
        assert clean(text) == text


@given(st.lists(st.sampled_from(["a", "\x1b", "[", "31m", "\x1b[0m", "\x1b[2J", "\n", "\r", "\x07", "\x9b1m", "é"])))
def test_the_pieces_of_a_log_do_not_matter(pieces: list[str]) -> None:
    """The filter gives the same however the log is cut, and lets only colours, lines and returns through."""
    whole, cut = LogFilter(), LogFilter()
    text = "".join(pieces)
    expected = whole.feed(text) + whole.close()
    assert "".join(cut.feed(char) for char in text) + cut.close() == expected
    import re

    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]", expected)
    assert not re.search("\x1b(?!\\[[0-9;:]*m)", expected)


def test_colours_are_reset_at_the_end() -> None:
    """A job that leaves the terminal red does not leave it red."""
    log = LogFilter()
    assert log.feed("\x1b[31mred\n\x1b[2") == "\x1b[31mred\n"
    assert log.close() == "\\x1b[2\x1b[0m"


def test_a_prefix_stands_before_whole_lines() -> None:
    """Several logs at once are told apart line by line, and the last line ends."""
    written: list[str] = []
    printer = LogPrinter(written.append, terminal=False, prefix="job 3 | ")
    for piece in ("on", "e\ntwo\nth", "ree"):
        printer.feed(piece)
    printer.close()
    assert "".join(written) == "job 3 | one\njob 3 | two\njob 3 | three\n"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.25, "0.2s"), (9.96, "10.0s"), (12, "12s"), (125, "2m05s"), (7200, "2h00m"), (100_000, "1d03h")],
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    """Two units at most."""
    from datetime import UTC, datetime, timedelta

    start = datetime(2026, 1, 2, tzinfo=UTC)
    job = JobInfo(
        1, "u", "n", "completed", started_at=start.isoformat(), ended_at=(start + timedelta(0, seconds)).isoformat()
    )
    assert duration(job) == shown


def test_times_are_utc() -> None:
    """A time with another offset is shown in UTC; what is no time is shown as it came."""
    assert moment("2026-01-02T03:04:05+02:00") == "2026-01-02 01:04:05"
    assert moment("soon") == "soon"
    assert moment(None) == "-"


@dataclass(frozen=True)
class Thing:
    name: str
    size: int | None = None
    tags: tuple[str, ...] = ()


def test_kinds_are_the_names_of_models() -> None:
    """A plugin's model needs no registration: its class names the kind, sequences become items."""
    assert envelope(Thing("a", 1, ("x",))) == {
        "sage": 1,
        "kind": "Thing",
        "data": {"name": "a", "size": 1, "tags": ["x"]},
    }
    assert envelope([Thing("a"), Thing("b")])["kind"] == "ThingList"
    assert envelope([Thing("a")])["data"] == {"items": [{"name": "a", "size": None, "tags": []}]}
    info = DaemonInfo("0.1.0", 1, "3.11", "cpython", "3", 1, "now", "log")
    assert envelope(info)["kind"] == "JobManager"
    assert envelope(Page((), "7")) == {
        "sage": 1,
        "kind": "JobList",
        "data": {"items": [], "next_cursor": "7"},
        "next_cursor": "7",
    }
    assert envelope({"path": Path("/x")}, "File")["data"] == {"path": "/x"}


def test_any_model_can_be_shown() -> None:
    """Fields of one, a table of several, plain values as they are."""
    assert plain.render(view(Thing("a", None, ("x", "y")))) == "name:  a\ntags:  x, y\n"
    assert plain.render(view([Thing("a", 1), {"name": "b", "more": {"k": True}}])) == (
        "NAME  SIZE  TAGS  MORE\na     1     -     -\nb     -     -     k: yes\n"
    )
    assert plain.render(view(["a", 2])) == "a\n2\n"
    assert plain.render(view("text")) == "text\n"
    assert plain.render(view([])) == ""


def test_documents_are_ascii_and_one_a_line_for_followers() -> None:
    """JSON of any text is safe for any terminal and any locale."""
    document = {"sage": 1, "text": "ü\x9b\ud800"}
    line = json_text(document, line=True)
    assert line.isascii() and line.count("\n") == 1
    assert json.loads(json_text(document)) == json.loads(line) == document
    assert yaml_text({"a": "ü"}, line=True) == "---\na: ü\n"


def test_followers_print_one_document_a_line(capsys: Any) -> None:
    """`follow` gives each model to machines as it comes, and to people one after the other without a terminal."""
    from sage.cli.context import Context

    context = Context()
    context.use_format("json")
    context.follow([Thing("b"), Thing("c")])
    assert [json.loads(line)["data"]["name"] for line in capsys.readouterr().out.splitlines()] == ["b", "c"]
    context.use_format("table")
    context.follow([Thing("b"), Thing("c")])
    context.follow([])
    assert capsys.readouterr().out == "name:  b\nname:  c\n"
