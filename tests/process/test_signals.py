"""Ends of a server process: drain, deadline, second signal, hung worker, and the exit codes."""

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from asyncrev.command.signals import SAME_STOP_S
from tests.process.processors import EVERY_LOOP, FLIP, GATED, HERE, HUNG, LOOPS
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    flipped,
    pattern,
    receive_all,
    send_until_stuck,
    serving,
    wait_arrived,
    wait_until,
)

pytestmark = pytest.mark.process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loop", LOOPS)
def test_signal_without_connections_ends_cleanly(loop: str, number: int) -> None:
    """Nothing to answer: exit 0, with a line that says what was done."""
    with serving("--loop", loop) as server:
        server.signal(number)
        assert server.wait() == 0
        assert server.process.stderr is not None
        stderr = server.process.stderr.read().decode()
        assert "stopped: 0 connections, 0 bytes received" in stderr
        assert "Traceback" not in stderr


def test_signal_with_idle_connections_gives_them_an_end_of_stream() -> None:
    """Their peers see an orderly end, not a reset."""
    with serving() as server, server.connect() as asked, server.connect() as silent:
        assert ask(asked, b"abc") == b"cba"
        server.signal(signal.SIGTERM)
        assert receive_all(asked) == b""
        assert receive_all(silent) == b""
        asked.close()
        silent.close()
        assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loop", LOOPS)
def test_signal_under_load_leaves_nothing_unanswered(
    tmp_path: Path, loop: str, number: int
) -> None:
    """Every byte in the kernel or in the server at the signal is answered, then comes the end.

    The worker is held at its first chunk until the server drains, so that there is much to do.
    """
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    environment = {**os.environ, "GATE": str(gate)}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving("--loop", loop, *GATED, "--slots", "64", env=environment, **HERE)
        )
        socks = [stack.enter_context(server.connect()) for _ in range(20)]
        sent = [pattern(40_000 + 5_003 * client, tag=client) for client in range(20)]
        for client, sock in enumerate(socks):
            sock.sendall(sent[client])
            if client % 2:
                sock.shutdown(socket.SHUT_WR)
        for sock in socks:
            wait_arrived(sock)
        server.signal(number)
        wait_until(server.refuses, "it accepts no more")
        with open(gate, "wb"):
            pass
        for client, sock in enumerate(socks):
            assert receive_all(sock) == flipped(sent[client]), f"client {client}"
            sock.close()
        assert server.wait() == 0


def test_connections_queued_in_the_kernel_are_answered_too() -> None:
    """Who was connected when the signal came has been promised an answer."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("--max-connections", "1"))
        first = stack.enter_context(server.connect())
        assert ask(first, b"abc") == b"cba"
        queued = [stack.enter_context(server.connect()) for _ in range(5)]
        for sock in queued:
            sock.sendall(b"hello")
            wait_arrived(sock)
        server.signal(signal.SIGTERM)
        for sock in queued:
            assert receive_all(sock) == b"olleh"
            sock.close()
        first.close()
        assert server.wait() == 0


def blocked(stack: contextlib.ExitStack, server: ServerProcess) -> socket.socket:
    """Return a peer that sends and never reads; some of its replies cannot leave the server."""
    sock = stack.enter_context(server.connect(receive_buffer_bytes=4096))
    send_until_stuck(sock, pattern(64_256))
    return sock


@pytest.mark.parametrize("loop", LOOPS)
def test_drain_deadline_aborts_who_never_reads(loop: str) -> None:
    """Exit 3 soon after the deadline, and stderr says how many were aborted."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving("--loop", loop, *FLIP, "--drain-timeout-s", "0.4", **HERE)
        )
        blocked(stack, server)
        code, stderr = server.terminate()
        assert code == 3
        assert "aborted: drain deadline" in stderr
        assert "'drain deadline': 1" in stderr
        assert "Traceback" not in stderr


def insist(server: ServerProcess, number: int) -> int:
    """Send a signal until the server has ended; return its exit code.

    The first one may be too early to count. Two that count would end it before it has said so.
    """
    for wait_s in (SAME_STOP_S + 0.1, DEADLINE_S):
        server.signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(wait_s)
            break
    return server.wait()


@pytest.mark.parametrize(
    ("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)]
)
@pytest.mark.parametrize("loop", LOOPS)
def test_second_signal_does_not_wait(loop: str, first: int, second: int) -> None:
    """It aborts what is left and exits with 128 + itself, long before the drain's deadline."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving("--loop", loop, *FLIP, "--drain-timeout-s", "1000", **HERE)
        )
        blocked(stack, server)
        server.signal(first)
        wait_until(server.refuses, "it drains")
        assert insist(server, second) == 128 + second
        assert server.process.stderr is not None
        stderr = server.process.stderr.read().decode()
        assert "second signal: closing now" in stderr
        assert "Traceback" not in stderr


@pytest.mark.parametrize("loop", LOOPS)
def test_hung_processor_does_not_outlive_the_drain_deadline(loop: str) -> None:
    """A thread cannot be ended, the process can: exit 3."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving("--loop", loop, *HUNG, "--drain-timeout-s", "0.3", **HERE)
        )
        stack.enter_context(server.connect()).sendall(b"abc")
        code, stderr = server.terminate()
        assert code == 3
        assert "a processor does not return" in stderr
        assert "Traceback" not in stderr


def test_hung_processor_does_not_outlive_a_second_signal() -> None:
    """Nobody has to reach for SIGKILL."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(*HUNG, "--drain-timeout-s", "1000", **HERE))
        sock = stack.enter_context(server.connect())
        sock.sendall(b"abc")
        wait_arrived(sock)
        server.signal(signal.SIGTERM)
        wait_until(server.refuses, "it drains")
        assert insist(server, signal.SIGTERM) == 128 + signal.SIGTERM


def test_blocked_tee_does_not_outlive_the_drain_deadline(tmp_path: Path) -> None:
    """A reader of the tee that has stopped is a hung processor like any other."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(
                serving("--tee", str(fifo), "--drain-timeout-s", "0.3", **HERE)
            )
            sock = stack.enter_context(server.connect())
            send_until_stuck(sock, pattern(64_256))
            assert server.terminate()[0] == 3
    finally:
        os.close(reader)


@pytest.mark.slow
@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_signal_in_the_middle_of_ping_pong_loses_no_reply(loop: str) -> None:
    """Clients that go on sending get whole replies to a prefix of what they sent, then the end."""
    for attempt in range(5):
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(serving("--loop", loop, *FLIP, **HERE))
            socks = [stack.enter_context(server.connect()) for _ in range(10)]
            for turn in range(1, 50 + attempt):
                if turn == 30 + attempt:
                    server.signal(signal.SIGTERM)
                for sock in list(socks):
                    try:
                        sock.sendall(b"0123456789")
                        reply = sock.recv(10)
                    except ConnectionError:
                        reply = b""  # what is sent after the end runs into nothing
                    if not reply:
                        socks.remove(sock)
                        sock.close()
                        continue
                    assert reply == flipped(b"0123456789")
            assert not socks
            assert server.wait(DEADLINE_S) == 0
