"""option: what follows from a row."""

from typing import Any

import click
import pytest

from asyncrev.command.option import LISTENING, LOG, TABLES, Option
from asyncrev.command.option_types import BYTES, SECONDS


def row(**fields: Any) -> Option:
    """Return a row with these fields."""
    needed = {"name": "a_name", "type": click.STRING, "help": "", "group": LISTENING, "sets": "x"}
    return Option(**{**needed, **fields})


def test_flag_and_variable_follow_from_the_name() -> None:
    """With hyphens, and with underscores."""
    assert (row().flag, row().variable) == ("--a-name", "ASYNCREV_A_NAME")


@pytest.mark.parametrize(
    ("kind", "metavar", "shown"),
    [
        (click.STRING, "", "TEXT"),
        (click.STRING, "PATH", "PATH"),
        (click.INT, "", "N"),
        (click.IntRange(0, 9), "", "N"),
        (click.Choice(["a", "b"]), "", "[a|b]"),
        (BYTES, "", "BYTES"),
        (SECONDS, "", "SECONDS"),
    ],
)
def test_placeholder_is_short(kind: Any, metavar: str, shown: str) -> None:
    """Click's own for a range of numbers is longer than most help texts' lines bear."""
    assert row(type=kind, metavar=metavar).placeholder == shown


@pytest.mark.parametrize(
    ("fields", "shown"),
    [({}, ""), ({"default": 0}, "0"), ({"default": "1MiB"}, "1MiB"), ({"follows": "as x"}, "as x")],
)
def test_default_is_shown_in_words_where_it_follows(fields: dict[str, Any], shown: str) -> None:
    """0 is a default, None is none."""
    assert row(**fields).shown_default == shown


@pytest.mark.parametrize(
    ("sets", "limit"), [("limits.slots", "slots"), ("host", ""), ("ssl.limits", "")]
)
def test_limit_is_the_field_that_a_row_sets(sets: str, limit: str) -> None:
    """Nothing for rows that set something else."""
    assert row(sets=sets).limit == limit


@pytest.mark.parametrize(
    ("fields", "table"),
    [
        ({"sets": "limits.slots", "group": LOG}, "limits"),
        ({"sets": "admin", "name": "admin", "group": LOG}, "admin"),
        ({"sets": "x", "name": "admin_token", "group": LISTENING}, "admin"),
        ({"sets": "x", "name": "administrator"}, "serve"),
        ({"sets": "x", "group": LOG}, "log"),
        ({"sets": "host"}, "serve"),
        ({"sets": "", "group": LOG}, ""),
    ],
)
def test_table_of_the_file_follows_from_the_row(fields: dict[str, Any], table: str) -> None:
    """So that a new row needs nothing more."""
    assert row(**fields).table == table
    assert table in ("", *TABLES)
