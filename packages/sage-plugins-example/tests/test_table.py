"""The connector `table`: held to the contract of connectors, and used by name in pipelines."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sage.core.api import LocalEnvironment, skip
from sage.core.errors import GraphError, JobFailedError
from sage.core.testing import check_sink, check_source
from sage_plugins_example.table import TableReader, TableSink, TableSource

ROWS = [{"id": number, "price": number * 1.5} for number in range(1, 8)]


def rows(database: Path, table: str = "orders") -> list[dict[str, Any]]:
    """What a table holds, by its key; nothing where there is none."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY 1')]
        except sqlite3.OperationalError:
            return []


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A database with orders, of which one was removed."""
    database = tmp_path / "shop.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL)")
        connection.executemany("INSERT INTO orders VALUES (:id, :price)", [*ROWS, {"id": 99, "price": 0.0}])
        connection.execute("DELETE FROM orders WHERE id = 99")
    return database


def test_the_source_keeps_the_contract(shop: Path) -> None:
    """In steps of any size, and from every position on."""
    check_source(TableSource(str(shop), "orders"), ROWS)


def test_the_sink_keeps_the_contract(tmp_path: Path) -> None:
    """What is written again replaces itself."""
    database = tmp_path / "out.db"
    check_sink(lambda: TableSink(str(database), "orders", "id"), ROWS, lambda: rows(database))


def test_a_table_is_followed(shop: Path) -> None:
    """New rows come when they are there; until then the reader says when to ask again."""
    reader = TableSource(str(shop), "orders", follow=0.5).open("orders", 7)
    assert isinstance(reader, TableReader)
    assert getattr(reader.read(10), "seconds", None) == 0.5
    with closing(sqlite3.connect(shop)) as connection, connection:
        connection.execute("INSERT INTO orders VALUES (8, 12.0)")
    assert reader.read(10) == [{"id": 8, "price": 12.0}]
    assert reader.position() == 8
    reader.close()


def test_from_table_to_table(shop: Path) -> None:
    """By the connector's name, as anyone who has installed it does; rows without the key are given up."""
    env = LocalEnvironment("bills")
    orders = env.from_connector("table", database=str(shop), table="orders")
    bills = orders.map(lambda order: {"order": order["id"], "due": order["price"] * 2} if order["id"] != 3 else order)
    bills.to_connector("table", database=str(shop), table="bills", key="order", on_error=skip(), parallelism=2)
    env.submit(autostop=True)
    assert rows(shop, "bills") == [{"order": row["id"], "due": row["price"] * 2} for row in ROWS if row["id"] != 3]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"table": "oders"}, "has no table 'oders'"),
        ({"table": "orders", "databse": "x"}, "databse"),
        ({"table": "orders", "database": "shp.db"}, "there is no database shp.db"),
    ],
)
def test_wrong_options_are_told_before_anything_runs(shop: Path, options: Mapping[str, Any], told: str) -> None:
    """With the line of the pipeline that they are in."""
    env = LocalEnvironment("wrong")
    with pytest.raises(GraphError, match=told) as caught:
        env.from_connector("table", **{"database": str(shop), **options}).print()
        env.submit(autostop=True)
    assert Path(__file__).name in str(caught.value)
    assert not Path("shp.db").exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """It is named, whatever SQLite says."""
    (tmp_path / "note.txt").write_text("no database, though long enough to be looked at\n" * 100)
    env = LocalEnvironment("wrong")
    env.from_batch(ROWS).to_connector("table", database=str(tmp_path / "note.txt"), table="orders", key="id")
    with pytest.raises(JobFailedError, match=r"note\.txt: file is not a database"):
        env.submit(autostop=True)
