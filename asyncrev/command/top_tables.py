"""What `asyncrev top` shows, as tables of texts. Pure: it neither asks nor writes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from asyncrev.admin.history import PAUSED_BY, ends_of
from asyncrev.log_text import printable

__all__ = [
    "GAP",
    "SORTS",
    "Column",
    "Table",
    "as_text",
    "bytes_text",
    "connections",
    "ends",
    "fitted",
    "workers",
]

# The keys, what they sort by as /connections.json has it, and how the help says it.
SORTS: Mapping[str, tuple[str, str]] = {
    "c": ("age", "connected longest"),
    "b": ("bytes", "bytes"),
    "i": ("in_flight", "in flight"),
}
_SORTED_BY = {
    "age": lambda one: one["open_s"],
    "bytes": lambda one: one["received_bytes"] + one["replied_bytes"],
    "in_flight": lambda one: one["in_flight_bytes"],
}
_UNKNOWN = "-"
GAP = 2  # between columns
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        head: its head.
        is_number: whether it is one of numbers, which stand on the right.
        rank: of those that a narrow screen has no room for, the highest is left out first; 0 stays.
    """

    head: str
    is_number: bool = True
    rank: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Texts by rows. `bad`: the numbers of rows that somebody should look at."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    bad: frozenset[int] = frozenset()


_WORKER = (
    Column("worker", False),
    Column("state", False),
    Column("conns"),
    Column("limit", rank=3),
    Column("in/s"),
    Column("out/s"),
    Column("chunks/s", rank=4),
    Column("p50", rank=5),
    Column("p99"),
    Column("ring"),
    Column("pool", rank=1),
    Column("paused by", False),
    Column("CPU"),
    Column("memory", rank=2),
)
_CONNECTION = (
    Column("peer", False),
    Column("state", False, rank=4),
    Column("connected", rank=1),
    Column("in"),
    Column("out"),
    Column("in flight"),
    Column("unsent", rank=2),
    Column("paused by", False),
    Column("TLS", False, rank=3),
)


def workers(rows: Sequence[Row]) -> Table:
    """Return the table of worker processes, of rows of `Rates`."""
    bad = frozenset(number for number, row in enumerate(rows) if _state(row) != "serving")
    return Table(_WORKER, tuple(_worker(row) for row in rows), bad)


def connections(answers: Sequence[Row], sort: str, most: int) -> Table:
    """Return the table of at most `most` connections, of the workers of /connections.json."""
    listed = [
        (answer["worker"], one) for answer in answers for one in answer.get("connections", ())
    ]
    listed.sort(key=lambda pair: _SORTED_BY[sort](pair[1]), reverse=True)
    of_many = len(answers) > 1
    columns = (Column("worker", False), *_CONNECTION) if of_many else _CONNECTION
    rows = []
    for worker, one in listed[:most]:
        row = _connection(one)
        rows.append((printable(worker), *row) if of_many else row)
    return Table(columns, tuple(rows))


def ends(rows: Sequence[Row]) -> str:
    """Return how many connections the server has ended, by reason, the most frequent first."""
    by_number = sorted(ends_of(rows).items(), key=lambda item: -item[1])
    return ", ".join(f"{printable(reason)} {number}" for reason, number in by_number) or "none"


def fitted(table: Table, width: int) -> Table:
    """Return `table` without columns for which lines of `width` have no room."""
    widths = [cells + GAP for cells in _widths(table)]
    left = sorted(
        (number for number, column in enumerate(table.columns) if column.rank),
        key=lambda number: table.columns[number].rank,
    )
    kept = set(range(len(widths)))
    while left and sum(widths[number] for number in kept) - GAP > width:
        kept.discard(left.pop())

    def chosen(line: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(cell for number, cell in enumerate(line) if number in kept)

    return Table(chosen(table.columns), tuple(chosen(row) for row in table.rows), table.bad)


def as_text(table: Table) -> str:
    """Return lines with columns of equal width."""
    lines = [tuple(column.head for column in table.columns), *table.rows]
    widths = _widths(table)

    def aligned(line: tuple[str, ...]) -> str:
        cells = (
            cell.rjust(width) if column.is_number else cell.ljust(width)
            for cell, width, column in zip(line, widths, table.columns, strict=True)
        )
        return (" " * GAP).join(cells).rstrip()

    return "\n".join(aligned(line) for line in lines)


def _widths(table: Table) -> list[int]:
    lines = [tuple(column.head for column in table.columns), *table.rows]
    return [max(len(line[number]) for line in lines) for number in range(len(table.columns))]


def bytes_text(value: float | None) -> str:
    """Return a number of bytes with three or four digits and a binary unit."""
    if value is None:
        return _UNKNOWN
    power = 0
    while value >= 1023.5 and power < len(_UNITS) - 1:
        value /= 1024
        power += 1
    digits = 1 if power and value < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[power]}"


def _worker(row: Row) -> tuple[str, ...]:
    name = printable(row["worker"])
    if not row["up"]:
        return (name, printable(row["why"]), *[_UNKNOWN] * (len(_WORKER) - 2))
    paused = ", ".join(f"{by} {row[f'paused_{by}']}" for by in PAUSED_BY if row[f"paused_{by}"])
    return (
        name,
        _state(row),
        str(row["connections"]),
        str(row["max_connections"]),
        bytes_text(row["received_bytes_per_s"]),
        bytes_text(row["replied_bytes_per_s"]),
        _number(row["chunks_per_s"]),
        _time(row["reply_p50_s"]),
        _time(row["reply_p99_s"]),
        _part(row["ring_entries"], row["ring_entries_limit"]),
        _part(row["pool_reserved_bytes"], row["pool_limit_bytes"]),
        paused or _UNKNOWN,
        _number(row["cpu_cores"], 2),
        bytes_text(row["resident_memory_bytes"]),
    )


def _connection(one: Row) -> tuple[str, ...]:
    tls = one["tls"]
    return (
        printable(one["peer"]),
        printable(one["state"]),
        _duration(one["open_s"]),
        bytes_text(one["received_bytes"]),
        bytes_text(one["replied_bytes"]),
        bytes_text(one["in_flight_bytes"]),
        bytes_text(one["unsent_bytes"]),
        printable(", ".join(one["paused_by"])) or _UNKNOWN,
        _UNKNOWN if tls is None else printable(str(tls["version"])),
    )


def _state(row: Row) -> str:
    if not row["up"]:
        return "down"
    if row["state"] == "serving" and not row["accepting"]:
        return "not accepting"
    return printable(row["state"])


def _number(value: float | None, digits: int = 0) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return _UNKNOWN
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def _part(value: float, limit: float) -> str:
    return f"{100 * value / limit:.0f} %" if limit else _UNKNOWN


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole // 60 % 60:02} h"
