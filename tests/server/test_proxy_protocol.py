"""proxy_protocol: who is listed, and settings that cannot be."""

from typing import Any

import pytest

from asyncrev import ProxyProtocol
from asyncrev.errors import SettingsError

LISTED = ProxyProtocol(trusted=("192.0.2.7", "10.0.0.0/8", "2001:db8::/32"))


@pytest.mark.parametrize(
    ("address", "is_listed"),
    [
        (("192.0.2.7", 1), True),
        (("192.0.2.8", 1), False),
        (("10.255.0.1", 1), True),
        (("11.0.0.1", 1), False),
        (("2001:db8::5", 1, 0, 0), True),
        (("2001:db9::5", 1, 0, 0), False),
        (("::ffff:10.0.0.1", 1, 0, 0), True),  # what a socket for both families says
        (("::ffff:11.0.0.1", 1, 0, 0), False),
        (("fe80::1%lo", 1, 0, 1), False),
        ("", False),
        ("/run/client", False),
        (b"\0name", False),
        ((3, 9090), False),  # vsock(7)
        (None, False),
    ],
)
def test_listed_is_who_is_in_a_network(address: Any, is_listed: bool) -> None:
    """By the address that accept(2) tells."""
    assert LISTED.trusts(address) is is_listed


@pytest.mark.parametrize("address", ["", "/run/client", b"\0name"])
def test_unix_lists_all_peers_of_a_unix_socket(address: Any) -> None:
    """Who may connect is a matter of its mode."""
    settings = ProxyProtocol(trusted=["unix"])
    assert settings.trusts(address)
    assert not settings.trusts(("127.0.0.1", 1))
    assert settings.trusted == ("unix",)
    assert hash(settings) == hash(ProxyProtocol(trusted=("unix",)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trusted": ()}, "trusted is empty; give the addresses"),
        ({"trusted": "10.0.0.0/8"}, "it must be a sequence"),
        ({"trusted": ["10.0.0.1/8"]}, "'10.0.0.1/8': 10.0.0.1/8 has host bits set; give"),
        ({"trusted": ["proxy.example"]}, "'proxy.example'"),
        ({"trusted": [7]}, "trusted has 7; give addresses as text"),
        ({"trusted": ["unix"], "version": 2}, "version is 2; it must be one of"),
        ({"trusted": ["unix"], "timeout_s": 0}, "timeout_s is 0; it must be a number of seconds"),
        ({"trusted": ["unix"], "timeout_s": float("inf")}, "timeout_s is inf"),
        ({"trusted": ["unix"], "timeout_s": "3"}, "timeout_s is '3'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    """With the value and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        ProxyProtocol(**settings)
    assert said in str(caught.value)
