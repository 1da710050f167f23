"""admin_address: a path, or host and port; everything else is refused in words."""

import pytest

from asyncrev.command.admin_address import AdminAddress, parse_admin_address
from asyncrev.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (None, None),
        ("unix:/run/a.sock", AdminAddress(path="/run/a.sock")),
        ("unix:a:1", AdminAddress(path="a:1")),
        ("127.0.0.1:9190", AdminAddress(host="127.0.0.1", port=9190)),
        ("[::1]:0", AdminAddress(host="::1", port=0)),
        ("*:9190", AdminAddress(host="*", port=9190)),
        ("admin.example:65535", AdminAddress(host="admin.example", port=65535)),
    ],
)
def test_address_is_a_path_or_host_and_port(text: str | None, address: AdminAddress | None) -> None:
    """A path may have what it likes."""
    assert parse_admin_address(text) == address


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is no address"),
        ("unix:", "names no path"),
        ("/run/a.sock", "is no address"),
        ("localhost", "is no address"),
        (":9190", "is no address"),
        ("9190", "is no address"),
        ("::1:9190", "in brackets"),
        ("localhost:", "from 0 to 65535"),
        ("localhost:x", "from 0 to 65535"),
        ("localhost:65536", "from 0 to 65535"),
        ("localhost:-1", "from 0 to 65535"),
    ],
)
def test_other_texts_are_refused(text: str, part: str) -> None:
    """With the value, and what is allowed."""
    with pytest.raises(SettingsError, match=part) as refused:
        parse_admin_address(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["unix:/x", "127.0.0.1:1"])
def test_text_of_an_address_is_how_it_was_given(text: str) -> None:
    """For messages."""
    assert str(parse_admin_address(text)) == text
