"""send_tls: handshakes, authorities and ends of TLS, as errors with what to do."""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asyncrev.command.send_address import SendAddress
from asyncrev.command.send_connect import connect
from asyncrev.command.send_connection import CannotConnect, Connection, NoAnswer, poll_once
from asyncrev.command.send_tls import tls_context
from asyncrev.errors import RemoteError, SettingsError
from tests.certificates import Issuer
from tests.support import DEADLINE_S, wait_until


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[socket.socket], None]], SendAddress]]:
    """A function that runs another one with the first connection, and returns the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(DEADLINE_S)
    threads = []

    def serve(what: Callable[[socket.socket], None]) -> SendAddress:
        def run() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(DEADLINE_S)
                what(sock)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return SendAddress(host="127.0.0.1", port=listener.getsockname()[1])

    yield serve
    for thread in threads:
        thread.join(DEADLINE_S)
    listener.close()


def test_handshake_has_a_deadline(peer: Callable[..., SendAddress]) -> None:
    """A server without TLS that waits for more."""
    address = peer(lambda sock: sock.recv(1) and wait_until(lambda: not sock.recv(65536), "end"))
    with pytest.raises(NoAnswer, match=r"TLS handshake within 0\.2 s"):
        connect(address, 0.2, tls=tls_context(insecure=True, ca_certs=None))


def test_answer_that_is_not_tls(peer: Callable[..., SendAddress]) -> None:
    """It is asked whether the port has TLS."""
    address = peer(lambda sock: sock.recv(1) and sock.sendall(b"220 mail ready\r\n"))
    with pytest.raises(CannotConnect, match="does the server serve TLS"):
        connect(address, DEADLINE_S, tls=tls_context(insecure=True, ca_certs=None))


def test_files_without_authorities(tmp_path: Path) -> None:
    """A missing one, and one with something else."""
    with pytest.raises(SettingsError, match="No such file"):
        tls_context(insecure=False, ca_certs=str(tmp_path / "none"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(SettingsError, match="has no certificate"):
        tls_context(insecure=False, ca_certs=str(tmp_path / "text"))


def received(connection: Connection) -> bytes:
    """Return all until the end of the stream."""
    text = b""
    while True:
        assert poll_once({connection.fileno(): select.POLLIN}, DEADLINE_S)
        data = connection.receive(65536)
        if data == b"":
            return text
        text += data or b""


@pytest.mark.parametrize("with_close_notify", [True, False])
def test_reply_after_close_notify_and_a_truncated_one(
    peer: Callable[..., SendAddress], tmp_path: Path, *, with_close_notify: bool
) -> None:
    """A reply that comes after this side's close_notify is received; a bare FIN is an error."""
    issuer = Issuer(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issuer.issue("localhost"))

    def answer(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as tls:
            assert tls.recv(10) == b"hi"
            if with_close_notify:
                assert tls.recv(10) == b""  # the client's close_notify
            tls.sendall(b"reply")
            if with_close_notify:
                tls.unwrap()

    connection = connect(
        peer(answer),
        DEADLINE_S,
        tls=tls_context(insecure=False, ca_certs=issuer.trusted),
        server_hostname="localhost",
    )
    try:
        assert connection.send(memoryview(b"hi")) == 2
        if with_close_notify:
            connection.half_close()
            assert received(connection) == b"reply"
        else:
            with pytest.raises(RemoteError, match="without close_notify"):
                received(connection)
    finally:
        connection.close()
