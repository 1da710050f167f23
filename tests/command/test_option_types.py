"""option_types: texts become values without any context of click, as from a file."""

from typing import Any

import click
import pytest

from asyncrev.command.option_types import (
    ALPN,
    BYTES,
    FILE_MODE,
    NOT_NEGATIVE_BYTES,
    PATHS,
    SECONDS,
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
