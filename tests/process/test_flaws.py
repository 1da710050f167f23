"""The flaws of the original demo, each of which must not come back (DESIGN.md, section 10)."""

import contextlib
import os
import select
import socket
import threading
from pathlib import Path

import pytest

from tests.process.processors import EVERY_LOOP, FLIP, GATED, HERE, LOOPS
from tests.support import (
    DEADLINE_S,
    ask,
    flipped,
    pattern,
    ping_pong,
    receive_all,
    receive_exactly,
    reset,
    send_until_stuck,
    serving,
    wait_arrived,
    wait_until,
)

pytestmark = pytest.mark.process


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """What a `Gated` server waits for, see `gated` and `open_gate`."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def gated(gate: Path, *args: str) -> "contextlib.AbstractContextManager":
    return serving(*GATED, *args, env={**os.environ, "GATE": str(gate)}, **HERE)


def open_gate(gate: Path) -> None:
    with open(gate, "wb"):
        pass


@pytest.mark.parametrize("slot_bytes", [1, 1000, 1024, 65536])
def test_chunk_longer_than_a_slot_does_not_overflow(slot_bytes: int) -> None:
    """The demo read 4,096 bytes into slots of 1,024: neighbours got what was theirs not."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving(*FLIP, "--slots", "4", "--slot-bytes", str(slot_bytes), **HERE)
        )
        socks = [stack.enter_context(server.connect()) for _ in range(5)]
        nbytes = 300 if slot_bytes == 1 else 4096
        verified = ping_pong(
            socks, lambda client, number: pattern(nbytes, client * 9 + number), flipped, rounds=10
        )
        assert verified == 50


def test_reused_descriptor_gets_no_foreign_bytes(gate: Path) -> None:
    """The demo closed a descriptor with entries queued; the next client got them.

    The worker is held while clients come, send, and go; their descriptors are reused at once.
    """
    with gated(gate, "--slot-bytes", "4096") as server:
        base = server.descriptors()  # not with a client: it would wait at the gate
        for client in range(50):
            sock = server.connect()
            sock.sendall(bytes([client]) * 3000)
            wait_arrived(sock)
            wait_until(lambda: server.descriptors() > base, "it is accepted")
            reset(sock)
            wait_until(lambda: server.descriptors() == base, "it is gone")
        with contextlib.ExitStack() as stack:
            heirs = [stack.enter_context(server.connect()) for _ in range(5)]
            for number, heir in enumerate(heirs):
                heir.sendall(bytes([100 + number]) * 1000)
                heir.shutdown(socket.SHUT_WR)
            open_gate(gate)
            for number, heir in enumerate(heirs):
                assert receive_all(heir) == flipped(bytes([100 + number]) * 1000)
        assert server.terminate()[0] == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_storm_of_short_connections_mixes_nothing_up(loop: str) -> None:
    """Tagged clients come and go in every way; each gets bytes of its own tag only."""
    with serving("--loop", loop, *FLIP, "--slot-bytes", "2048", "--slots", "8", **HERE) as server:
        for turn in range(100):
            tag = bytes([turn])
            sock = server.connect()
            sock.sendall(tag * 10_000)
            way = turn % 4
            if way == 0:
                reset(sock)
                continue
            with sock:
                if way == 1:
                    sock.shutdown(socket.SHUT_WR)
                    assert receive_all(sock) == flipped(tag * 10_000)
                elif way == 2:
                    assert receive_exactly(sock, 10_000) == flipped(tag * 10_000)
                else:
                    assert set(receive_exactly(sock, 100)) == set(flipped(tag))
        code, stderr = server.terminate()
        assert code == 0
        assert "Traceback" not in stderr


def test_input_before_a_half_close_is_not_lost(gate: Path) -> None:
    """The demo closed at the peer's end of stream, whatever it still owed."""
    data = pattern(100_000)
    with gated(gate, "--slot-bytes", "4096") as server, server.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        wait_arrived(sock)
        open_gate(gate)
        assert receive_all(sock) == flipped(data)


def test_full_send_buffer_is_not_fatal() -> None:
    """The demo took EAGAIN for an error, and dropped what a short write had left over."""
    data = pattern(64_256)
    with serving(*FLIP, **HERE) as server, server.connect(receive_buffer_bytes=4096) as sock:
        sent = send_until_stuck(sock, data)
        sock.settimeout(DEADLINE_S)
        sock.shutdown(socket.SHUT_WR)
        got = receive_all(sock)
    assert len(got) == sent
    assert got == flipped((data * (sent // len(data) + 1))[:sent])


def test_short_writes_are_continued_where_they_stopped() -> None:
    """A window of a few KiB makes nearly every write short; the sequence tells what is missing."""
    data = b"".join(number.to_bytes(4, "big") for number in range(500_000))
    with serving(*FLIP, **HERE) as server, server.connect(receive_buffer_bytes=2048) as sock:
        writer = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(1)))
        writer.start()
        got = receive_all(sock)
        writer.join()
    assert got == flipped(data)


def test_peer_that_goes_with_replies_pending_ends_only_itself(gate: Path) -> None:
    """EPIPE or EBADF at a reply ended the demo's process."""
    with gated(gate, "--slot-bytes", "4096") as server, server.connect() as stays:
        for _ in range(20):
            sock = server.connect()
            sock.sendall(b"x" * 5000)
            wait_arrived(sock)
            reset(sock)
        stays.sendall(b"abc")
        open_gate(gate)
        assert receive_exactly(stays, 3) == flipped(b"abc")
        for _ in range(20):  # and with replies on their way
            with server.connect() as sock:
                sock.sendall(b"x" * 200_000)
        assert ask(stays, b"def") == flipped(b"def")
        stays.close()
        code, stderr = server.terminate()
    assert code == 0
    assert "Traceback" not in stderr
    assert "aborted none" in stderr


def test_idle_server_does_not_spin() -> None:
    """The demo took a whole core to wait. (All ways of waiting: test_serve.)"""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving())
        for _ in range(20):
            assert ask(stack.enter_context(server.connect()), b"abc") == b"cba"
        before_s = server.cpu_s()
        select.select([], [], [], 1.0)  # the measurement's length
        assert server.cpu_s() - before_s < 0.1


@pytest.mark.parametrize("slots", ["1", "2"])
@pytest.mark.parametrize("loop", LOOPS)
def test_full_ring_does_not_freeze_the_loop(gate: Path, loop: str, slots: str) -> None:
    """The demo's reader waited for a slot, and nobody could connect."""
    with (
        gated(
            gate, "--loop", loop, "--slots", slots, "--entries", slots, "--slot-bytes", "1024"
        ) as server,
        contextlib.ExitStack() as stack,
    ):
        socks = []
        for client in range(8):  # every connect is accepted although the ring is full
            before = server.descriptors()
            sock = stack.enter_context(server.connect())
            wait_until(lambda before=before: server.descriptors() > before, "it is accepted")
            sock.sendall(pattern(20_000, client))
            socks.append(sock)
        open_gate(gate)
        for client, sock in enumerate(socks):
            assert receive_exactly(sock, 20_000) == flipped(pattern(20_000, client))


@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_client_cannot_stop_the_server_unless_allowed(loop: str) -> None:
    """Any client of the demo could, with "exit"."""
    with serving("--loop", loop) as server:
        with server.connect() as sock:
            assert ask(sock, b"exit") == b"tixe"
            assert ask(sock, b"exit\n") == b"\ntixe"
        with server.connect() as sock:
            assert ask(sock, b"abc") == b"cba"
        code, stderr = server.terminate()
        assert code == 0
        assert "2 connections, 12 bytes received" in stderr


@pytest.mark.parametrize("split_at", [1, 2, 3])
def test_stop_word_split_over_reads_is_recognised(split_at: int) -> None:
    """The demo compared each read with the word."""
    word = b"exit"
    with serving("--stop-word", "exit") as server, server.connect() as sock:
        assert ask(sock, b"ex-it, exi") == b"ixe ,ti-xe"  # not the word
        assert ask(sock, b"-" + word[:split_at]) == word[:split_at][::-1] + b"-"
        sock.sendall(word[split_at:])
        assert receive_all(sock) == word[split_at:][::-1]
        sock.close()
        assert server.wait() == 0


def test_stop_word_split_between_two_clients_is_not_one() -> None:
    """What one client sent does not complete what another did."""
    with (
        serving("--stop-word", "exit") as server,
        server.connect() as one,
        server.connect() as two,
    ):
        assert ask(one, b"ex") == b"xe"
        assert ask(two, b"it") == b"ti"
        assert ask(one, b"abc") == b"cba"
        assert not server.refuses()
