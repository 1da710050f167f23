"""config_file: keys are the names of options, values get their checks, mistakes have lines."""

import math
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.command import config_file
from asyncrev.command.config_document import parse_document
from asyncrev.command.config_file import FileOptions, options_in
from asyncrev.command.option import LISTENING, LOG, TABLES, Option
from asyncrev.command.option_values import Source
from asyncrev.command.options import OPTIONS
from asyncrev.errors import SettingsError


def options(text: str) -> FileOptions:
    """Return what a file with this text says."""
    return options_in(parse_document("f.toml", text))


def in_table(table: str, line: str) -> FileOptions:
    """Return what a file with one key says; the key is on line 2."""
    return options(f"[{table}]\n{line}\n")


@pytest.mark.parametrize(
    ("table", "line", "value"),
    [
        ("serve", "port = 0", 0),
        ("serve", 'port = "8080"', 8080),
        ("serve", 'host = ""', ""),
        ("serve", "cpu = 1", "1"),
        ("serve", "uds_mode = '0660'", 0o660),
        ("serve", "ssl_certfile = 'a b:c'", ("a b:c",)),
        ("serve", "ssl_certfile = ['a', 'b']", ("a", "b")),
        ("serve", "ssl_alpn = ['h2', 'http/1.1']", ("h2", "http/1.1")),
        ("serve", "ssl_alpn = 'h2,http/1.1'", ("h2", "http/1.1")),
        ("serve", "ssl_min_version = 1.3", "1.3"),
        ("serve", "proxy_timeout_s = '500ms'", 0.5),
        ("limits", "slot_bytes = '64K'", 65536),
        ("limits", "slot_bytes = 0x1_0000", 65536),
        ("limits", "pool_bytes = '1MiB'", 1 << 20),
        ("limits", "idle_timeout_s = '5m'", 300.0),
        ("limits", "idle_timeout_s = 300", 300.0),
        ("limits", "idle_timeout_s = 0.25", 0.25),
        ("limits", "idle_timeout_s = inf", math.inf),
        ("limits", "idle_timeout_s = 'inf'", math.inf),
        ("log", "log_level = 'debug'", "debug"),
        ("admin", "admin = 'unix:/a'", "unix:/a"),
    ],
)
def test_value_is_converted_as_a_flags_text(table: str, line: str, value: Any) -> None:
    """Numbers of TOML stand for their text."""
    found = in_table(table, line)
    assert found.mistakes == []
    (one,) = found.values.values()
    assert (one.value, one.source, one.line) == (value, Source.FILE, "f.toml:2")
    assert type(one.value) is type(value)
    assert one.origin == f"{one.option.name} (f.toml:2)"


@pytest.mark.parametrize(
    ("table", "line", "parts"),
    [
        ("serve", "port = 65536", ["port = 65536", "65536 is not in the range 0<=x<=65535"]),
        ("serve", "port = true", ["port = true", "it is a boolean; give a number"]),
        ("serve", "port = 1.5", ["port = 1.5", "not a whole number; give 0 to 65535"]),
        ("serve", "port = [1]", ["port = [1]", "it is an array; give a number"]),
        ("serve", "port = {a = 1}", ["port = {...}", "it is a table; give a number"]),
        ("serve", "host = 07:32:00", ["it is a date or time; give TEXT, in quotes"]),
        ("serve", "fd = 0x" + "f" * 5000, ["a number of too many digits"]),
        ("serve", "host = 'a\\u0000b'", []),  # a literal string: no escape
        ("serve", 'host = "a\\u0000b"', ["it has a null character"]),
        ("serve", "framing = 'lines'", ["'lines' is not one of 'raw', 'line'"]),
        ("serve", "framing = false", ["give one of raw, line, len32, len64, in quotes"]),
        ("serve", "uds_mode = 0o660", ["uds_mode = 432", 'give it as text, as "0600"']),
        ("serve", "uds_mode = '0888'", ["not the mode of a file; give it in octal"]),
        (
            "serve",
            "ssl_certfile = ['a', 1.5, true]",
            ["it is a boolean; give a text in quotes, or"],
        ),
        ("serve", "ssl_alpn = ['h2,x']", ["write an element for each"]),
        ("serve", "ssl_alpn = ['']", ["is not the name of a protocol"]),
        ("limits", "slot_bytes = '64Q'", ['slot_bytes = "64Q"', "give bytes as 65536, 64K"]),
        ("limits", "entries = -1", ["entries = -1", "-1 is not in the range x>=0"]),
        ("limits", "idle_timeout_s = '5x'", ["'5x' is not a time; give seconds as 30"]),
        ("log", "log_level = '" + "x" * 9000 + "'", ["more characters", "is not one of"]),
    ],
)
def test_wrong_value_is_a_mistake_with_line_key_value_and_what_is_allowed(
    table: str, line: str, parts: list[str]
) -> None:
    """It sets nothing."""
    found = in_table(table, line)
    if not parts:
        assert found.mistakes == []
        return
    (mistake,) = found.mistakes
    key = line.partition(" ")[0]
    assert mistake.startswith(f"f.toml:2: [{table}] {key} = ")
    assert all(part in mistake for part in parts)
    assert len(mistake) < 700
    assert found.values == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[serve]\nprot = 1", "f.toml:2: [serve] prot is no key; perhaps port was meant"),
        (
            "[serve]\nslot_byte = 1",
            "f.toml:2: [serve] slot_byte is no key; perhaps slot_bytes of [limits] was meant",
        ),
        (
            "[serve]\nslots = 1",
            "f.toml:2: [serve] slots is in the wrong table; it belongs in [limits]",
        ),
        (
            "[limits]\nmax-connections = 1",
            "f.toml:2: [limits] max-connections is no key; write it as max_connections",
        ),
        (
            "[limits]\nASYNCREV_SLOTS = 1",
            "f.toml:2: [limits] ASYNCREV_SLOTS is no key; write it as slots",
        ),
        (
            "[log]\nxyzzy = 1",
            "f.toml:2: [log] xyzzy is no key; keys are the names of options "
            "(asyncrev serve --help)",
        ),
        (
            "[serve]\nconfig = 'x'",
            "f.toml:2: [serve] config cannot be set in a file; give --config or ASYNCREV_CONFIG",
        ),
        ("\nport = 1", "f.toml:2: port stands outside of a table; it belongs in [serve]"),
        ("prot = 1", "f.toml:1: prot is no key; perhaps port was meant"),
        ("xyzzy = 1", "f.toml:1: xyzzy is no key; keys are the names of options, in tables"),
        ("[limit]", "f.toml:1: [limit] is no table of the file; perhaps [limits] was meant"),
        (
            "[xyzzy]\na = 1",
            "f.toml:1: [xyzzy] is no table of the file; there are [serve], [limits], [log], "
            "[admin]",
        ),
        ("[[serve]]\na = 1", "f.toml:1: serve is an array; write its table once, as [serve]"),
        ("serve = 1", "f.toml:1: serve = 1: it must be a table, written as [serve]"),
    ],
)
def test_wrong_name_is_a_mistake_with_the_right_one(text: str, message: str) -> None:
    """Or with the nearest, or where all are listed."""
    assert options(text) == FileOptions({}, [message])


def test_all_mistakes_are_found_in_the_order_of_lines() -> None:
    """And what has none is set all the same."""
    found = options("[log]\nx = 1\n[serve]\nport = 'x'\nhost = '::'\n[limits]\nslots = true\n[y]")
    assert [mistake.split()[0] for mistake in found.mistakes] == [
        "f.toml:2:", "f.toml:4:", "f.toml:7:", "f.toml:8:",
    ]  # fmt: skip
    assert {name: value.value for name, value in found.values.items()} == {"host": "::"}
    # A table may be opened after one below it, and comes first all the same.
    found = options("[log.a]\n[serve]\nx = 1\n[log]\nb = 1\n")
    assert [mistake.split()[0] for mistake in found.mistakes] == [
        "f.toml:1:", "f.toml:3:", "f.toml:5:",
    ]  # fmt: skip


def test_empty_array_gives_nothing() -> None:
    """As an option that is repeated no times."""
    assert in_table("serve", "ssl_certfile = []\nssl_alpn = []") == FileOptions({}, [])


def test_every_option_but_one_has_a_table() -> None:
    """And each table has some; the limits are those that `Limits` has."""
    assert {row.table for row in OPTIONS} == {*TABLES, ""}
    assert [row.name for row in OPTIONS if not row.table] == ["config"]
    assert {row.name for row in OPTIONS if row.table == "limits"} == {
        row.name for row in OPTIONS if row.limit
    }


SCALARS = (
    st.text(max_size=8)
    | st.integers(-(10**20), 10**20).map(str)
    | st.floats().map(str)
    | st.sampled_from(["true", "false", "1979-05-27", "{}", "[]", "['a']", "[[1]]", "{a = 1}"])
)


@given(
    st.sampled_from(TABLES), st.sampled_from([row.name for row in OPTIONS]), SCALARS, st.booleans()
)
def test_any_value_of_any_key_is_taken_or_a_mistake_with_its_line(
    table: str, name: str, text: str, quoted: bool
) -> None:
    """Whatever the kinds of both, no other error is raised."""
    value = f"'{text}'" if quoted else text
    try:
        found = in_table(table, f"{name} = {value}")
    except SettingsError:  # not TOML
        return
    assert len(found.values) + len(found.mistakes) <= 1 or "\n" in text
    assert all(mistake.startswith("f.toml:2: ") for mistake in found.mistakes) or "\n" in text
    assert all(one.option.table == table for one in found.values.values())


def test_new_row_is_in_the_file_without_another_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table follows from the row; a switch takes true and false."""
    rows = (
        Option(name="tune", type=click.BOOL, help="", group=LISTENING, sets="tune"),
        Option(name="admin_token", type=click.STRING, help="", group=LOG, sets="admin_token"),
    )
    monkeypatch.setattr(config_file, "OPTIONS", (*OPTIONS, *rows))
    found = options("[serve]\ntune = true\n[admin]\nadmin_token = 'x'\n")
    assert found.mistakes == []
    assert {name: one.value for name, one in found.values.items()} == {
        "tune": True,
        "admin_token": "x",
    }
    assert options("[log]\nadmin_token = 'x'").mistakes == [
        "f.toml:2: [log] admin_token is in the wrong table; it belongs in [admin]"
    ]
