"""sockets: connections, and why one could not be opened."""

import resource
import socket

import pytest

from asyncrev.bench.plan import Plan
from asyncrev.bench.sockets import ConnectError, Connector, allow_descriptors
from asyncrev.errors import SettingsError
from tests.bench.servers import echo, served
from tests.support import serving


def test_connection_is_not_blocking_and_sends_at_once() -> None:
    """TCP_NODELAY, as every message counts."""
    with served(echo) as port, Connector(Plan(port=port)).connect() as sock:
        assert not sock.getblocking()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_unix_socket(socket_path: str) -> None:
    """By its path."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(socket_path)
        listening.listen()
        with Connector(Plan(path=socket_path)).connect() as sock:
            assert sock.family == socket.AF_UNIX


def test_refused_connection_says_so() -> None:
    """With the target."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port}: Connection refused"):
        Connector(Plan(port=port)).connect()
    with pytest.raises(ConnectError, match="unix:/nowhere/x: No such file"):
        Connector(Plan(path="/nowhere/x")).connect()
    with pytest.raises(ConnectError, match="cannot connect to"):
        Connector(Plan(host="a..b", port=1)).connect()


@pytest.mark.process
def test_tls_is_verified_unless_it_is_insecure(certificate: tuple[str, str]) -> None:
    """By the given authority and name; what is wrong is said with what to do."""
    both, trusted = certificate
    with serving("--ssl-certfile", both) as server:
        plan = {"port": server.port, "tls": True}
        Connector(Plan(**plan, insecure=True)).connect().close()
        named = Plan(**plan, ca_certs=trusted, server_hostname="localhost")
        Connector(named).connect().close()
        with pytest.raises(ConnectError, match="give --ca-certs or --server-hostname"):
            Connector(Plan(**plan)).connect()
        with pytest.raises(ConnectError, match="IP address mismatch"):
            Connector(Plan(**plan, ca_certs=trusted)).connect()


def test_tls_with_a_server_that_has_none_fails() -> None:
    """In words."""
    with (
        served(echo) as port,
        pytest.raises(ConnectError, match="TLS handshake with"),
    ):
        Connector(Plan(port=port, tls=True, insecure=True)).connect()


def test_tls_settings_that_cannot_be_used_are_refused() -> None:
    """Before a connection is opened."""
    with pytest.raises(SettingsError, match="--ca-certs /nowhere: No such file"):
        Connector(Plan(tls=True, ca_certs="/nowhere"))
    with pytest.raises(SettingsError, match="give --server-hostname, or --insecure"):
        Connector(Plan(tls=True, path="/x"))


def test_limit_of_descriptors_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the hard limit it is an error that says what to do."""
    limits: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 1000))
    monkeypatch.setattr(resource, "setrlimit", lambda *args: limits.append(args))
    allow_descriptors(50)
    assert limits == []
    allow_descriptors(500)
    assert limits == [(resource.RLIMIT_NOFILE, (532, 1000))]
    with pytest.raises(SettingsError, match="and the limit is 1000; raise it with ulimit -n"):
        allow_descriptors(1000)
