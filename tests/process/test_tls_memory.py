"""Resident memory of a TLS server against its printed bound: idle peers, and greedy ones."""

import contextlib
import resource
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from asyncrev.limits import FIXED_CONNECTION_BYTES, TLS_CONNECTION_BYTES
from tests.framed import framed
from tests.process.processors import HERE
from tests.support import ServerProcess, receive_exactly, serving, wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

PEERS = 1000
# Of a connection that was used for long messages: TLS, and what every connection takes.
IDLE_BYTES = 64 * 1024 + 4 * 1024
SMALL = ("--slots", "16", "--slot-bytes", "65536", "--in-flight-bytes", "65536")


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    """Let this process have a socket for each peer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = PEERS + 200
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"only {hard} descriptors are allowed here")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def peers_of(
    server: ServerProcess, ca: str, stack: contextlib.ExitStack, number: int
) -> list[ssl.SSLSocket]:
    """Return connected peers with little memory in the kernel."""
    context = ssl.create_default_context(cafile=ca)
    made = []
    for _ in range(number):
        plain = stack.enter_context(socket.socket())
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(30)
        plain.connect(server.address)
        made.append(stack.enter_context(context.wrap_socket(plain, server_hostname="localhost")))
    return made


def exchange(peer: ssl.SSLSocket, framing: str, nbytes: int) -> None:
    """Send a message and receive the reply, which is as long."""
    data = bytes(nbytes)
    message = data if framing == "raw" else framed(framing, data)
    peer.sendall(message)
    assert len(receive_exactly(peer, len(message))) == len(message)


@contextlib.contextmanager
def measured(
    certificate: tuple[str, str], framing: str, *more: str
) -> Iterator[tuple[ServerProcess, int, contextlib.ExitStack]]:
    """A server, its memory once it has served somebody, and what closes its peers."""
    args = ("--framing", framing, "--max-connections", str(PEERS + 1), *SMALL, *more)
    with (
        serving("--ssl-certfile", certificate[0], *args, **HERE) as server,
        contextlib.ExitStack() as stack,
    ):
        (first,) = peers_of(server, certificate[1], stack, 1)
        exchange(first, framing, 40_000)
        yield server, server.rss_bytes(), stack


@pytest.mark.parametrize("framing", ["raw", "len32"])
def test_idle_peers_take_at_most_64_kib_of_tls_each(
    certificate: tuple[str, str], framing: str
) -> None:
    """After messages of several records, so that everything has been used that is kept."""
    with measured(certificate, framing) as (server, base_bytes, stack):
        for peer in peers_of(server, certificate[1], stack, PEERS):
            exchange(peer, framing, 40_000)
        each_bytes = (server.rss_bytes() - base_bytes) / PEERS
        assert each_bytes <= IDLE_BYTES
        assert server.rss_bytes() - base_bytes <= server.memory_bound_bytes


def test_peers_that_wait_for_their_handshake_take_nothing_of_tls(
    certificate: tuple[str, str],
) -> None:
    """Each has sent 16 KiB of a record; what they take is what every connection takes."""
    record = b"\x16\x03\x01\x40\x00" + bytes(16_000)
    with measured(certificate, "raw", "--tls-handshakes-in-flight", "4") as (server, base, stack):
        for _ in range(PEERS):
            stack.enter_context(server.connect()).sendall(record)
        wait_until(lambda: server.descriptors() > PEERS, "all are connected")
        growth_bytes = server.rss_bytes() - base
        print(f"{growth_bytes / PEERS:.0f} bytes each")
        assert growth_bytes <= PEERS * FIXED_CONNECTION_BYTES + 4 * TLS_CONNECTION_BYTES


@pytest.mark.parametrize("framing", ["raw", "len32"])
def test_peers_that_never_read_stay_within_the_bound(
    certificate: tuple[str, str], framing: str
) -> None:
    """Each sends until nothing is taken; the server holds what it has printed, no more."""
    with measured(certificate, framing) as (server, base_bytes, stack):
        message = bytes(16_000) if framing == "raw" else framed(framing, bytes(16_000))
        peers = peers_of(server, certificate[1], stack, PEERS)
        highest_bytes = 0
        deadline_s = time.monotonic() + 60
        stuck: set[ssl.SSLSocket] = set()
        while len(stuck) < PEERS and time.monotonic() < deadline_s:
            for peer in peers:
                peer.setblocking(False)
                try:
                    peer.send(message)
                    stuck.discard(peer)
                except ssl.SSLWantWriteError:
                    stuck.add(peer)
            highest_bytes = max(highest_bytes, server.rss_bytes())
        assert len(stuck) == PEERS, "some were still read"
        wait_until(lambda: server.process.poll() is None, "it lives")
        assert highest_bytes - base_bytes <= server.memory_bound_bytes
