"""Limits for the public side, from outside: who is over one is ended, and nobody else."""

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from tests.certificates import Issuer
from tests.process.processors import LOOPS
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    end_of,
    receive_exactly,
    serving,
    wait_until,
)

pytestmark = pytest.mark.process

MOST = 20
ATTACKERS = 200


def connect_from(server: ServerProcess, source: str) -> socket.socket:
    """Return a connection from an address of this machine."""
    return socket.create_connection(
        ("127.0.0.1", server.port), timeout=DEADLINE_S, source_address=(source, 0)
    )


def counted(stderr: str, reason: str) -> int:
    """Return how many ends of that reason the closing line has."""
    found = re.search(rf"'{reason}': (\d+)", stderr)
    return int(found[1]) if found else 0


def is_open(sock: socket.socket) -> bool:
    """Return whether the server has not ended a connection on which it sends nothing."""
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def is_reset(server: ServerProcess, source: str) -> bool:
    """Return whether a new connection of that address is reset."""
    try:
        with connect_from(server, source) as sock:
            return end_of(sock) == "RST"
    except ConnectionResetError:
        return True


def attack(stack: contextlib.ExitStack, server: ServerProcess) -> list[socket.socket]:
    """Return what is left of 200 connections from 127.0.0.1, in good order."""
    socks = []
    for _ in range(ATTACKERS):
        with contextlib.suppress(ConnectionResetError):  # as early as within its connect(2)
            socks.append(stack.enter_context(connect_from(server, "127.0.0.1")))
    wait_until(lambda: sum(map(is_open, socks)) <= MOST, "those over the limit are ended")
    return [sock for sock in socks if is_open(sock)]


@pytest.mark.parametrize("loop", LOOPS)
def test_attacker_of_one_address_keeps_nobody_else_out(loop: str) -> None:
    """More sockets than all that are allowed; an honest peer at another address gets in always."""
    options = ("--max-connections-per-ip", str(MOST), "--max-connections", str(2 * MOST))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("--loop", loop, *options))
        with connect_from(server, "127.0.0.2") as honest:
            assert ask(honest, b"abc") == b"cba"
            base = server.descriptors()
            left = attack(stack, server)
            assert len(left) == MOST
            for _ in range(10):
                with connect_from(server, "127.0.0.2") as another:
                    assert ask(another, b"once more") == b"erom ecno"
            assert ask(honest, b"def") == b"fed"
        for sock in left:
            sock.setblocking(True)
            sock.settimeout(DEADLINE_S)
            assert ask(sock, b"ghi") == b"ihg"
            sock.close()
        # All places are back, and nothing of those that were refused is left.
        wait_until(lambda: server.descriptors() <= base - 1, "the sockets are closed")
        again = [stack.enter_context(connect_from(server, "127.0.0.1")) for _ in range(MOST)]
        assert [ask(sock, b"jk") for sock in again] == [b"kj"] * MOST
        assert is_reset(server, "127.0.0.1")
        code, stderr = server.terminate()
    assert code == 0, stderr[-2000:]
    assert "Traceback" not in stderr
    assert counted(stderr, "too many of an address") == ATTACKERS - MOST + 1
    line = (
        r"127\.0\.0\.1:\d+: closed: 127\.0\.0\.1 has 20 connections; max_connections_per_ip is 20"
    )
    lines = re.findall(line, stderr)
    assert 1 <= len(lines) <= 1 + ATTACKERS - MOST
    if len(lines) <= ATTACKERS - MOST:
        assert "too many of an address" in stderr


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("certificates"))


@contextlib.contextmanager
def serving_tls(issuer: Issuer, *options: str) -> Iterator[ServerProcess]:
    """Serve TLS with a certificate of `issuer` for localhost."""
    with serving("--ssl-certfile", issuer.issue("localhost"), *options) as server:
        yield server


def test_connections_that_wait_for_their_handshake_count(issuer: Issuer) -> None:
    """Silent ones, and those that the gate lets wait, as those that are served."""
    most = 4
    options = ("--max-connections-per-ip", str(most), "--tls-handshakes-in-flight", "2")
    options += ("--tls-handshake-timeout-s", "4")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving_tls(issuer, *options))
        socks = [stack.enter_context(connect_from(server, "127.0.0.1")) for _ in range(most)]
        for sock in socks:
            sock.send(b"\x16")  # a handshake begins; two are let in
        assert is_reset(server, "127.0.0.1")
        # Whoever has taken the places of the gate loses them to those who wait, in a second.
        context = ssl.create_default_context(cafile=issuer.trusted)
        with (
            connect_from(server, "127.0.0.2") as plain,
            context.wrap_socket(plain, server_hostname="localhost") as honest,
        ):
            honest.sendall(b"abc")
            assert receive_exactly(honest, 3) == b"cba"
        for sock in socks:
            sock.close()

        def gets_in() -> bool:
            with (
                contextlib.suppress(ConnectionError),
                connect_from(server, "127.0.0.1") as plain,
                context.wrap_socket(plain, server_hostname="localhost") as sock,
            ):
                sock.sendall(b"abc")
                return receive_exactly(sock, 3) == b"cba"
            return False

        wait_until(gets_in, "the places are back")
        code, stderr = server.terminate()
    assert code == 0
    assert counted(stderr, "too many of an address") >= 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_without_the_certificate_it_needs_is_counted_as_such(
    issuer: Issuer, tmp_path: object, version: ssl.TLSVersion
) -> None:
    """None, or one of a strange authority; apart from handshakes that fail otherwise."""
    stranger = Issuer(tmp_path)  # type: ignore[arg-type]
    with serving_tls(issuer, "--ssl-ca-certs", issuer.trusted) as server:
        for certificate in ("", stranger.issue("client"), issuer.issue("client")):
            context = ssl.create_default_context(cafile=issuer.trusted)
            context.minimum_version = context.maximum_version = version
            if certificate:
                context.load_cert_chain(certificate)
            got = b""
            with (
                contextlib.suppress(ssl.SSLError, ConnectionError),
                server.connect() as plain,
                context.wrap_socket(plain, server_hostname="localhost") as sock,
            ):
                sock.sendall(b"abc")
                got = sock.recv(3)
                sock.unwrap()
            assert got == (b"cba" if certificate.startswith(str(issuer.directory)) else b"")
        with server.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert end_of(sock) in ("FIN", "RST")
        code, stderr = server.terminate()
    assert code == 0
    assert counted(stderr, "TLS certificate") == 2
    assert counted(stderr, "TLS handshake failed") == 1


# -- age and rate ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_of_one_moment_are_drained_one_after_the_other(loop: str) -> None:
    """Each gets all its replies, then FIN; the first and the last a good part of a fifth apart."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("--loop", loop, "--max-connection-age-s", "2"))
        socks = [stack.enter_context(server.connect()) for _ in range(20)]
        sent = [0] * len(socks)
        ended: dict[int, float] = {}
        start_s = time.monotonic()

        def all_ended() -> bool:
            for number, sock in enumerate(socks):
                if number in ended:
                    continue
                # Whoever sends while its end comes may be reset for it: the replies count.
                try:
                    sock.sendall(b"ab")
                    got = sock.recv(2)
                except ConnectionError:
                    got = b""
                if got:
                    assert got == b"ba"
                    sent[number] += 1
                else:
                    ended[number] = time.monotonic() - start_s
            return len(ended) == len(socks)

        wait_until(all_ended, "all are old")
        code, stderr = server.terminate()
    assert code == 0
    assert min(ended.values()) > 1.5
    assert max(ended.values()) - min(ended.values()) > 0.1
    assert all(sent)
    assert counted(stderr, "connection age") == len(socks)
    assert "max_connection_age_s is 2" in stderr


@pytest.mark.slow
def test_slow_sender_and_slow_reader_are_ended_and_a_steady_one_is_not() -> None:
    """In real time: a byte per look of a frame, against one at twice the rate."""
    frame = (10_000).to_bytes(4, "big")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("--framing", "len32", "--min-rate-bytes-per-s", "100"))
        slow, steady = (stack.enter_context(server.connect()) for _ in range(2))
        start_s = time.monotonic()
        for sock in (slow, steady):
            sock.sendall(frame)

        def slow_is_ended() -> bool:
            steady.sendall(b"x" * 20)
            if int((time.monotonic() - start_s) * 10) % 5 == 0:
                with contextlib.suppress(ConnectionError):
                    slow.send(b"x")
            time.sleep(0.05)
            return not is_open(slow)

        wait_until(slow_is_ended, "it is too slow", deadline_s=30)
        assert time.monotonic() - start_s > 9
        assert is_open(steady)
        code, stderr = server.terminate()
    assert counted(stderr, "input rate") == 1
    assert re.search(r"bytes of a frame came in 1\d\.\d s; min_rate_bytes_per_s is 100", stderr)
    assert code in (0, 3)
