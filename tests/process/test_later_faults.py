"""Replies that come later under faults: workers that are killed, replies that never come."""

import itertools
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.process.test_memory import KEPT_BYTES
from tests.support import DEADLINE_S, ROOT, ServerProcess, receive_all, serving, wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

MIB = 1 << 20
CLIENTS, FRAMES = 10, 400


def children_of(pid: int) -> list[int]:
    """Return the processes that this one has started, and those of these."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children_of(int(child))]
    return found


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


class Client(threading.Thread):
    """Sends frames that name it, and checks that each reply is its own, once and in order."""

    def __init__(self, server: ServerProcess, number: int) -> None:
        super().__init__()
        self.sock = server.connect()
        self.frames = [b"%d-%d-" % (number, n) + b"x" * (n * 37 % 3000) for n in range(FRAMES)]
        self.wrong = ""
        self.answered = 0

    def run(self) -> None:
        sender = threading.Thread(target=self._send)
        sender.start()
        with self.sock:
            received = receive_all(self.sock)
            sender.join()
        expected = b"".join(frame(payload.swapcase()) for payload in self.frames)
        if not expected.startswith(received):
            off = next(
                off for off, (a, b) in enumerate(zip(received, expected, strict=False)) if a != b
            )
            self.wrong = f"a wrong reply at byte {off}: {received[off : off + 40]!r}"
        ends = itertools.accumulate(len(frame(payload)) for payload in self.frames)
        self.answered = sum(end <= len(received) for end in ends)

    def _send(self) -> None:
        try:
            for payload in self.frames:
                self.sock.sendall(frame(payload))
                time.sleep(0.002)
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # its connection was ended


@pytest.mark.timeout(120)
@pytest.mark.parametrize("function", ["flip_again", "flip"])
def test_killed_workers_cost_no_reply_or_end_their_connections(function: str) -> None:
    """Those of a function that may be repeated are all answered; every reply is right."""
    args = ("--processor", f"tests.executors.work:{function}", "--framing", "len32")
    with serving(*args, "--executor", "processes", "--executor-workers", "2", cwd=ROOT) as server:
        clients = [Client(server, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(3):
            time.sleep(0.4)  # the load goes on meanwhile; any moment will do
            workers = [
                pid
                for pid in children_of(server.process.pid)
                if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
            os.kill(workers[-1], signal.SIGKILL)
        for client in clients:
            client.join(DEADLINE_S * 4)
            assert not client.is_alive()
        assert [client.wrong for client in clients if client.wrong] == []
        answered = sum(client.answered for client in clients)
        code, stderr = server.terminate()
        assert code == 0
        assert "died" in stderr, "no worker was killed while it had something"
        if function == "flip_again":
            assert answered == CLIENTS * FRAMES
            assert "executor lost" not in stderr
        else:
            assert FRAMES <= answered <= CLIENTS * FRAMES


@pytest.mark.timeout(120)
def test_replies_that_never_come_stay_within_the_bound() -> None:
    """500 connections send all that is taken of them."""
    args = (
        "--processor", "tests.process.processors:never", "--framing", "line",
        "--slots", "16", "--slot-bytes", "65536", "--max-connections", "500",
        "--max-frame-bytes", "4096", "--pool-bytes", "4M", "--pending-total", "100",
        "--pending-total-bytes", "1M", "--processor-timeout-s", "inf",
    )  # fmt: skip
    with serving(*args, cwd=ROOT) as server:
        before_bytes = server.rss_bytes()
        socks = [server.connect(receive_buffer_bytes=4096) for _ in range(500)]
        try:
            for sock in socks:
                sock.setblocking(False)
                try:
                    while sock.send(b"x" * 1000 + b"\n"):
                        pass
                except BlockingIOError:
                    pass
            highest_bytes = 0

            def settled() -> bool:
                nonlocal highest_bytes
                last_bytes, highest_bytes = highest_bytes, server.peak_rss_bytes()
                time.sleep(0.3)
                return last_bytes == highest_bytes

            wait_until(settled, "it reads no more", 60)
            growth_bytes = highest_bytes - before_bytes
            print(f"grew by {growth_bytes}; the bound is {server.memory_bound_bytes}")
            assert growth_bytes <= server.memory_bound_bytes + KEPT_BYTES
            assert growth_bytes > MIB
        finally:
            for sock in socks:
                sock.close()
