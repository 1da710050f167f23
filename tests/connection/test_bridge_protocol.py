"""bridge_protocol: what users give a connection is checked where they make it."""

import asyncio
from typing import Any

import pytest

from asyncrev import Bridge, BridgeProtocol, Limits
from asyncrev.errors import SettingsError
from asyncrev.states import ConnectionState
from tests.tls_pair import client_context, server_context

SMALL = Limits(slots=4, slot_bytes=4096)


@pytest.mark.parametrize("wrong", [7, object, "reverse"])
def test_protocol_with_no_processor_is_refused(wrong: Any) -> None:
    """At once, not at the first connection."""
    with pytest.raises(SettingsError):
        BridgeProtocol(Bridge(SMALL), wrong)


def test_protocol_of_something_else_than_a_bridge_or_limits_is_refused() -> None:
    """With the name, the value and what is allowed; also a context that is none."""
    wrong: Any
    for wrong in (None, SMALL, Bridge):
        with pytest.raises(SettingsError) as caught:
            BridgeProtocol(wrong)
        assert str(caught.value) == f"bridge is {wrong!r}; it must be an asyncrev.Bridge"
    wrong = {"slots": 4}
    with pytest.raises(SettingsError, match=r"limits is .* must be an asyncrev.Limits, or None"):
        BridgeProtocol(Bridge(SMALL), limits=wrong)
    wrong = True
    with pytest.raises(SettingsError, match=r"is True; it must be an ssl.SSLContext"):
        BridgeProtocol(Bridge(SMALL), tls=wrong)


def test_protocol_whose_context_and_name_do_not_fit_is_refused() -> None:
    """A server checks no name, a client does."""
    with pytest.raises(SettingsError, match="server_hostname is 'localhost', but tls is a server"):
        BridgeProtocol(Bridge(SMALL), tls=server_context(), server_hostname="localhost")
    with pytest.raises(SettingsError, match="give server_hostname"):
        BridgeProtocol(Bridge(SMALL), tls=client_context())


def test_protocol_that_fits_is_made_for_one_connection() -> None:
    """It is a protocol for any loop, and has no peer yet."""
    connection = BridgeProtocol(
        Bridge(SMALL), tls=client_context(), server_hostname="localhost", framing="line"
    )
    assert isinstance(connection, asyncio.BufferedProtocol)
    assert (connection.state, connection.info) == (ConnectionState.NEW, None)
