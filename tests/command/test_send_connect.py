"""send_connect: peers that are not there."""

import socket
from pathlib import Path

import pytest

from asyncrev.command.send_address import SendAddress
from asyncrev.command.send_connect import connect
from asyncrev.command.send_connection import CannotConnect
from asyncrev.command.send_tls import tls_context
from asyncrev.errors import SettingsError


def test_refused_and_missing_peers(tmp_path: Path) -> None:
    """They are named."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = SendAddress(host="127.0.0.1", port=unused.getsockname()[1])
        with pytest.raises(CannotConnect, match="Connection refused; is the server running"):
            connect(address, 1.0)
    with pytest.raises(CannotConnect, match="No such file"):
        connect(SendAddress(path=str(tmp_path / "none")), 1.0)
    with pytest.raises(CannotConnect, match="cannot connect to"):
        connect(SendAddress(path="x" * 300), 1.0)
    with pytest.raises(CannotConnect, match="cannot connect to"):
        connect(SendAddress(host="a" * 70, port=1), 1.0)


def test_name_that_no_certificate_can_have() -> None:
    """It is a mistake of the user, and the socket is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = SendAddress(host="127.0.0.1", port=listener.getsockname()[1])
        context = tls_context(insecure=False, ca_certs=None)
        with pytest.raises(SettingsError, match="--server-hostname"):
            connect(address, 1.0, tls=context, server_hostname=".x")
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(5)
            assert peer.recv(10) == b""
