"""What is left in a server's process of TLS connections that have gone, however they went."""

import concurrent.futures
import contextlib
import socket
import ssl
from collections.abc import Callable

import pytest

from tests.process.processors import SESSIONS
from tests.process.telling import statistics_of, telling
from tests.process.test_tls_ends import VERSIONS, client_of
from tests.support import ServerProcess, log_lines, receive_all, receive_exactly, reset, wait_until
from tests.tls_pair import APPLICATION_DATA, record

pytestmark = [pytest.mark.process, pytest.mark.slow]

Way = Callable[[socket.socket, ssl.SSLContext], None]

ONE_CONNECTION = 2  # objects: ours, and OpenSSL's inside
MOST_LEAKED_BYTES = 8 << 20  # of 10,000 connections; one session in 50 would be more
LINE = b"a" * 1000 + b"\n"
TRUSTING_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def established(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Return a client that had a line answered."""
    client = context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=True)
    client.sendall(LINE)
    assert receive_exactly(client, len(LINE)) == LINE
    return client


def ends_well(sock: socket.socket, context: ssl.SSLContext) -> None:
    """close_notify both ways."""
    established(sock, context).unwrap().close()


def ends_without_close_notify(sock: socket.socket, context: ssl.SSLContext) -> None:
    """FIN alone."""
    with established(sock, context) as client:
        socket.socket.shutdown(client, socket.SHUT_WR)
        receive_all(client)


def resets(sock: socket.socket, context: ssl.SSLContext) -> None:
    """With replies owed."""
    client = established(sock, context)
    client.sendall(LINE * 100)
    reset(client)


def sends_a_bad_record(sock: socket.socket, context: ssl.SSLContext) -> None:
    """And waits for the end."""
    with established(sock, context) as client, contextlib.suppress(ssl.SSLError):
        socket.socket.sendall(client, record(APPLICATION_DATA, bytes(40)))
        receive_all(client)


def speaks_no_tls(sock: socket.socket, context: ssl.SSLContext) -> None:
    """A line of text."""
    sock.sendall(LINE)
    receive_all(sock)


def leaves_within_the_handshake(sock: socket.socket, context: ssl.SSLContext) -> None:
    """Behind its hello, with FIN or by a reset."""
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    sock.sendall(out.read())
    assert sock.recv(100)
    reset(sock)


def trusts_nobody(sock: socket.socket, context: ssl.SSLContext) -> None:
    """It refuses the server's certificate, with an alert."""
    with pytest.raises(ssl.SSLCertVerificationError):
        TRUSTING_NOBODY.wrap_socket(sock, server_hostname="localhost")


WAYS: tuple[Way, ...] = (
    ends_well,
    ends_without_close_notify,
    resets,
    sends_a_bad_record,
    speaks_no_tls,
    leaves_within_the_handshake,
    trusts_nobody,
)


@pytest.mark.parametrize(
    "connections", [300, pytest.param(10_000, marks=[pytest.mark.stress, pytest.mark.timeout(600)])]
)
def test_connections_that_have_gone_leave_no_object_of_tls(
    certificate: tuple[str, str], connections: int
) -> None:
    """Neither ours nor Python's, and no memory of OpenSSL's; seven ways to go, two versions."""
    contexts = [client_of(certificate, version) for version in VERSIONS]

    def come_and_go(number: int) -> None:
        with server.connect() as sock:
            WAYS[number % len(WAYS)](sock, contexts[number % 2])

    def alive() -> int:
        wait_until(lambda: statistics_of(server)["connections"] == 0, "all have gone")
        with server.connect() as sock, established(sock, contexts[0]) as client:
            client.sendall(b"count\n")
            return int(client.recv(100))

    args = ("--framing", "line", *SESSIONS, "--linger-timeout-s", "0.2")
    with telling(*args, "--ssl-certfile", certificate[0], errors_only=True) as server:
        assert alive() == ONE_CONNECTION
        with concurrent.futures.ThreadPoolExecutor(4) as clients:
            list(clients.map(come_and_go, range(200)))
            assert alive() == ONE_CONNECTION
            before_bytes = server.rss_bytes()
            list(clients.map(come_and_go, range(connections)))
        assert alive() == ONE_CONNECTION
        assert server.rss_bytes() - before_bytes < MOST_LEAKED_BYTES
        assert_no_line(server)


def assert_no_line(server: ServerProcess) -> None:
    """End the server: none of that was an error."""
    code, stderr = server.terminate()
    assert code == 0
    assert not log_lines(stderr)
