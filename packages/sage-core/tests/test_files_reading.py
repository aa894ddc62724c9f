"""Files as sources: which records a file holds, whatever is in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sage.core.connectors.api import STOP, RecordError
from sage.core.connectors.files import CsvSource, JsonlSource, TextSource, lines
from sage.core.connectors.files.source import FileSource

Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file; returns its path."""

    def write(data: bytes) -> Path:
        path = tmp_path / "in.txt"
        path.write_bytes(data)
        return path

    return write


def read(source: FileSource, n: int = 1000) -> list[Any]:
    """All records of all partitions, in order."""
    records: list[Any] = []
    for name in source.partitions():
        reader = source.open(name, None)
        while (got := reader.read(n)) is not STOP:
            assert isinstance(got, list)
            assert len(got) <= n
            records += got
        reader.close()
    return records


def read_past_errors(source: FileSource, n: int = 1000) -> tuple[list[Any], list[RecordError]]:
    """All records, and the errors of those that cannot be read."""
    records: list[Any] = []
    errors: list[RecordError] = []
    for name in source.partitions():
        reader = source.open(name, None)
        while True:
            try:
                got = reader.read(n)
            except RecordError as error:
                errors.append(error)
                continue
            if got is STOP:
                break
            assert isinstance(got, list)
            records += got
        reader.close()
    return records, errors


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"a\n\nb\n\n", ["a", "", "b", ""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r\nb\nc\r\n", ["a", "b", "c"]),
        (b"a\rb\n", ["a\rb"]),
        (b"a\r\r\n", ["a\r"]),
        (b"a\x0bb\x0cc\n", ["a\x0bb\x0cc"]),
        ("a\u2028b\x85c\n".encode(), ["a\u2028b\x85c"]),
        (b"a\x00b\n", ["a\x00b"]),
        ("\N{SNOWMAN}\n\N{GRINNING FACE}".encode(), ["\N{SNOWMAN}", "\N{GRINNING FACE}"]),
        (b"\xef\xbb\xbfa\n", ["\ufeffa"]),
    ],
)
@pytest.mark.parametrize("n", [1, 2, 1000])
def test_a_line_of_text_is_a_record_without_its_end(write: Write, data: bytes, expected: list[str], n: int) -> None:
    """Only LF and CR LF end a line; the last one may lack it; an empty line is a record."""
    assert read(TextSource(write(data)), n) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]), (b"a\n", ["a"]), (b"\xef\xbb\xbf", [])],
)
def test_utf_8_sig_leaves_the_mark_out(write: Write, data: bytes, expected: list[str]) -> None:
    """At the beginning of a file, and only there."""
    assert read(TextSource(write(data), encoding="utf-8-sig")) == expected


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "gb18030", "ascii"])
def test_text_in_other_encodings(write: Write, encoding: str) -> None:
    """Whatever writes ASCII as single bytes can be read line by line."""
    text = {"shift_jis": "\u8868\u793a", "gb18030": "\u4e2d\u6587", "ascii": "a"}.get(encoding, "\xe4\xdf")
    assert read(TextSource(write(f"{text}\r\n{text}\n".encode(encoding)), encoding=encoding)) == [text, text]


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_a_line_that_is_not_utf_8_is_an_error_of_its_own(write: Write, n: int) -> None:
    """The lines around it are records; the error names file, line and byte, and holds the raw line."""
    path = write(b"one\ntw\xffo\nthree\n\xfe\xff\r\n")
    records, errors = read_past_errors(TextSource(path), n)
    assert records == ["one", "three"]
    assert [error.line for error in errors] == [2, 4]
    assert [error.record for error in errors] == [b"tw\xffo", b"\xfe\xff"]
    assert errors[0].message == f"{path}, line 2: not UTF-8: byte 0xff at 3: invalid start byte"
    assert errors[0].file == str(path)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b'{"a": 1}\n[1, 2]\nnull\n"x"\n1.5\ntrue\n', [{"a": 1}, [1, 2], None, "x", 1.5, True]),
        (b'{"a": 1}', [{"a": 1}]),
        (b"1\r\n2\r\n", [1, 2]),
        (b"1\n\n  \t\n2\n\n", [1, 2]),
        (b" 1 \n\t2\n", [1, 2]),
        (b"\xef\xbb\xbf1\n2\n", [1, 2]),
        (b'{"a": 1, "a": 2}\n', [{"a": 2}]),
        (b'"\\ud83d\\ude00"\n', ["\N{GRINNING FACE}"]),
        (b'"\\ud83d"\n', ["\ud83d"]),
        (b"12345678901234567890123\n", [12345678901234567890123]),
        (b"1e999\n-Infinity\n", [math.inf, -math.inf]),
        ('"\u2028"\n'.encode(), ["\u2028"]),
    ],
)
@pytest.mark.parametrize("n", [1, 2, 1000])
def test_a_line_of_json_is_a_record(write: Write, data: bytes, expected: list[Any], n: int) -> None:
    """Any JSON value; empty lines and a mark at the beginning are passed over."""
    assert read(JsonlSource(write(data)), n) == expected


def test_nan_is_read_as_python_does(write: Write) -> None:
    """It is no JSON, and many programs write it."""
    assert math.isnan(read(JsonlSource(write(b"NaN\n")))[0])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        (b"1 2", "not JSON: Extra data at column 3"),
        (b"{'a': 1}", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        (b'"\xff"', "not UTF-8: byte 0xff at 2: invalid start byte"),
        (b"[" * 100_000, "JSON that is nested too deep"),
        (b"\xc2\xa0", "not JSON: Expecting value at column 1"),
        (b"\x00", "not JSON: Expecting value at column 1"),
        (b'"a\tb"', "not JSON: Invalid control character at at column 3"),
    ],
)
@pytest.mark.parametrize("n", [1, 1000])
def test_a_line_that_is_not_json_is_an_error_of_its_own(write: Write, line: bytes, reason: str, n: int) -> None:
    """Whatever is wrong with it; the lines around it are records."""
    path = write(b"1\n\n" + line + b"\n2\n")
    records, errors = read_past_errors(JsonlSource(path), n)
    assert records == [1, 2]
    assert [error.message for error in errors] == [f"{path}, line 3: {reason}"]
    assert errors[0].record in (line, line.decode(errors="replace"))


def test_a_number_with_too_many_digits_is_an_error(write: Write) -> None:
    """Python refuses to make a number of more than 4,300 digits."""
    records, errors = read_past_errors(JsonlSource(write(b"1\n" + b"9" * 5000 + b"\n2\n")))
    assert records == [1, 2]
    assert "4300" in errors[0].message


def test_every_line_may_be_bad(write: Write) -> None:
    """Each is an error with its own number, also beyond what is read in one go."""
    path = write(b"oops\n" * 3000)
    records, errors = read_past_errors(JsonlSource(path), 1024)
    assert records == []
    assert [error.line for error in errors] == list(range(1, 3001))


CSV: list[tuple[bytes, list[dict[str, str]]]] = [
    (b"", []),
    (b"a,b\n", []),
    (b"a,b", []),
    (b"a,b\n1,2\n", [{"a": "1", "b": "2"}]),
    (b"a,b\r\n1,2\r\n3,4", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
    (b"\n\na,b\n\n1,2\n\n\n3,4\n\n", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
    (b"\xef\xbb\xbfa,b\n1,2\n", [{"a": "1", "b": "2"}]),
    (b'\xef\xbb\xbf"a",b\n1,2\n', [{"a": "1", "b": "2"}]),
    (b'a,b\n"1\n2","3\r\n4"\n5,6\n', [{"a": "1\n2", "b": "3\r\n4"}, {"a": "5", "b": "6"}]),
    (b'a,b\n"x,y","say ""hi"""\n', [{"a": "x,y", "b": 'say "hi"'}]),
    (b'"a\nb",c\n1,2\n', [{"a\nb": "1", "c": "2"}]),
    (b"a,b\n,\n", [{"a": "", "b": ""}]),
    (b'a\n""\nx\n', [{"a": ""}, {"a": "x"}]),
    (b'a,b\n5" pipe,2\n', [{"a": '5" pipe', "b": "2"}]),
    (b"a,b\n 1 , 2\n", [{"a": " 1 ", "b": " 2"}]),
    ("a,b\n\N{SNOWMAN}\u2028,\x85\n".encode(), [{"a": "\N{SNOWMAN}\u2028", "b": "\x85"}]),
    (b"\n\n", []),
]


@pytest.mark.parametrize(("data", "expected"), CSV)
@pytest.mark.parametrize("n", [1, 2, 1000])
@pytest.mark.parametrize("ahead", [1, 3, 256 * 1024])
def test_a_row_of_csv_is_a_dict(
    write: Write, monkeypatch: pytest.MonkeyPatch, data: bytes, expected: list[dict[str, str]], n: int, ahead: int
) -> None:
    """By the names in the header; values within quotes may span lines, and blocks."""
    monkeypatch.setattr(lines, "_AHEAD", ahead)
    assert read(CsvSource(write(data)), n) == expected


def test_csv_without_a_header(write: Write) -> None:
    """The names are given instead, and the first line is a record."""
    data = b"\xef\xbb\xbf1;2\n3;4\n"
    found = read(CsvSource(write(data), columns=["a", "b"], delimiter=";"))
    assert found == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_quotes_may_mean_nothing(write: Write) -> None:
    """With ``quoting="none"`` they are characters like any other."""
    found = read(CsvSource(write(b'a,b\n"1,"2\n'), quoting="none"))
    assert found == [{"a": '"1', "b": '"2'}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1", "1 value for 2 columns"),
        (b"1,2,3", "3 values for 2 columns"),
        (b'"1"x,2', "',' expected after '\"'"),
        (b"\xff,2", "not UTF-8: byte 0xff at 1: invalid start byte"),
    ],
)
@pytest.mark.parametrize("n", [1, 2, 1000])
@pytest.mark.parametrize("ahead", [5, 256 * 1024])
def test_a_malformed_row_is_an_error_of_its_own(
    write: Write, monkeypatch: pytest.MonkeyPatch, line: bytes, reason: str, n: int, ahead: int
) -> None:
    """The rows around it are records; the line is that where it begins, the record what was there."""
    monkeypatch.setattr(lines, "_AHEAD", ahead)
    path = write(b'a,b\n"1\n1",2\n' + line + b"\n3,4\n")
    records, errors = read_past_errors(CsvSource(path), n)
    assert records == [{"a": "1\n1", "b": "2"}, {"a": "3", "b": "4"}]
    assert [error.message for error in errors] == [f"{path}, line 4: {reason}"]
    assert errors[0].record in (line, line.decode(errors="replace"))


@pytest.mark.parametrize("n", [1, 1000])
def test_a_quote_that_never_ends_costs_one_line(write: Write, n: int) -> None:
    """It swallows all that follows; only the line that it is in is given up."""
    path = write(b'a,b\n1,2\n"3,4\n5,6\n7,8\n')
    records, errors = read_past_errors(CsvSource(path), n)
    assert [record["a"] for record in records] == ["1", "5", "7"]
    assert [(error.line, error.record) for error in errors] == [(3, '"3,4')]


def test_a_row_of_several_lines_with_too_many_values_is_given_up_whole(write: Write) -> None:
    """It is well formed: what is within its quotes is no row."""
    path = write(b'a,b\n"x\n1,2\n",y,z\n3,4\n')
    records, errors = read_past_errors(CsvSource(path))
    assert records == [{"a": "3", "b": "4"}]
    assert [(error.line, error.record) for error in errors] == [(2, '"x\n1,2\n",y,z')]


def test_reading_goes_on_quickly_behind_a_malformed_row(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the block that it was in, and at the right line."""
    monkeypatch.setattr(lines, "_AHEAD", 64)
    rows = [f"{number},{number}" for number in range(200)]
    for bad in (3, 50, 51, 199):
        rows[bad] = "x"
    records, errors = read_past_errors(CsvSource(write(("a,b\n" + "\n".join(rows)).encode())), 7)
    assert [int(record["a"]) for record in records] == [n for n in range(200) if n not in (3, 50, 51, 199)]
    assert [error.line for error in errors] == [5, 52, 53, 201]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"a,b,a", "line 1: the header names 'a' twice"),
        (b"\n\n\na,a", "line 4: the header names 'a' twice"),
        (b'"a"b', "line 1: the header is unusable: ',' expected after '\"'"),
        (b"\xff", "line 1: the header is unusable: not UTF-8: byte 0xff at 1: invalid start byte"),
    ],
)
def test_a_header_that_cannot_be_used(write: Write, header: bytes, reason: str) -> None:
    """Nothing can be read without it: it is no matter of one record."""
    path = write(header + b"\n1,2\n")
    source = CsvSource(path)
    with pytest.raises(Exception, match="header") as raised:
        source.open(source.partitions()[0], None)
    assert type(raised.value).__name__ == "ConnectorError"
    assert raised.value.message == f"{path}, {reason}"  # type: ignore[attr-defined]


def test_files_of_a_pattern_have_headers_of_their_own(tmp_path: Path) -> None:
    """The same columns may stand in another order, or be others."""
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("b,a\n3,4\n")
    (tmp_path / "3.csv").write_text("c\n5\n")
    assert read(CsvSource(tmp_path / "*.csv")) == [{"a": "1", "b": "2"}, {"b": "3", "a": "4"}, {"c": "5"}]


@pytest.mark.parametrize("kind", [TextSource, JsonlSource, CsvSource])
@pytest.mark.parametrize("n", [1, 1000])
@pytest.mark.parametrize("ahead", [100, 256 * 1024])
def test_a_line_that_is_too_long_is_passed_over(
    write: Write, monkeypatch: pytest.MonkeyPatch, kind: Callable[..., FileSource], n: int, ahead: int
) -> None:
    """It is an error that names the line, and holds no more than its beginning."""
    monkeypatch.setattr(lines, "_AHEAD", ahead)
    path = write(b"11\n22\n" + b"3" * 5000 + b"\n44\n" + b"5" * 5000)
    options = {"columns": ["a"]} if kind is CsvSource else {}
    records, errors = read_past_errors(kind(path, max_line_size=1000, **options), n)
    assert len(records) == 3
    assert [error.line for error in errors] == [3, 5]
    assert errors[0].message == f"{path}, line 3: longer than 1,000 bytes"
    assert errors[0].record == "3" * 1000
    assert "max_line_size" in str(errors[0].hint)


def test_a_line_may_be_as_long_as_allowed(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """And longer than what is read in one go."""
    monkeypatch.setattr(lines, "_AHEAD", 100)
    assert read(TextSource(write(b"1\n" + b"2" * 5000 + b"\n3"), max_line_size=5000)) == ["1", "2" * 5000, "3"]


@pytest.mark.parametrize("ahead", [1, 3, 11, 12, 100])
def test_the_end_of_a_line_does_not_count(write: Write, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """Neither of its two forms, however it is cut when it is read; a carriage return that ends no line does."""
    monkeypatch.setattr(lines, "_AHEAD", ahead)
    ten = b"x" * 10
    path = write(ten + b"\r\n" + ten + b"\n" + ten + b"y\r\n" + ten + b"\ry\n" + ten + b"\r\n" + ten + b"\r")
    records, errors = read_past_errors(TextSource(path, max_line_size=10))
    assert records == [ten.decode()] * 3
    assert [error.line for error in errors] == [3, 4, 6]


def test_a_value_of_csv_that_is_too_long_is_an_error(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote that never ends takes no more memory than that."""
    import csv

    before = csv.field_size_limit()
    monkeypatch.setattr("sage.core.connectors.files.csv._LONGEST_FIELD", 0)
    try:
        csv.field_size_limit(1000)
        records, errors = read_past_errors(CsvSource(write(b'a,b\n1,"' + b"2\n" * 2000)))
    finally:
        csv.field_size_limit(before)
    assert errors[0].line == 2
    assert "field larger than field limit" in errors[0].message
    assert records == []
