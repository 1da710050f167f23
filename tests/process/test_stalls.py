"""A server that did not run for longer than its deadlines holds that against nobody.

What peers sent before and meanwhile lies in its kernel; who has sent nothing is aborted all the
same.
"""

import contextlib
import os
import pathlib
import re
import select
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from tests.process.processors import HERE, HOLDING, LOOPS
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    end_of,
    flipped,
    pattern,
    receive_all,
    receive_exactly,
    serving,
    wait_arrived,
    wait_until,
)

pytestmark = pytest.mark.process

# Longer than it takes to bring hundreds of connections into their states on a busy machine.
TIMEOUT_S = 4
STALL_S = TIMEOUT_S + 0.6
PEERS = 75


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    """The name of each loop there is."""
    return request.param


@contextlib.contextmanager
def stopped(server: ServerProcess) -> Iterator[None]:
    """Stop the server with SIGSTOP for `STALL_S`; the block runs meanwhile."""
    server.signal(signal.SIGSTOP)
    start_s = time.monotonic()

    def is_stopped() -> bool:
        with open(f"/proc/{server.pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "T"

    wait_until(is_stopped, "it is stopped")
    yield
    wait_until(lambda: time.monotonic() - start_s >= STALL_S, "the stall is over")
    server.signal(signal.SIGCONT)


def sockets(server: ServerProcess) -> int:
    """Return how many sockets the server has open; other descriptors come and go."""
    folder = pathlib.Path(f"/proc/{server.pid}/fd")
    names = []
    for connection in list(folder.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(connection))
    return sum(name.startswith("socket:") for name in names)


def accepted(server: ServerProcess, base: int, number: int) -> None:
    """Wait until the server has `number` connections more than `base` sockets.

    And until a sweep has seen them, from which their deadlines count: it comes four times in one.
    """
    wait_until(lambda: sockets(server) >= base + number, "all are accepted")
    seen_s = time.monotonic() + TIMEOUT_S / 4 + 0.1
    wait_until(lambda: time.monotonic() >= seen_s, "a sweep has come")


def aborted(stderr: str) -> dict[str, int]:
    """Return what the last line says was aborted."""
    return {
        reason: int(number)
        for reason, number in re.findall(r"'([\w ]+)': (\d+)", stderr.splitlines()[-1])
    }


# What hundreds of peers have done when the server stops, do meanwhile, and are then sent.
SILENT = (b"", b"", b"hello\n", b"olleh\n")
IDLE = (b"a\n", b"a\n", b"hello\n", b"olleh\n")
IN_FRAME = (b"a\nhel", b"a\n", b"lo\nwor", b"olleh\n")
ENDS_ITS_INPUT = (b"a\nhel", b"a\n", None, b"leh")
GROUPS = (SILENT, IDLE, IN_FRAME, ENDS_ITS_INPUT)


def test_peers_whose_bytes_came_while_it_was_stopped_are_answered(loop: str) -> None:
    """Three hundred, before their first byte, between lines, within one; 30 others send nothing."""
    timeouts = [
        text
        for name in ("first-byte", "idle", "frame")
        for text in (f"--{name}-timeout-s", str(TIMEOUT_S))
    ]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("--loop", loop, "--framing", "line", *timeouts))
        base = sockets(server)

        def connected(before: bytes, answer: bytes, number: int) -> list[socket.socket]:
            socks = [stack.enter_context(server.connect()) for _ in range(number)]
            for sock in socks:
                sock.sendall(before)
            for sock in socks:
                assert receive_exactly(sock, len(answer)) == answer
            return socks

        late = [connected(*group[:2], 10) for group in (IN_FRAME, IDLE, SILENT)]
        peers = [connected(*group[:2], PEERS) for group in reversed(GROUPS)]
        accepted(server, base, 4 * PEERS + 30)
        with stopped(server):
            for group, socks in zip(reversed(GROUPS), peers, strict=True):
                for sock in socks:
                    if group[2] is None:
                        sock.shutdown(socket.SHUT_WR)
                    else:
                        sock.sendall(group[2])
        for group, socks in zip(reversed(GROUPS), peers, strict=True):
            for sock in socks:
                assert receive_exactly(sock, len(group[3])) == group[3]
        for sock in (sock for socks in peers for sock in socks):
            sock.close()
        for socks in late:
            for sock in socks:
                assert receive_all(sock) == b""
        wait_until(lambda: sockets(server) <= base + 1, "all have gone")
        code, stderr = server.terminate()
    assert code == 0
    counted = aborted(stderr)
    # Those who were answered within a line may have been closed before their next deadline.
    counted.pop("incomplete frame", None)
    assert counted == {"first byte deadline": 10, "idle deadline": 10, "frame deadline": 10}


@pytest.mark.slow
def test_peers_that_took_their_replies_late_get_all_of_them(loop: str) -> None:
    """They read when the server runs again; a stall that began before is none. Others are reset."""
    data = pattern(64_256)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving("--loop", loop, "--write-stall-timeout-s", str(TIMEOUT_S))
        )
        base = sockets(server)
        socks = [stack.enter_context(server.connect(receive_buffer_bytes=4096)) for _ in range(20)]
        sent = dict.fromkeys(socks, 0)
        for sock in socks:
            sock.setblocking(False)
        while ready := select.select([], socks, [], 0.3)[1]:
            for sock in ready:
                sent[sock] += sock.send(data[sent[sock] % len(data) :])
        with stopped(server):
            pass
        reading, late = socks[:15], socks[15:]
        for sock in socks:
            sock.settimeout(DEADLINE_S)
        for sock in reading:
            sock.shutdown(socket.SHUT_WR)
            assert len(receive_all(sock)) == sent[sock]
            sock.close()
        wait_until(lambda: sockets(server) <= base, "the others are aborted")
        assert [end_of(sock) for sock in late] == ["RST"] * len(late)
        code, stderr = server.terminate()
    assert code == 0
    assert aborted(stderr) == {"write stall": 5}


@pytest.fixture
def certificate(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file with a certificate that nobody has to trust, and its key."""
    trustme = pytest.importorskip("trustme")
    path = tmp_path / "server.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(path)
    return path


def test_handshakes_that_went_on_while_it_was_stopped_are_completed(
    loop: str, certificate: pathlib.Path
) -> None:
    """Hundreds of them; who has sent nothing is dropped, and nothing is left of them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def begin(sock: socket.socket) -> Callable[[], None]:
        """Send the client's first flight; return what completes the handshake and asks."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        sock.sendall(outgoing.read())

        def complete() -> None:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    part = sock.recv(65536)
                    assert part, "closed within the handshake"
                    incoming.write(part)
            tls.write(b"hello")
            sock.sendall(outgoing.read())
            while True:
                try:
                    assert tls.read(100) == b"olleh"
                    return
                except ssl.SSLWantReadError:
                    part = sock.recv(65536)
                    assert part, "closed before the answer"
                    incoming.write(part)

        return complete

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving(
                *("--loop", loop, "--ssl-certfile", str(certificate)),
                module="tests.process.short_deadlines",
                env=os.environ | {"DEADLINE_S": str(TIMEOUT_S)},
                **HERE,
            )
        )
        base = sockets(server)
        late = [stack.enter_context(server.connect()) for _ in range(10)]
        peers = [stack.enter_context(server.connect()) for _ in range(2 * PEERS)]
        accepted(server, base, 2 * PEERS + 10)
        with stopped(server):
            completions = [begin(sock) for sock in peers]
        for complete in completions:
            complete()
        for sock in peers:
            sock.close()
        for sock in late:
            assert receive_all(sock) == b""
        wait_until(lambda: sockets(server) <= base + 1, "all have gone")
        code, stderr = server.terminate()
    assert code == 0
    # The others close their sockets without close_notify.
    assert aborted(stderr) == {"TLS handshake deadline": 10, "TLS truncated": 2 * PEERS}
    assert "Traceback" not in stderr
    assert "never retrieved" not in stderr


@pytest.mark.slow
def test_drain_that_was_stopped_answers_what_came_meanwhile(loop: str) -> None:
    """SIGTERM, then SIGSTOP for longer than the drain and its lingering may take."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving(
                *("--loop", loop),
                module="tests.process.short_deadlines",
                env=os.environ | {"DEADLINE_S": str(TIMEOUT_S)},
                **HERE,
            )
        )
        base = sockets(server)
        socks = [stack.enter_context(server.connect()) for _ in range(PEERS)]
        for sock in socks:
            assert ask(sock, b"abc") == b"cba"
        accepted(server, base, PEERS)
        server.signal(signal.SIGTERM)
        # An end of stream: it has been lingered for from now on.
        assert receive_exactly(socks[0], 1) == b""
        with stopped(server):
            for sock in socks[1:]:
                sock.sendall(b"late")  # must not cost it the end of what it is owed
                wait_arrived(sock)
        for sock in socks[1:]:
            assert end_of(sock) == "FIN"
        for sock in socks:
            sock.close()
        _, stderr = server.process.communicate(timeout=DEADLINE_S)
    assert stderr.decode().splitlines()[-1] == "in time: True, aborted: {}"
    assert server.process.returncode == 0


@pytest.mark.slow
def test_processor_that_holds_the_gil_costs_nobody_else_a_connection(
    loop: str, tmp_path: pathlib.Path
) -> None:
    """For longer than all deadlines; what came meanwhile is answered, who was silent is aborted."""
    timeouts = [
        text for name in ("first-byte", "idle") for text in (f"--{name}-timeout-s", str(TIMEOUT_S))
    ]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving(
                *("--loop", loop, *HOLDING, *timeouts),
                env=os.environ | {"HOLD_S": str(TIMEOUT_S + 1), "HELD": str(tmp_path / "held")},
                **HERE,
            )
        )
        base = sockets(server)
        holder = stack.enter_context(server.connect())
        late = [stack.enter_context(server.connect()) for _ in range(10)]
        peers = [stack.enter_context(server.connect()) for _ in range(2 * PEERS)]
        for sock in peers[:PEERS]:
            assert ask(sock, b"abc") == flipped(b"abc")
        accepted(server, base, 2 * PEERS + 11)
        holder.sendall(b"hold")
        wait_until((tmp_path / "held").exists, "the processor is at it")
        for sock in peers:
            sock.sendall(b"hello")
        for sock in peers:
            assert receive_exactly(sock, 5) == flipped(b"hello")
        assert receive_exactly(holder, 4) == flipped(b"hold")
        for sock in (holder, *peers):
            sock.close()
        for sock in late:
            assert receive_all(sock) == b""
        wait_until(lambda: sockets(server) <= base + 1, "all have gone")
        code, stderr = server.terminate()
    assert code == 0
    assert aborted(stderr) == {"first byte deadline": 10}
