"""Ends of TLS connections of a process: no reply that is owed is lost, no peer holds it up."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from tests.framed import framed
from tests.process.processors import EVERY_LOOP
from tests.support import DEADLINE_S, ServerProcess, receive_all, receive_exactly, serving
from tests.tls_proxy import through_tls

pytestmark = pytest.mark.process

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def client_of(certificate: tuple[str, str], version: str = "1.3") -> ssl.SSLContext:
    """Return a client's context for one version of TLS."""
    context = ssl.create_default_context(cafile=certificate[1])
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


@contextlib.contextmanager
def slow_sockets() -> Iterator[socket.socket]:
    """A listening socket whose connections have little room in the kernel."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.set_inheritable(True)
        yield sock


def over_tls(
    server: ServerProcess, certificate: tuple[str, str], receive_buffer_bytes: int | None = None
) -> ssl.SSLSocket:
    """Return a client that takes an end of stream without close_notify for an error."""
    plain = server.connect(receive_buffer_bytes)
    return client_of(certificate).wrap_socket(
        plain, server_hostname="localhost", suppress_ragged_eofs=False
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_half_close_is_answered_in_full(
    certificate: tuple[str, str], loop: str, version: str
) -> None:
    """Data, close_notify and FIN; then all replies, close_notify and FIN."""
    data = bytes(range(256)) * 4000
    frames = [data[start : start + 50_000] for start in range(0, len(data), 50_000)]
    wire = b"".join(framed("len32", frame) for frame in frames)
    with serving("--loop", loop, "--framing", "len32", "--ssl-certfile", certificate[0]) as server:
        context = client_of(certificate, version)
        with through_tls(server.connect(), context, "localhost", DEADLINE_S) as client:
            client.sendall(wire)
            client.shutdown(socket.SHUT_WR)
            replies = receive_all(client)
        assert replies == b"".join(framed("len32", frame[::-1]) for frame in frames)
        status, stderr = server.terminate()
    assert status == 0
    assert "aborted none" in stderr


@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_quiet_peer_does_not_hold_up_the_drain(certificate: tuple[str, str], loop: str) -> None:
    """It has had everything, close_notify too, and keeps its socket open without a word."""
    with (
        serving(
            *("--loop", loop, "--linger-timeout-s", "0.3", "--drain-timeout-s", "8"),
            *("--ssl-certfile", certificate[0]),
        ) as server,
        over_tls(server, certificate) as client,
    ):
        client.sendall(b"abc")
        assert receive_exactly(client, 3) == b"cba"
        began_s = time.monotonic()
        status, stderr = server.terminate()
        assert time.monotonic() - began_s < 5
        assert client.recv(1) == b""  # close_notify: no error
    assert status == 0
    assert "aborted none" in stderr


@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_drain_in_a_flood_of_half_handshakes_is_in_time(
    certificate: tuple[str, str], loop: str
) -> None:
    """Two are within their handshake and 48 wait for that; one was established before."""
    hello = ssl.MemoryBIO()
    tls = client_of(certificate).wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    half = hello.read()[:100]
    limits = ("--tls-handshakes-in-flight", "2", "--linger-timeout-s", "0.3")
    with (
        serving("--loop", loop, *limits, "--ssl-certfile", certificate[0]) as server,
        over_tls(server, certificate) as established,
        contextlib.ExitStack() as stack,
    ):
        peers = [stack.enter_context(server.connect()) for _ in range(50)]
        for peer in peers:
            peer.sendall(half)
        for _ in range(20):
            established.sendall(b"abc")
            assert receive_exactly(established, 3) == b"cba"
        status, stderr = server.terminate()
        assert established.recv(1) == b""
        for peer in peers:
            assert receive_all(peer) == b""
    assert status == 0
    assert "aborted none" in stderr
    assert "tls_handshakes_in_flight, which is 2, is reached" in stderr


@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_place_of_a_quiet_peer_is_free_after_the_linger_time(
    certificate: tuple[str, str], loop: str
) -> None:
    """Its frame was too large; it never answers close_notify, and the next peer is served."""
    with (
        serving(
            *("--loop", loop, "--framing", "len32", "--max-frame-bytes", "100"),
            *("--linger-timeout-s", "0.3", "--max-connections", "1"),
            *("--ssl-certfile", certificate[0]),
        ) as server,
        over_tls(server, certificate) as quiet,
    ):
        quiet.sendall(framed("len32", bytes(101)))
        assert receive_all(quiet) == b""
        began_s = time.monotonic()
        with over_tls(server, certificate) as honest:
            honest.sendall(framed("len32", b"ab"))
            assert receive_exactly(honest, 6) == framed("len32", b"ba")
        assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("end", ["drain", "frame too large"])
@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_late_input_costs_a_slow_reader_none_of_its_replies(
    certificate: tuple[str, str], loop: str, end: str
) -> None:
    """40 frames are answered into a full socket; input that comes after the end is dropped."""
    frames = b"".join(framed("len32", bytes([n]) * 1000) for n in range(40))
    with (
        slow_sockets() as sock,
        serving(
            *("--loop", loop, "--framing", "len32", "--max-frame-bytes", "1000"),
            *("--fd", str(sock.fileno()), "--ssl-certfile", certificate[0]),
            pass_fds=(sock.fileno(),),
        ) as server,
    ):
        server.address = sock.getsockname()
        with over_tls(server, certificate, 2048) as client:
            client.sendall(frames)
            first = client.recv(1)  # it has begun to answer
            if end == "drain":
                server.signal(15)
            else:
                client.sendall(framed("len32", bytes(1001)))
            for _ in range(50):
                client.sendall(framed("len32", b"late"))
            # A drain may find a late frame in the kernel, and answers it then.
            replies = first + receive_all(client)
            assert replies[: len(frames)] == frames
        status, _ = server.terminate() if end != "drain" else (server.wait(), "")
    assert status == 0


def test_stream_without_close_notify_is_counted_and_whole_frames_are_answered(
    certificate: tuple[str, str],
) -> None:
    """FIN in the middle of a frame, behind two whole ones."""
    with serving("--framing", "len32", "--ssl-certfile", certificate[0]) as server:
        with over_tls(server, certificate) as client:
            client.sendall(framed("len32", b"ab") + framed("len32", b"cd") + b"\0\0")
            socket.socket.shutdown(client, socket.SHUT_WR)  # FIN alone
            assert receive_all(client) == framed("len32", b"ba") + framed("len32", b"dc")
        _, stderr = server.terminate()
    assert "aborted {'TLS truncated': 1}" in stderr
