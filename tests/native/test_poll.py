"""The native plane's poll: it stays in C for as long as that is right, and no longer."""

import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.planes import NATIVE_PLANE, needs_plane, plain_work_class

pytestmark = needs_plane


class Bench:
    """A native plane that serves one stream, and an epoll with that, a wake-up and a pipe."""

    def __init__(self) -> None:
        native: Any = NATIVE_PLANE
        self.ring = native.Ring(slots=64, slot_bytes=16, entries=64, small_slot_bytes=8)
        self.plane = native.Plane(self.ring, 64, 1 << 20)
        self.parker = native.Parker()
        self.signal = native.DeliverySignal(lambda: None)
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.row = native.Row(plain_work_class(native.Work)(None))
        self.plane.open(self.near.fileno(), self.row, None, None)
        self.row.reads = self.row.sends = True
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.reader, self.writer = os.pipe()
        self.epoll = select.epoll()
        for fd in (self.near.fileno(), self.wake_fd, self.reader):
            self.epoll.register(fd, select.EPOLLIN)

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        """Poll; events of the pipe end it, too."""
        left: list[tuple[int, int]] = self.plane.poll(
            self.parker, self.signal, self.epoll.fileno(), self.wake_fd, timeout_s
        )
        return left

    def close(self) -> None:
        """Close what is open."""
        self.plane.close(self.near.fileno())
        del self.parker  # its descriptors
        self.epoll.close()
        for fd in (self.wake_fd, self.reader, self.writer):
            os.close(fd)
        self.near.close()
        self.far.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Makes a bench, and closes it."""
    one = Bench()
    yield one
    one.close()


def test_poll_ends_when_a_timer_is_due_though_input_is_ready(bench: Bench) -> None:
    """After one turn, if it was due at the start; with time left it would have taken all."""
    bench.far.send(b"x" * 100)
    assert bench.poll(0.0) == []
    assert bench.ring.published_seq == 1


def test_poll_that_has_worked_does_not_wait_for_long(bench: Bench) -> None:
    """A signal that has come during the work interrupts no wait, and Python must handle it."""
    bench.far.send(b"x")
    rescue = threading.Timer(2.0, os.write, (bench.writer, b"y"))
    rescue.start()
    left = bench.poll(-1.0)
    rescue.cancel()
    rescue.join()
    assert bench.ring.published_seq == 1
    assert left == []
