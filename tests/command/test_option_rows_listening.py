"""option_rows_listening: where a server listens."""

from asyncrev.command.option_rows_listening import LISTENING_OPTIONS
from asyncrev.command.options import OPTIONS


def test_rows_are_the_first_of_the_table() -> None:
    assert OPTIONS[: len(LISTENING_OPTIONS)] == LISTENING_OPTIONS


def test_ways_to_listen_exclude_one_another() -> None:
    rows = {row.name: row for row in LISTENING_OPTIONS}
    for name in ("host", "port"):
        assert set(rows[name].excludes) == {"uds", "fd"}
    for name in ("uds", "fd"):
        assert {"host", "port"} <= set(rows[name].excludes)


def test_what_is_of_tls_needs_a_certificate() -> None:
    names = {row.name for row in LISTENING_OPTIONS if row.needs == "ssl_certfile"}
    assert names == {row.name for row in LISTENING_OPTIONS if row.name.startswith("ssl_")} - {
        "ssl_certfile"
    }
