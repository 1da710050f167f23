"""addresses: hosts and ports as text, with messages that name what they are of."""

import pytest

from asyncrev.addresses import port_number, split_host_port
from asyncrev.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a:1", ("a", ":", "1")),
        ("[::1]:90", ("::1", ":", "90")),
        (":5", ("", ":", "5")),
        ("a", ("", "", "a")),
    ],
)
def test_text_is_split_at_its_last_colon(text: str, parts: tuple[str, str, str]) -> None:
    """Brackets are taken off; what is missing is empty."""
    assert split_host_port(text, "it", 9) == parts


def test_address_with_colons_needs_brackets() -> None:
    """With an example."""
    with pytest.raises(SettingsError, match=r"--x '::1:5': put .* as \[::1\]:9190"):
        split_host_port("::1:5", "--x '::1:5'", 9190)


@pytest.mark.parametrize("port", ["", "x", "-1", "65536", "٣", "1" * 5000, "0"])
def test_what_is_no_port_is_refused(port: str) -> None:
    """However long it is, and in whatever digits."""
    with pytest.raises(SettingsError, match="it: the port must be a number from 1 to 65535"):
        port_number(port, "it")


def test_ports_have_a_least() -> None:
    """0 where a free one may be taken."""
    assert (port_number("0", "it", 0), port_number("65535", "it")) == (0, 65535)
