"""Plane.poll: the loop's thread polls in it, and comes back for whatever is not plain."""

import asyncio
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import asyncrev
from asyncrev import Bridge, BridgeProtocol, EpollEventLoop, Limits
from asyncrev.native.choice import NAME
from asyncrev.ring.plane import CREDIT, END, OTHER, OVER_QUOTA
from asyncrev.ring.row import Kernel
from asyncrev.work.reverse import Reverse
from tests.planes import NATIVE_PLANE, plain_work_class
from tests.support import DEADLINE_S, until, wait_until

pytestmark = pytest.mark.skipif(NATIVE_PLANE is None, reason="the native plane is not built")
in_use = pytest.mark.skipif(NAME != "native", reason="the plane in Python does not poll")

NATIVE: Any = NATIVE_PLANE
RESET = b"\x01\0\0\0\0\0\0\0"  # a linger of 0 s: the close of a socket resets its connection


class Bench:
    """A native plane with an epoll, and the worker's part in a thread that answers by a kernel."""

    def __init__(self, *, kernel: bool = True, most_entries: int = 32) -> None:
        self.ring = NATIVE.Ring(4, 64, 8, small_slot_bytes=16)
        self.plane = NATIVE.Plane(self.ring, most_entries, 1 << 20)
        self.parker = NATIVE.Parker()
        self.signal = NATIVE.DeliverySignal(lambda: None)
        self.epoll = select.epoll()
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.epoll.register(self.wake_fd, select.EPOLLIN | select.EPOLLET)
        self.signal.wake_by(self.wake_fd)
        self.kernel = kernel
        self.sockets: list[socket.socket] = []
        self.worker = threading.Thread(target=self.work)

    def work(self) -> None:
        """Answer until the input is closed."""
        taken_seq, is_closed = 0, False
        while not is_closed or taken_seq != self.ring.published_seq:
            end_seq, is_closed = self.plane.wait(taken_seq, self.parker, self.signal, -1.0, True)
            self.plane.answer(end_seq, self.signal, None, None)
            taken_seq = end_seq

    def row(self) -> tuple[Any, socket.socket]:
        """Connect; return the row and its peer."""
        near, far = socket.socketpair()
        for sock in (near, far):
            sock.setblocking(False)
        self.sockets += [near, far]
        work = plain_work_class(NATIVE.Work)(Reverse())
        if self.kernel:
            work.use_kernel(Kernel.REVERSE, 0)
        row = NATIVE.Row(work)
        self.plane.open(near.fileno(), row, near.recv_into, near.send)
        row.reads = row.sends = True
        self.epoll.register(near.fileno(), select.EPOLLIN)
        return row, far

    def other(self) -> tuple[int, socket.socket]:
        """Watch a socket that the plane does not serve; return its descriptor and its peer."""
        near, far = socket.socketpair()
        self.sockets += [near, far]
        self.epoll.register(near.fileno(), select.EPOLLIN)
        return near.fileno(), far

    def poll(self, timeout_s: float = DEADLINE_S) -> list[tuple[int, int]]:
        """Poll as the loop does."""
        self.signal.clear()
        left: list[tuple[int, int]] = self.plane.poll(
            self.parker, self.signal, self.epoll.fileno(), self.wake_fd, timeout_s
        )
        return left

    def close(self) -> None:
        """End the worker, and close everything."""
        self.ring.close_input()
        self.parker.unpark()
        if self.worker.ident is not None:
            self.worker.join(DEADLINE_S)
            assert not self.worker.is_alive()
        del self.worker, self.plane, self.parker, self.signal  # whose descriptors go with them
        for sock in self.sockets:
            sock.close()
        self.epoll.close()
        os.close(self.wake_fd)


@pytest.fixture(params=[True, False], ids=["kernel", "python"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bench; its processor is a kernel, or in Python."""
    one = Bench(kernel=request.param)
    try:
        yield one
    finally:
        one.close()


def ready(sock: socket.socket) -> bool:
    """Whether there is something to receive."""
    return bool(select.select([sock], [], [], 0)[0])


def test_chunks_are_answered_within_one_poll(bench: Bench) -> None:
    """Received, answered by the worker, sent and released; the timeout ends it."""
    bench.worker.start()
    rows = [bench.row() for _ in range(3)]
    for number, (_, peer) in enumerate(rows):
        peer.send(b"abc%d" % number)
    polling = threading.Thread(target=bench.poll, args=(0.5,))
    polling.start()
    for number, (_, peer) in enumerate(rows):
        wait_until(lambda peer=peer: ready(peer), "the reply has come")
        assert peer.recv(100) == b"%dcba" % number
    polling.join(DEADLINE_S)
    assert not polling.is_alive()
    assert bench.ring.released_seq == bench.ring.published_seq == 3
    for row, _ in rows:
        assert (row.in_flight_entries, row.in_flight_bytes) == (0, 0)
        assert (row.received_bytes, row.replied_bytes) == (4, 4)
    assert bench.plane.deliveries >= 1
    assert bench.plane.entries_in_use_high >= 1


def test_events_of_others_come_back_once_what_is_ones_own_was_received(bench: Bench) -> None:
    """Whatever the order of the poll is; the wake-up is nobody's."""
    fd, other_peer = bench.other()
    another_fd, another_peer = bench.other()
    other_peer.send(b"x")
    _, peer = bench.row()
    peer.send(b"abc")
    os.eventfd_write(bench.wake_fd, 1)
    another_peer.send(b"x")
    assert bench.poll() == [(fd, 1), (another_fd, 1)]
    assert bench.ring.published_seq == 1
    assert bench.poll(0.0) == [(fd, 1), (another_fd, 1)]  # as long as nobody reads them
    assert bench.ring.published_seq == 1


def test_timeout_and_wake_ups_end_a_poll_without_events(bench: Bench) -> None:
    """The first in any case; a wake-up alone only delivers, and the poll goes on."""
    os.eventfd_write(bench.wake_fd, 1)
    assert bench.poll(0.01) == []
    assert bench.signal.awaited  # the loop is awake, and will look


def test_poll_ends_when_a_timer_is_due_though_input_is_ready(bench: Bench) -> None:
    """After one turn, if it was due at the start; with time left it would have taken all."""
    _, peer = bench.row()
    peer.send(b"x" * 100)
    assert bench.poll(0.0) == []
    assert bench.ring.published_seq == 1


def test_poll_that_has_worked_does_not_wait_for_long(bench: Bench) -> None:
    """A signal that has come during the work interrupts no wait, and Python must handle it."""
    _, peer = bench.row()
    _, other_peer = bench.other()
    peer.send(b"x")
    rescue = threading.Timer(2.0, other_peer.send, (b"y",))
    rescue.start()
    left = bench.poll(-1.0)
    rescue.cancel()
    rescue.join()
    assert bench.ring.published_seq == 1
    assert left == []


def test_half_close_is_an_end_of_input_that_is_told_once(bench: Bench) -> None:
    """A receive of no bytes."""
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    accepted.setblocking(False)
    bench.sockets += [server, client, accepted]
    row = NATIVE.Row(plain_work_class(NATIVE.Work)(Reverse()))
    bench.plane.open(accepted.fileno(), row, accepted.recv_into, accepted.send)
    row.reads = row.sends = True
    bench.epoll.register(accepted.fileno(), select.EPOLLIN)
    client.shutdown(socket.SHUT_WR)
    left = bench.poll()
    assert left == [(accepted.fileno(), select.EPOLLIN)]
    row.reads = False  # meanwhile
    assert bench.plane.receive(left, 0) == (0, 0)
    assert bench.plane.receive(left, 0) == (0, OTHER)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    ((fd, events),) = bench.poll()
    assert (fd, events & select.EPOLLERR) == (accepted.fileno(), select.EPOLLERR)
    assert bench.plane.receive([(fd, events)], 0) == (0, OTHER)  # it is more than input


def test_stop_of_a_row_is_forgotten_when_its_descriptor_is_closed(bench: Bench) -> None:
    """The next connection with that number begins without it."""
    row, peer = bench.row()
    near = bench.sockets[0]
    row.reads = False
    peer.send(b"abc")
    left = bench.poll()
    assert left == [(near.fileno(), select.EPOLLIN)]
    assert bench.plane.close(near.fileno()) is row
    again = NATIVE.Row(plain_work_class(NATIVE.Work)(Reverse()))
    bench.plane.open(near.fileno(), again, near.recv_into, near.send)
    again.reads = again.sends = True
    assert bench.plane.receive(left, 0) == (1, END)
    assert bench.ring.owner(0) is again


def test_quota_is_told_with_what_was_received() -> None:
    """The row may publish no more, and the next receive says so, before it looks at anything."""
    bench = Bench(most_entries=1)
    try:
        row, peer = bench.row()
        peer.send(b"abc")
        left = bench.poll()
        assert (bench.ring.published_seq, row.waits_for_credit) == (1, True)
        assert bench.plane.receive(left, 0) == (0, OVER_QUOTA)
        assert bench.plane.receive(left, 1) == (1, END)
        bench.worker.start()
        wait_until(lambda: bench.ring.processed_seq == 1, "it is answered")
        os.eventfd_write(bench.wake_fd, 1)
        assert bench.poll() == []
        assert bench.plane.deliver(1) == CREDIT
        assert bench.plane.deliver(1) == END
        assert peer.recv(100) == b"cba"
    finally:
        bench.close()


def test_poll_of_a_closed_epoll_is_an_error(bench: Bench) -> None:
    """As that of Python's."""
    fd = os.dup(bench.epoll.fileno())
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        bench.plane.poll(bench.parker, bench.signal, fd, bench.wake_fd, 1.0)


# -- on a loop -------------------------------------------------------------------------------------


class Traffic:
    """Peers that send and verify without a pause, in a thread, until they are stopped."""

    def __init__(self, connections: int) -> None:
        pairs = [socket.socketpair() for _ in range(connections)]
        self.near = [near for near, _ in pairs]
        self._far = [far for _, far in pairs]
        self._is_over = threading.Event()
        self.rounds = 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Traffic":
        for sock in self.near:
            sock.setblocking(False)
        for sock in self._far:
            sock.settimeout(DEADLINE_S)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for sock in self._far:  # the loop does not run now, so no reply would come
            sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(2 * DEADLINE_S)
        for sock in (*self.near, *self._far):
            sock.close()

    def _run(self) -> None:
        try:
            while not self._is_over.is_set():
                for number, sock in enumerate(self._far):
                    sock.sendall(b"%d-%d" % (number, self.rounds))
                for number, sock in enumerate(self._far):
                    expected = (b"%d-%d" % (number, self.rounds))[::-1]
                    got = b""
                    while len(got) < len(expected):
                        got += sock.recv(100) or b"<end>"
                    assert got == expected, (got, expected)
                self.rounds += 1
        except BaseException as error:
            self.error = error


async def serve(bridge: Bridge, traffic: Traffic) -> list[Any]:
    """Connect the traffic's sockets to a bridge."""
    loop = asyncio.get_running_loop()
    made = []
    for sock in traffic.near:
        _, connection = await loop.create_connection(lambda: BridgeProtocol(bridge), sock=sock)
        made.append(connection)
    await until(lambda: traffic.rounds or traffic.error, "there is traffic")
    return made


@in_use
def test_busy_loop_still_runs_all_that_asyncio_runs() -> None:
    """Timers, callbacks of other threads, other streams, and signals, while the plane polls."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(False)
        signals: list[int] = []
        loop.add_signal_handler(signal.SIGUSR2, lambda: signals.append(1))
        async with Bridge(Limits()) as bridge:
            with Traffic(8) as traffic:
                await serve(bridge, traffic)
                deliveries = bridge.parts.plane.deliveries
                for _ in range(20):
                    await asyncio.sleep(0.002)
                assert await loop.run_in_executor(None, lambda: 5) == 5
                echo = await asyncio.start_server(pong, "127.0.0.1", 0)
                reader, writer = await asyncio.open_connection(*echo.sockets[0].getsockname())
                for _ in range(20):
                    writer.write(b"ping\n")
                    assert await reader.readline() == b"pong\n"
                writer.close()
                echo.close()
                os.kill(os.getpid(), signal.SIGUSR2)
                await until(lambda: signals, "the signal was handled")
                rounds = traffic.rounds
                await until(lambda: traffic.rounds > rounds, "it goes on")
                assert traffic.error is None
                assert bridge.parts.plane.deliveries > deliveries
        loop.remove_signal_handler(signal.SIGUSR2)

    async def pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(b"pong\n")
        writer.close()

    asyncrev.run(main())


@in_use
def test_interrupt_reaches_a_loop_that_is_busy_in_polls() -> None:
    """Python's own handler raises KeyboardInterrupt, as it does from any poll."""
    loop = EpollEventLoop()
    loop.set_debug(False)  # else the plane does not poll, and it may come within a delivery
    bridge = Bridge(Limits())

    async def start() -> None:
        bridge.start()

    try:
        loop.run_until_complete(start())
        with Traffic(4) as traffic:
            loop.run_until_complete(serve(bridge, traffic))
            was = signal.signal(signal.SIGUSR2, signal.default_int_handler)
            try:
                loop.call_later(0.05, os.kill, os.getpid(), signal.SIGUSR2)
                threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR2)).start()
                for _ in range(2):
                    with pytest.raises(KeyboardInterrupt):
                        loop.run_forever()
            finally:
                signal.signal(signal.SIGUSR2, was)
            rounds = traffic.rounds
            loop.run_until_complete(until(lambda: traffic.rounds > rounds, "it goes on"))
            assert traffic.error is None
    finally:
        loop.run_until_complete(bridge.close())
        loop.close()


@in_use
def test_plane_polls_only_alone_and_not_in_debug_mode() -> None:
    """Another bridge has to be told of each iteration, and debug mode to time each callback."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.set_debug(False)
        assert loop._selector.poll_instead is None
        async with Bridge(Limits()) as bridge:
            assert loop._selector.poll_instead == bridge.parts.streams.poll
            loop.set_debug(True)
            assert loop._selector.poll_instead is None
            loop.set_debug(False)
            async with Bridge(Limits()):
                assert loop._selector.poll_instead is None
            assert loop._selector.poll_instead == bridge.parts.streams.poll
            with Traffic(2) as traffic:
                await serve(bridge, traffic)
                loop.set_debug(True)
                rounds = traffic.rounds
                await until(lambda: traffic.rounds > rounds, "it goes on in debug mode")
                loop.set_debug(False)
                rounds = traffic.rounds
                await until(lambda: traffic.rounds > rounds, "and after it")
                assert traffic.error is None
        assert loop._selector.poll_instead is None

    asyncrev.run(main())
