"""top_tables: rows, columns and numbers of what top shows."""

from typing import Any

import pytest

from asyncrev.admin.history import Rates
from asyncrev.command.top_tables import (
    SORTS,
    Column,
    Table,
    as_text,
    bytes_text,
    connections,
    ends,
    fitted,
    workers,
)
from tests.admin.talking import STATISTICS


def row(**changes: Any) -> dict[str, Any]:
    (made,) = Rates().rows(1.0, [{"worker": "0", "up": True, **STATISTICS}])
    return made | changes


def connection(peer: str, **changes: Any) -> dict[str, Any]:
    plain = {
        "peer": peer,
        "state": "open",
        "open_s": 3.5,
        "received_bytes": 2048,
        "replied_bytes": 0,
        "in_flight_bytes": 7,
        "unsent_bytes": 0,
        "paused_by": [],
        "tls": None,
    }
    return plain | changes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1023.6, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (150 * 1024, "150 KiB"),
        (2**40, "1.0 TiB"),
        (5000 * 2**50, "5000 PiB"),
    ],
)
def test_bytes_have_few_digits_and_a_unit(value: float | None, text: str) -> None:
    """An unknown number has neither."""
    assert bytes_text(value) == text


def test_worker_has_its_limits_and_what_it_waits_for() -> None:
    """Rates are unknown at first."""
    table = workers([row()])
    found = dict(zip((column.head for column in table.columns), table.rows[0], strict=True))
    assert found == {
        "worker": "0",
        "state": "serving",
        "conns": "3",
        "limit": "5",
        "in/s": "-",
        "out/s": "-",
        "chunks/s": "-",
        "p50": "-",
        "p99": "-",
        "ring": "20 %",
        "pool": "50 %",
        "paused by": "write 1, quota 2",
        "CPU": "-",
        "memory": "4.0 KiB",
    }
    assert table.bad == frozenset()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0000123, "12.3 µs"), (0.00999, "9.99 ms"), (0.9996, "1 s"), (12.0, "12 s")],
)
def test_times_of_replies_have_three_digits_and_a_unit(seconds: float | None, text: str) -> None:
    """As bytes have."""
    table = workers([row(reply_p50_s=seconds, reply_p99_s=None)])
    found = dict(zip((column.head for column in table.columns), table.rows[0], strict=True))
    assert (found["p50"], found["p99"]) == (text, "-")


def test_narrow_screen_leaves_out_what_is_needed_least() -> None:
    """Those of the highest rank first; what has none stays, however narrow it is."""
    heads = ("name", "a", "b", "c")
    columns = tuple(Column(head, rank=rank) for head, rank in zip(heads, (0, 2, 1, 3), strict=True))
    table = Table(columns, (("1234", "12", "12", "12"),), frozenset({0}))
    widths = {16: "name a b c", 15: "name a b", 12: "name a b", 11: "name b", 7: "name", 1: "name"}
    for width, left in widths.items():
        found = fitted(table, width)
        assert " ".join(column.head for column in found.columns) == left
        assert [len(cells) for cells in found.rows] == [len(found.columns)]
        assert found.bad == table.bad


def test_workers_fit_a_screen_of_80_columns() -> None:
    """With figures of usual sizes."""
    usual = row(received_bytes_per_s=123.4e6, replied_bytes_per_s=123.4e6, chunks_per_s=123456.0)
    table = fitted(workers([usual | {"reply_p50_s": 1.23e-4, "reply_p99_s": 1.23e-3}]), 80)
    assert max(map(len, as_text(table).split("\n"))) <= 80
    assert {"p99", "paused by", "CPU"} <= {column.head for column in table.columns}


def test_workers_that_do_not_serve_are_marked() -> None:
    """With the reason; one at its limit, too."""
    down = {"worker": "1", "up": False, "why": "gone"}
    rows = [row(), down, row(accepting=False), row(state="draining")]
    table = workers(rows)
    assert [cells[1] for cells in table.rows] == ["serving", "gone", "not accepting", "draining"]
    assert table.bad == {1, 2, 3}
    assert {len(cells) for cells in table.rows} == {len(table.columns)}


@pytest.mark.parametrize(
    ("sort", "first"), [("age", "old"), ("bytes", "large"), ("in_flight", "busy")]
)
def test_connections_of_all_workers_are_sorted_together(sort: str, first: str) -> None:
    """And only as many as there is room for."""
    answers = [
        {"worker": "0", "connections": [connection("old", open_s=9), connection("plain")]},
        {"worker": "1", "up": False},
        {
            "worker": "2",
            "connections": [
                connection("large", replied_bytes=1),
                connection("busy", in_flight_bytes=8),
            ],
        },
    ]
    table = connections(answers, sort, 3)
    assert table.columns[0].head == "worker"
    assert table.rows[0][1] == first
    assert len(table.rows) == 3
    assert sort in {name for name, _ in SORTS.values()}


def test_connection_says_why_it_is_not_read() -> None:
    """One worker needs no column."""
    one = connection(
        "a\x1b[2Jb", open_s=3700.0, paused_by=["write", "ring"], tls={"version": "TLSv1.3"}
    )
    table = connections([{"worker": "0", "connections": [one]}], "age", 10)
    found = dict(zip((column.head for column in table.columns), table.rows[0], strict=True))
    assert found["paused by"] == "write, ring"
    assert found["connected"] == "1:01 h"
    assert found["TLS"] == "TLSv1.3"
    assert "\x1b" not in found["peer"]


def test_ends_are_summed_the_most_frequent_first() -> None:
    """None is said so."""
    rows = [{"ends": {"refused": 1, "write stall": 2}}, {"ends": {"refused": 3}}, {"up": False}]
    assert ends(rows) == "refused 4, write stall 2"
    assert ends([]) == "none"


def test_text_has_numbers_on_the_right() -> None:
    """And no blanks at the ends of lines."""
    table = Table((Column("name", False), Column("n"), Column("x", False)), (("a", "10", ""),))
    assert as_text(table) == "name   n  x\na     10"
