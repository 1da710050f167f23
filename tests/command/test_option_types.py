"""option_types: texts become values without any context of click, as from a file."""

import os
import pathlib
from typing import Any

import click
import pytest

from asyncrev.command.option_types import (
    ALPN,
    BYTES,
    CONFIG_PATH,
    FILE_MODE,
    NOT_NEGATIVE_BYTES,
    PATHS,
    SECONDS,
    IntegerRange,
    converted,
    refusal_of_number,
    takes_booleans,
    takes_lists,
    written,
)
from asyncrev.command.options import OPTIONS


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (BYTES, "1.5K", 1536),
        (BYTES, "-1", -1),
        (NOT_NEGATIVE_BYTES, "0", 0),
        (SECONDS, "1m30s", 90.0),
        (SECONDS, "inf", float("inf")),
        (FILE_MODE, "0660", 0o660),
        (FILE_MODE, " 0o600 ", 0o600),
        (FILE_MODE, "7", 7),
        (PATHS, "a b", "a b"),
        (ALPN, "h2, http/1.1", ("h2", "http/1.1")),
        (ALPN, "x" * 255, ("x" * 255,)),
        (ALPN, ",".join(["x" * 255] * 255), ("x" * 255,) * 255),
    ],
)
def test_text_becomes_a_value_and_a_value_stays(kind: Any, text: str, value: Any) -> None:
    """Click converts a value that is one already, too."""
    assert kind.convert(text, None, None) == value
    assert kind.convert(value, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (BYTES, "x"),
        (NOT_NEGATIVE_BYTES, "-1"),
        (SECONDS, "1 fortnight"),
        (FILE_MODE, "0800"),
        (FILE_MODE, "1777"),
        (ALPN, ""),
        (ALPN, "x" * 256),
        (ALPN, "é"),
    ],
)
def test_text_that_is_none_is_named(kind: Any, text: str) -> None:
    """In an error that click prints."""
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert repr(text) in caught.value.format_message()


def test_protocols_that_take_more_than_a_message_has_are_counted() -> None:
    """Their length is two bytes in TLS."""
    with pytest.raises(click.BadParameter, match="257 names take 65792 bytes; at most 65535 can"):
        ALPN.convert(",".join(["x" * 255] * 257), None, None)


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.name)
def test_default_of_every_row_is_one_that_its_type_takes(row: Any) -> None:
    """A default that is refused would be found by whoever serves without the option."""
    if row.default is None:
        assert row.follows or not row.limit
    else:
        assert row.type.convert(str(row.default), None, None) is not None


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (BYTES, 1 << 18, "256KiB"),
        (NOT_NEGATIVE_BYTES, 0, "0"),
        (SECONDS, 300.0, "5m"),
        (SECONDS, float("inf"), "inf"),
        (FILE_MODE, 0o60, "0060"),
        (ALPN, ("h2", "http/1.1"), "h2,http/1.1"),
        (PATHS, "a b", "a b"),
        (IntegerRange(0), 7, "7"),
        (click.Choice(["a", "b"]), "b", "b"),
        (click.STRING, "x", "x"),
    ],
)
def test_value_is_written_as_a_text_that_gives_it(kind: Any, value: Any, text: str) -> None:
    """In the short form that people write."""
    assert written(kind, value) == text
    assert converted(kind, text) == value


def test_text_that_is_no_value_raises_one_error_for_all_types() -> None:
    """Click's own does not leave this module."""
    for kind, text, part in (
        (BYTES, "x", "give bytes as 65536"),
        (IntegerRange(0, 9), "10", "10 is not in the range"),
        (click.Choice(["a", "b"]), "c", "'c' is not one of 'a', 'b'"),
        (click.INT, "x", "'x' is not a valid integer"),
    ):
        with pytest.raises(ValueError, match=part):
            converted(kind, text)


def test_types_say_what_else_a_file_may_give() -> None:
    """Lists for ALPN, no numbers for a mode, whose digits would be decimal."""
    kinds = [BYTES, SECONDS, FILE_MODE, ALPN, PATHS, click.STRING, click.INT, click.BOOL]
    assert [kind for kind in kinds if takes_lists(kind)] == [ALPN]
    assert [kind for kind in kinds if takes_booleans(kind)] == [click.BOOL]
    assert [kind for kind in kinds if refusal_of_number(kind)] == [FILE_MODE]


def test_path_of_the_configuration_is_absolute(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is a current directory; a directory that was removed leaves it as it is."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert converted(CONFIG_PATH, "../a.toml") == str(tmp_path / "a.toml")
    os.rmdir(gone)
    assert converted(CONFIG_PATH, "a.toml") == "a.toml"
    assert converted(CONFIG_PATH, "/a.toml") == "/a.toml"
