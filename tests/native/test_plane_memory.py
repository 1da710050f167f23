"""plane: what the native plane keeps alive, for how long, and that nothing is left."""

import contextlib
import gc
import itertools
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asyncrev.errors import LocalError
from asyncrev.ring.entry import CLOSE, DATA, EOF
from asyncrev.ring.plane import END, OTHER
from asyncrev.ring.row import Kernel
from tests.native.test_plane import Calls
from tests.native.twins import ByContent, Twin
from tests.planes import NATIVE_PLANE, PythonReverse, needs_plane, plain_work_class
from tests.support import DEADLINE_S, ROOT, publish

pytestmark = needs_plane
READABLE = select.EPOLLIN


def references(thing: object) -> int:
    """Return how many there are, without those of the calls that count them."""
    return sys.getrefcount(thing) - 3


class Upper:
    """Answers in capitals."""

    def process(self, chunk: memoryview) -> bytes:
        """Answer in capitals."""
        return bytes(chunk).upper()


class Marker:
    """Something that can be watched."""


class Bench:
    """A native ring with its plane."""

    def __init__(self) -> None:
        classes: Any = NATIVE_PLANE
        self.classes = classes
        self.ring = classes.Ring(4, 64, 8, 16)
        self.plane = classes.Plane(self.ring, 100, 1 << 20)
        self.parker = classes.Parker()
        self.posts: list[int] = []
        posts = self.posts
        self.signal = classes.DeliverySignal(lambda: posts.append(1))

        class Row(classes.Row):  # type: ignore[misc]
            __slots__ = ("__weakref__", "more")

        self.row_class = Row

    def row(self, processor: Any = None, kernel: Kernel = Kernel.NONE) -> Any:
        """Return a row that can be watched."""
        work = plain_work_class(self.classes.Work)(processor or ByContent())
        work.use_kernel(kernel, 64)
        return self.row_class(work)

    def answer(self) -> None:
        """Have all answered."""
        self.plane.answer(self.ring.published_seq, self.signal, None, None)

    def release(self) -> None:
        """Release all that is processed."""
        self.ring.release(self.ring.processed_seq - self.ring.released_seq)

    @contextlib.contextmanager
    def served(self, row: Any) -> Iterator[socket.socket]:
        """Serve a socket for a row; the peer's."""
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            fd = near.fileno()
            self.plane.open(fd, row, near.recv_into, near.send)
            row.reads = row.sends = True
            yield far
            self.plane.close(fd)

    def receive(self) -> tuple[int, Any]:
        """Receive from all that are served."""
        fds = [fd for fd in range(200) if self.plane.row(fd) is not None]
        found: tuple[int, Any] = self.plane.receive([(fd, READABLE) for fd in fds], 0)
        return found


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench that is gone at the end."""
    made = Bench()
    yield made
    vars(made).clear()


# -- owners, results, entries ----------------------------------------------------------------------


def test_ring_refers_once_to_the_owner_of_each_entry(bench: Bench) -> None:
    """From its publish or receive to its release, whoever answers it; the plane while it serves."""
    row = bench.row()
    before = references(row)
    with bench.served(row) as far:
        before += 1  # `served` has one
        assert references(row) == before + 1
        for number in range(4):
            if number % 2:
                publish(bench.ring, row, b"?abc")
            else:
                far.send(b"?abc")
                assert bench.receive() == (1, END)
            assert references(row) == before + 2 + number
        bench.answer()
        assert references(row) == before + 5
        assert bench.plane.deliver(4) == END
        for left in (3, 2, 1, 0):
            bench.ring.release(1)
            assert references(row) == before + 1 + left
    assert references(row) == before - 1


def test_owner_that_is_no_row_is_kept_in_the_same_way(bench: Bench) -> None:
    """Such as a channel's."""
    owner = Marker()
    before = references(owner)
    for number in range(1, 4):
        publish(bench.ring, owner)
        assert references(owner) == before + number
        bench.ring.mark_processed()
    bench.ring.release(2)
    assert references(owner) == before + 1
    bench.ring.release(1)
    assert references(owner) == before


def test_entry_refers_to_its_owner_until_the_release(bench: Bench) -> None:
    """The object is used again; it says nothing of the entry before."""
    row = bench.row()
    before = references(row)
    publish(bench.ring, row, b"?abc", EOF)
    entry = bench.ring.entry(0)
    assert references(row) == before + 2
    error = KeyError(row)
    entry.error, entry.result = error, bytes(b"a result".upper())
    bench.ring.mark_processed()
    bench.ring.release(1)
    assert (entry.owner, entry.error, entry.result) == (None, None, None)
    error.args = ()
    assert references(row) == before
    for _ in range(8):
        publish(bench.ring, None)
        bench.ring.mark_processed()
    assert bench.ring.entry(8) is entry
    assert (entry.owner, entry.error, entry.result, entry.kind) == (None, None, None, DATA)


@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize("is_view", [False, True])
def test_result_is_kept_from_its_answer_to_the_release(
    bench: Bench, attached: bool, is_view: bool
) -> None:
    """With its memory: a view that the core may send from cannot be released."""
    data = bytes(b"a reply".upper())
    result: Any = memoryview(data) if is_view else data
    before = references(result)
    publish(bench.ring, bench.row(), b"?abc?abc")
    if attached:
        bench.ring.entry(0).result = result
        bench.ring.mark_processed()
    else:
        bench.ring.mark_processed(result)
    assert references(result) > before
    assert bench.ring.result(0) is result
    if is_view:
        with pytest.raises(BufferError):
            result.release()
    bench.ring.release(1)
    assert references(result) == before
    if is_view:
        result.release()


def test_what_a_processor_returns_and_raises_is_gone_after_the_release(bench: Bench) -> None:
    """With the frames of a traceback, and what stands in them."""
    gone: list[weakref.ref[Marker]] = []

    class Wrong:
        def process(self, chunk: memoryview) -> Any:
            marker = Marker()
            gone.append(weakref.ref(marker))
            if len(gone) % 2:
                raise KeyError(marker)
            return marker  # no reply at all

    for _ in range(4):
        publish(bench.ring, bench.row(Wrong()), b"abc")
    bench.answer()
    assert [type(bench.ring.returned(seq)[3].error).__name__ for seq in range(4)] == [
        "KeyError",
        "ProcessorError",
    ] * 2
    assert gone[0]() is not None
    bench.release()
    gc.collect()  # a frame refers to its exception
    assert [one() for one in gone] == [None] * 4


def test_processor_may_drop_itself_and_its_row_while_it_is_called(bench: Bench) -> None:
    """They live as long as the call, and the entry."""
    rows: list[Any] = []

    class Drops:
        def process(self, chunk: memoryview) -> bytes:
            rows[0].work.plain = None
            rows[0].work = None
            rows.clear()
            gc.collect()
            return bytes(chunk).upper()

        def __del__(self) -> None:
            gone.append(1)

    gone: list[int] = []
    rows.append(bench.row(Drops()))
    watched = weakref.ref(rows[0])
    publish(bench.ring, rows[0], b"abc")
    bench.answer()
    assert bench.ring.result(0) == b"ABC"
    assert gone == [1]
    assert watched() is not None
    bench.release()
    assert watched() is None


def test_views_of_a_ring_outlive_it(bench: Bench) -> None:
    """The memory is theirs as well."""
    publish(bench.ring, None, b"abc")
    view = bench.ring.view(0)
    slot = bench.ring.try_claim()
    vars(bench).clear()
    gc.collect()
    assert view == b"abc"
    slot[:3] = b"xyz"
    assert slot[:3] == b"xyz"


def test_types_and_kinds_have_as_many_references_as_before() -> None:
    """Each object refers to its type; what is gone does not."""
    classes: Any = NATIVE_PLANE
    types = [getattr(classes, name) for name in ("Ring", "Plane", "Row", "Work", "Entry")]
    types += [classes.Parker, classes.DeliverySignal, DATA, EOF, CLOSE]

    def use() -> None:
        bench = Bench()
        for kind in (DATA, EOF, CLOSE):
            publish(bench.ring, bench.row(), b"abc", kind)
        bench.answer()
        bench.release()
        publish(bench.ring, bench.row(), b"abc", EOF)

    use()
    gc.collect()
    before = [sys.getrefcount(one) for one in types]
    for _ in range(20):
        use()
    gc.collect()
    assert [sys.getrefcount(one) for one in types] == before


# -- cycles ----------------------------------------------------------------------------------------


def in_the_ring(bench: Bench, marker: Marker) -> None:
    """An entry's owner refers to the ring."""
    row = bench.row()
    row.more = (bench.ring, marker)
    publish(bench.ring, row)


def received(bench: Bench, marker: Marker) -> None:
    """The same of what was received; the plane has let go of it."""
    row = bench.row()
    row.more = (bench.ring, marker)
    with bench.served(row) as far:
        far.send(b"abc")
        assert bench.receive() == (1, END)


def still_served(bench: Bench, marker: Marker) -> None:
    """A row in the plane's table refers to the plane; nobody has closed its number."""
    row = bench.row()
    row.more = (bench.plane, marker)
    bench.plane.open(100, row, None, None)


def by_its_work(bench: Bench, marker: Marker) -> None:
    """The processor refers to the plane that will call it."""
    processor: Any = ByContent()
    processor.more = (bench.plane, marker)
    publish(bench.ring, bench.row(processor))


def by_a_foreign_owner(bench: Bench, marker: Marker) -> None:
    """That is no row."""
    owner: Any = Marker()
    owner.more = (bench.ring, marker)
    publish(bench.ring, owner)


def by_a_result(bench: Bench, marker: Marker) -> None:
    """A view, which the collector must not clear while the core may send from it."""
    owner: Any = Marker()
    owner.more = (bench.ring, marker)
    publish(bench.ring, owner, b"abc")
    bench.ring.mark_processed(memoryview(bytearray(b"abc")))


def by_an_entry(bench: Bench, marker: Marker) -> None:
    """Its error has a traceback with the ring in it."""
    publish(bench.ring, None, b"", EOF)
    ring = bench.ring
    try:
        raise KeyError(ring, marker)
    except KeyError as error:
        ring.entry(0).error = error
    ring.mark_processed()


def by_a_signal(bench: Bench, marker: Marker) -> None:
    """What it calls refers to itself."""
    holder: list[Any] = [marker]
    holder.append(bench.classes.DeliverySignal(lambda: holder))


def by_events(bench: Bench, marker: Marker) -> None:
    """The list of events, which the plane keeps for the next call."""
    row = bench.row()
    bench.plane.open(100, row, None, None)  # it may not receive: an exception
    row.more = marker
    events: list[Any] = [(100, READABLE)]
    assert bench.plane.receive(events, 0) == (0, OTHER)
    events += [bench.plane, marker]


@pytest.mark.parametrize(
    "make",
    [
        *(in_the_ring, received, still_served, by_its_work, by_a_foreign_owner),
        *(by_a_result, by_an_entry, by_a_signal, by_events),
    ],
    ids=lambda make: make.__name__,
)
def test_cycle_is_collected(make: Callable[[Bench, Marker], None]) -> None:
    """As soon as nobody else refers to it, and not before."""
    bench, marker = Bench(), Marker()
    gone = weakref.ref(marker)
    make(bench, marker)
    del marker
    gc.collect()
    if make is not by_a_signal:
        assert gone() is not None
    del bench
    gc.collect()
    assert gone() is None


def test_ring_in_a_cycle_with_a_view_that_is_older() -> None:
    """CPython crashes if the collector clears a view while its buffer is held."""
    program = """if True:
        import gc
        from tests.native.test_plane_memory import Bench, Marker, by_a_result

        gc.disable()
        view = memoryview(bytearray(b"abc"))
        by_a_result.__globals__["memoryview"] = lambda memory: view
        by_a_result(Bench(), Marker())
        del by_a_result.__globals__["memoryview"], view
        gc.collect()
    """
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- collections in the midst of everything --------------------------------------------------------


def drive(seed: int, ncalls: int, after: Callable[[], object]) -> None:
    """Make calls on a native plane, and call `after` after each."""
    assert NATIVE_PLANE is not None
    calls = Calls(seed)
    twin = Twin(0, NATIVE_PLANE, calls.sizes)
    try:
        for what, *args in itertools.islice(calls, ncalls):
            with contextlib.suppress(LocalError):
                getattr(twin, f"do_{what}")(*args)
            after()
        seen = twin.seen()
        assert seen["cursors"][0] <= seen["cursors"][1] <= seen["cursors"][2]
    finally:
        twin.close()


@pytest.mark.parametrize("seed", range(12))
def test_collection_after_each_call_changes_nothing(seed: int) -> None:
    """Objects in the ring are found by the collector, all of them and each as often as it is."""
    drive(seed, 120, gc.collect)


def test_collector_that_runs_all_the_time_changes_nothing() -> None:
    """At each allocation of an object that it looks at, so in the midst of the calls."""
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for seed in range(100, 106):
            drive(seed, 80, lambda: None)
    finally:
        gc.set_threshold(*before)


def test_collection_on_another_thread_while_the_plane_receives(bench: Bench) -> None:
    """What is published and not yet counted belongs to the plane's table."""
    ends = threading.Event()
    collections = []

    def collect() -> None:
        while not ends.is_set():
            collections.append(gc.collect())

    rows = [bench.row(PythonReverse(), Kernel.REVERSE) for _ in range(4)]
    before = [references(row) for row in rows]
    thread = threading.Thread(target=collect)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(bench.served(row)) for row in rows]
        thread.start()
        try:
            for number in itertools.count():
                for peer in peers:
                    peer.send(b"%d" % number)
                assert bench.receive() == (4, END)
                bench.answer()
                assert bench.plane.deliver(bench.ring.processed_seq) == END
                bench.release()
                for peer in peers:
                    assert peer.recv(20) == (b"%d" % number)[::-1]
                if number >= 300 and len(collections) >= 20:
                    break
        finally:
            ends.set()
            thread.join(DEADLINE_S)
    assert [references(row) for row in rows] == before


def test_collection_on_a_third_thread_while_the_plane_polls_and_answers(bench: Bench) -> None:
    """Entries that come and go within one call are never counted, and so never visited."""
    if not hasattr(bench.plane, "poll"):
        pytest.skip("the plane does not poll")
    ends = threading.Event()
    ring, plane, parker, signal = bench.ring, bench.plane, bench.parker, bench.signal
    rows = [bench.row(PythonReverse(), Kernel.REVERSE) for _ in range(3)]
    rows.append(bench.row(Upper()))
    before = [references(row) for row in rows]

    def collect() -> None:
        while not ends.is_set():
            gc.collect()

    def work() -> None:
        taken = 0
        while True:
            taken, closed = plane.wait(taken, parker, signal, -1.0, True)
            plane.answer(taken, signal, None, None)
            if closed and taken == ring.published_seq:
                return

    def talk(peer: socket.socket, turns: int, upper: bool) -> None:
        for number in range(turns):
            data = b"chunk %d" % number
            peer.sendall(data)
            assert peer.recv(100) == (data.upper() if upper else data[::-1])

    with contextlib.ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        stack.callback(os.close, wake_fd)
        epoll.register(wake_fd, READABLE | select.EPOLLET)
        signal.wake_by(wake_fd)
        peers = [stack.enter_context(bench.served(row)) for row in rows]
        for fd in range(200):
            if plane.row(fd) is not None:
                epoll.register(fd, READABLE)
        pool = stack.enter_context(ThreadPoolExecutor(6))
        worker, collector = pool.submit(work), pool.submit(collect)
        for peer in peers:
            peer.settimeout(DEADLINE_S)
        talks = [pool.submit(talk, peer, 300, peer is peers[3]) for peer in peers]
        try:
            end_s = time.monotonic() + DEADLINE_S
            while not all(one.done() for one in talks):
                assert time.monotonic() < end_s, "a reply has not come"
                assert plane.poll(parker, signal, epoll.fileno(), wake_fd, 0.005) == []
                parker.unpark()  # what the loop does before it sleeps again
                signal.clear()
                assert plane.deliver(ring.processed_seq) == END
                ring.release(ring.delivered_seq - ring.released_seq)
        finally:
            ends.set()
            ring.close_input()
            parker.unpark()
            worker.result(DEADLINE_S)
            collector.result(DEADLINE_S)
        for one in talks:
            one.result(DEADLINE_S)
    bench.release()
    assert [references(row) for row in rows] == before


def test_rows_of_any_calls_are_gone_with_their_plane() -> None:
    """Nothing of them is left, not even with entries of all kinds in the ring."""
    gc.collect()
    classes: Any = NATIVE_PLANE

    def live() -> int:
        gc.collect()
        kinds = (classes.Row, classes.Work, classes.Entry, classes.Ring, classes.Plane)
        return sum(isinstance(one, kinds) for one in gc.get_objects())

    before = live()
    for seed in range(200, 230):
        drive(seed, 100, lambda: None)
    assert live() == before


# -- leaks -----------------------------------------------------------------------------------------


def a_round(bench: Bench, rows: list[Any], peers: list[socket.socket], number: int) -> None:
    """One of everything: kernels, answers and failures of all kinds, control, misuse."""
    draw = random.Random(number)
    for row, peer in zip(rows, peers, strict=True):
        row.reads = row.sends = True
        row.waits_for_credit = False
        row.work.plain = row.work.plain or ByContent()
        row.work.broken = False
        row.work.done.clear()
        peer.send(draw.randbytes(draw.randint(1, 20)))
    fds = [(fd, READABLE) for fd in range(200) if bench.plane.row(fd) is not None]
    index = 0
    while (found := bench.plane.receive(fds, index))[1] != END:
        index = found[0] + 1
    publish(bench.ring, Marker(), b"")
    bench.answer_python_owner()
    publish(bench.ring, rows[0], b"abc", draw.choice([EOF, CLOSE]))
    bench.answer()
    bench.signal.clear()
    while bench.plane.deliver(bench.ring.processed_seq) != END:
        seq = bench.ring.delivered_seq - 1
        bench.ring.result(seq)
        bench.ring.entry(seq)
        bench.ring.returned(seq)
    for wrong in (
        lambda: bench.ring.view(-1),
        lambda: bench.ring.release(9),
        lambda: bench.plane.receive([None], 0),
        lambda: bench.plane.deliver(-1),
        lambda: bench.classes.Ring(0, 1),
        lambda: bench.classes.Plane(bench, 1, 1),
        lambda: bench.plane.wait(0, bench, bench.signal, 0.0, False),
    ):
        with contextlib.suppress(Exception):
            wrong()
    bench.plane.wait(bench.ring.published_seq, bench.parker, bench.signal, 0.0, True)
    bench.release()
    for row, peer in zip(rows, peers, strict=True):
        row.in_flight_entries = row.in_flight_bytes = 0
        with contextlib.suppress(BlockingIOError):
            peer.recv(1 << 16)


class LeakBench(Bench):
    """A bench for many rounds."""

    def answer_python_owner(self) -> None:
        """Have all before the last entry answered, and hand that one back."""
        self.plane.answer(self.ring.published_seq - 1, self.signal, None, None)
        self.ring.mark_processed(bytes(bytearray(b"for an owner that is no row")))


def test_ten_thousand_rounds_leave_nothing() -> None:
    """No block of Python's memory, and none that tracemalloc knows of."""
    bench = LeakBench()
    rows = [bench.row(), bench.row(PythonReverse(), Kernel.REVERSE), bench.row()]
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(bench.served(row)) for row in rows]
        for peer in peers:
            peer.setblocking(False)

        def rounds(count: int) -> None:
            for number in range(count):
                a_round(bench, rows, peers, number)

        rounds(200)
        gc.collect()
        blocks = sys.getallocatedblocks()
        none = sys.getrefcount(None)
        rounds(9_800)
        gc.collect()
        assert sys.getallocatedblocks() - blocks < 200
        if sys.version_info < (3, 12):  # later None is never freed (PEP 683)
            assert sys.getrefcount(None) - none < 200
        tracemalloc.start()
        try:
            traced_bytes = []
            for count in (50, 500, 500, 500):
                rounds(count)
                gc.collect()
                traced_bytes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        # What leaks grows each time; what the other threads of a test runner keep grows once.
        grown_bytes = [later - earlier for earlier, later in itertools.pairwise(traced_bytes)]
        assert min(grown_bytes) < 5_000, grown_bytes
    vars(bench).clear()


def test_a_thousand_rings_leave_no_memory_outside_of_python() -> None:
    """Columns, tables and descriptors are the core's own: neither count knows of them."""

    def resident_bytes() -> int:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * 4096

    classes: Any = NATIVE_PLANE

    def make(count: int) -> None:
        for _ in range(count):
            ring = classes.Ring(64, 64, 256)
            plane = classes.Plane(ring, 4, 100)
            plane.open(5000, classes.Row(None), None, None)  # a table of 8,192 rows

    make(50)
    before_bytes = resident_bytes()
    make(1000)
    # Each has 256 rows of 90 bytes and a table of 64 KiB: that would be 80 MB.
    assert resident_bytes() - before_bytes < 8 << 20
