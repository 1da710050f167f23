"""plane: the native plane's worker waits and works without the GIL, while the loop goes on."""

import os
import random
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asyncrev.ring.plane import END
from asyncrev.ring.row import Kernel
from tests.planes import NATIVE_PLANE, PythonReverse, needs_plane, plain_work_class
from tests.support import DEADLINE_S, publish, wait_until

pytestmark = needs_plane


class Bench:
    """A ring with its plane, a worker's thread, and a loop that sleeps on an eventfd."""

    def __init__(self, entries: int = 8, *, stays: bool = True, wakes: bool = True) -> None:
        classes: Any = NATIVE_PLANE
        self.classes = classes
        self.ring = classes.Ring(max(1, entries // 2), 64, entries, 16)
        self.plane = classes.Plane(self.ring, entries, 1 << 20)
        self.parker = classes.Parker()
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        wake_fd = self.wake_fd
        self.signal = classes.DeliverySignal(lambda: os.eventfd_write(wake_fd, 1))
        if wakes:
            self.signal.wake_by(wake_fd)
        self.stays = stays
        self.returns = 0  # how often the worker came back from its wait; writer: worker
        self.pool = ThreadPoolExecutor(1)
        self.worker = self.pool.submit(self.work)

    def work(self) -> int:
        """Do what `Worker` does; return how many entries needed Python."""
        taken = by_hand = 0
        while True:
            end, closed = self.plane.wait(taken, self.parker, self.signal, -1.0, self.stays)
            self.returns += 1
            taken = max(taken, self.ring.processed_seq)
            if closed and taken == end:
                return by_hand
            by_hand += end - taken
            self.plane.answer(end, self.signal, None, None)
            taken = end

    def row(self, kernel: Kernel = Kernel.REVERSE) -> Any:
        """Return a row whose chunks are reversed, natively or not."""
        work = plain_work_class(self.classes.Work)(PythonReverse())
        work.use_kernel(kernel, 64)
        return self.classes.Row(work)

    def publish(self, row: Any, data: bytes) -> None:
        """Publish a chunk, and wake the worker."""
        publish(self.ring, row, data)
        self.parker.unpark()

    def sleep(self) -> None:
        """Sleep as a loop does, until a delivery is requested."""
        ready, _, _ = select.select([self.wake_fd], [], [], DEADLINE_S)
        assert ready, "a delivery was never requested"
        os.eventfd_read(self.wake_fd)
        self.signal.clear()

    def close(self) -> int:
        """End the worker; return how many entries needed Python."""
        self.ring.close_input()
        self.parker.unpark()
        try:
            return self.worker.result(DEADLINE_S)
        finally:
            self.pool.shutdown()
            os.close(self.wake_fd)


@pytest.fixture
def no_switches() -> Iterator[None]:
    """A thread that asks for the GIL while another computes does not get it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("no_switches")
def test_kernel_answers_while_another_thread_keeps_the_gil() -> None:
    """The loop computes without a pause, and its chunks are reversed meanwhile."""
    bench = Bench()
    row = bench.row()
    wait_until(lambda: bench.parker.parked, "the worker sleeps")
    for number in range(50):
        bench.publish(row, b"%09d" % number)
        end_s = time.monotonic() + DEADLINE_S
        while bench.ring.processed_seq != number + 1:  # in Python, without a call that lets go
            assert time.monotonic() < end_s, "the worker has not got the GIL, and needs it"
        assert bench.ring.result(number) == (b"%09d" % number)[::-1]
        bench.ring.release(1)
    assert bench.returns == 0
    assert bench.close() == 0
    assert bench.plane.batches == 50


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("wakes", [False, True])
@pytest.mark.parametrize("entries", [1, 2, 7])
def test_no_wake_up_is_lost_between_two_threads(entries: int, stays: bool, wakes: bool) -> None:
    """Rings of few entries, kernels and Python in any order; every reply once and in order.

    There is no backstop in the native wait: what is lost is waited for until the deadline.
    """
    bench = Bench(entries, stays=stays, wakes=wakes)
    draw = random.Random(entries)
    rows = [bench.row(Kernel(kernel)) for kernel in (0, 1, 1, 1, 2)]
    sent: list[bytes] = []
    got: list[bytes] = []
    python = 0
    try:
        while len(got) < 1500:
            while len(sent) < 1500 and bench.ring.free_entries and draw.random() < 0.9:
                data = draw.randbytes(draw.randint(0, 12)).replace(b"\n", b"!")
                data = data if draw.random() < 0.8 else b"ab\n"
                row = draw.choice(rows)
                # A kernel for lines leaves what is none to Python, which reverses it all.
                is_lines = row is rows[4] and data == b"ab\n"
                python += row is rows[0] or (row is rows[4] and not is_lines and data != b"")
                sent.append(b"ba\n" if is_lines else data[::-1])
                publish(bench.ring, row, data)
                if draw.random() < 0.7:
                    bench.parker.unpark()
            bench.parker.unpark()
            if bench.ring.processed_seq == bench.ring.released_seq:
                if bench.ring.published_seq == bench.ring.released_seq:
                    continue
                bench.sleep()
            while bench.ring.processed_seq != bench.ring.released_seq:
                got.append(bytes(bench.ring.result(bench.ring.released_seq)))
                bench.ring.release(1)
    finally:
        by_hand = bench.close()
    assert got == sent
    assert by_hand >= python > 0
    assert bench.parker.backstop_wakes == 0


def test_whole_way_over_sockets_with_the_worker_asleep_in_between() -> None:
    """Received, reversed and sent without a line of Python between the two calls of the loop."""
    bench = Bench(16)
    pairs = [socket.socketpair() for _ in range(4)]
    rows = []
    for near, far in pairs:
        near.setblocking(False)
        far.settimeout(DEADLINE_S)
        rows.append(bench.row())
        bench.plane.open(near.fileno(), rows[-1], near.recv_into, near.send)
        rows[-1].reads = rows[-1].sends = True
    try:
        for number in range(300):
            chunks = [b"%d-%d" % (number, which) for which in range(4)]
            for (_, far), chunk in zip(pairs, chunks, strict=True):
                far.send(chunk)
            events = [(near.fileno(), select.EPOLLIN) for near, _ in pairs]
            assert bench.plane.receive(events, 0) == (4, END)
            bench.parker.unpark()
            while bench.ring.released_seq != bench.ring.published_seq:
                bench.sleep()
                assert bench.plane.deliver(bench.ring.processed_seq) == END
                bench.ring.release(bench.ring.delivered_seq - bench.ring.released_seq)
            for (_, far), chunk in zip(pairs, chunks, strict=True):
                assert far.recv(100) == chunk[::-1]
        assert bench.returns == 0
        assert [(row.in_flight_entries, row.in_flight_bytes) for row in rows] == [(0, 0)] * 4
    finally:
        bench.close()
        for pair in pairs:
            for sock in pair:
                sock.close()


def test_wait_ends_with_the_input_and_with_its_timeout() -> None:
    """The timeout is kept with and without anything published before."""
    bench = Bench()
    assert bench.close() == 0  # it slept without a timeout
    ring, plane = bench.ring, bench.plane
    assert plane.wait(0, bench.parker, bench.signal, -1.0, True) == (0, True)
    classes: Any = NATIVE_PLANE
    ring = classes.Ring(2, 8)
    plane = classes.Plane(ring, 2, 100)
    for timeout_s in (0.0, 0.02):
        began_s = time.monotonic()
        assert plane.wait(0, bench.parker, bench.signal, timeout_s, True) == (0, False)
        assert time.monotonic() - began_s >= timeout_s
        assert not bench.parker.parked


def test_signal_to_the_process_does_not_end_a_wait_before_its_time() -> None:
    """A system call that a handler interrupts goes on: here that of the main thread."""
    bench = Bench()
    bench.close()
    classes: Any = NATIVE_PLANE
    plane = classes.Plane(classes.Ring(2, 8), 2, 100)
    hits: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        began_s = time.monotonic()
        assert plane.wait(0, bench.parker, bench.signal, 0.08, True) == (0, False)
        assert time.monotonic() - began_s >= 0.08
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert hits


def test_request_that_cannot_be_posted_ends_the_wait_with_its_error() -> None:
    """As of a loop that was closed; it counts as not asked, and what was answered stays so."""
    classes: Any = NATIVE_PLANE

    def fail() -> None:
        raise OSError("closed")

    ring = classes.Ring(2, 8)
    plane, parker = classes.Plane(ring, 2, 100), classes.Parker()
    requests = classes.DeliverySignal(fail)
    work = plain_work_class(classes.Work)(PythonReverse())
    work.use_kernel(Kernel.REVERSE, 0)
    publish(ring, classes.Row(work), b"ab")
    for processed in (1, 1):
        with pytest.raises(OSError, match="closed"):
            plane.wait(ring.processed_seq, parker, requests, -1.0, True)
        assert ring.processed_seq == processed
        assert not requests.awaited
    assert ring.result(0) == b"ba"


def test_unpark_by_many_threads_wakes_one_worker_each_time() -> None:
    """Exactly one of them finds it asleep."""
    bench = Bench()
    row = bench.row()
    barrier = threading.Barrier(4)
    for number in range(20):
        wait_until(lambda: bench.parker.parked, "the worker sleeps")
        publish(bench.ring, row, b"x")
        woken: list[bool] = []

        def unpark(woken: list[bool] = woken) -> None:
            barrier.wait(DEADLINE_S)
            woken.append(bench.parker.unpark())

        threads = [threading.Thread(target=unpark) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        wait_until(lambda n=number: bench.ring.processed_seq == n + 1, "it is answered")
        bench.ring.release(1)
        assert sum(woken) >= 1
    assert bench.close() == 0
