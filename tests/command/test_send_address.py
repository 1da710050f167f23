"""send_address: which argument is the address, and what it names."""

import pytest

from asyncrev.command.send_address import (
    DEFAULT_ADDRESS,
    SendAddress,
    address_and_data,
    parse_send_address,
)
from asyncrev.errors import SettingsError


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), (DEFAULT_ADDRESS, None)),
        (("hello",), (DEFAULT_ADDRESS, "hello")),
        (("-",), (DEFAULT_ADDRESS, None)),
        (("note: 5 of them",), (DEFAULT_ADDRESS, "note: 5 of them")),
        ((":80",), (SendAddress(host="127.0.0.1", port=80), None)),
        (("h:80", "-"), (SendAddress(host="h", port=80), None)),
        (("h:80", "h:81"), (SendAddress(host="h", port=80), "h:81")),
        (("[::1]:80", ""), (SendAddress(host="::1", port=80), "")),
        (("unix:/a b", "x"), (SendAddress(path="/a b"), "x")),
    ],
)
def test_arguments(arguments: tuple[str, ...], expected: tuple[SendAddress, str | None]) -> None:
    """A single argument is an address only if it is written as one."""
    assert address_and_data(arguments) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unix:", "names no path"),
        ("unix:a\0b", "null character"),
        ("::1:80", "brackets"),
        ("host", "is no address"),
        ("host:0", "from 1 to 65535"),
        ("host:65536", "from 1 to 65535"),
        ("host:" + "9" * 5000, "from 1 to 65535"),
        ("host:٣", "from 1 to 65535"),
    ],
)
def test_bad_address_is_refused(text: str, words: str) -> None:
    """With what is allowed."""
    with pytest.raises(SettingsError, match=words):
        parse_send_address(text)


def test_more_than_two_arguments_are_refused() -> None:
    """Data with spaces needs quotes."""
    with pytest.raises(SettingsError, match="quotes"):
        address_and_data(("h:1", "a", "b"))


@pytest.mark.parametrize("text", ["unix:/a", "h:80", "[::1]:80"])
def test_text_of_an_address_is_what_was_parsed(text: str) -> None:
    """For messages."""
    assert str(parse_send_address(text)) == text
