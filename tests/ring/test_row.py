"""row: what a row says before anything has happened."""

from types import SimpleNamespace

import pytest

from asyncrev.ring.entry import DATA
from asyncrev.ring.row import FIRST_READ_BYTES, SMALL_READS, Kernel, Row, Work
from asyncrev.ring.row import Row as PythonRow
from tests.planes import plain_work_class

pytestmark = pytest.mark.usefixtures("each_plane")


def test_new_row_has_nothing_in_flight_and_no_socket() -> None:
    """It begins with small slots; nobody receives or sends for it."""
    row = Row("work")
    assert row.work == "work"
    assert (row.in_flight_entries, row.in_flight_bytes) == (0, 0)
    assert (row.received_bytes, row.replied_bytes) == (0, 0)
    assert row.small_reads == SMALL_READS
    assert not (row.reads)
    assert not (row.sends)
    assert not (row.abandoned)
    assert not (row.waits_for_credit)
    assert not (row.waits_for_slot)
    assert not row.is_framed
    assert (row.partial_frame_bytes, row.reserved_bytes, row.frame_seq) == (0, 0, 0)
    assert row.read_bytes == FIRST_READ_BYTES
    assert row.look_at_s == 0.0


def test_row_without_a_socket_says_so() -> None:
    """In Python; the native plane has the descriptor, and no functions."""
    with pytest.raises(AssertionError, match="no socket"):
        PythonRow("work").send(b"x")


def test_row_is_framed_if_it_is_made_so() -> None:
    """By that name only."""
    assert Row("work", is_framed=True).is_framed
    with pytest.raises(TypeError):
        Row("work", True)  # type: ignore[misc]
    with pytest.raises(TypeError):
        Row()  # type: ignore[call-arg]


def test_every_count_and_flag_of_a_row_can_be_written(each_plane: SimpleNamespace) -> None:
    """And each is a field of its own."""
    row = Row("work")
    counts = ("in_flight_entries", "in_flight_bytes", "partial_frame_bytes", "read_bytes")
    counts += ("reserved_bytes", "frame_seq", "received_bytes", "replied_bytes", "small_reads")
    flags = ("abandoned", "waits_for_credit", "waits_for_slot", "is_framed", "reads", "sends")
    for number, name in enumerate(counts):
        setattr(row, name, 100 + number)
    row.look_at_s = 1.5
    assert [getattr(row, name) for name in counts] == list(range(100, 100 + len(counts)))
    assert row.look_at_s == 1.5
    for name in flags:
        setattr(row, name, True)
        assert [one for one in flags if getattr(row, one)] == [name]
        setattr(row, name, False)
    row.work = None
    assert row.work is None


def test_class_derived_from_a_row_has_fields_of_its_own() -> None:
    """`Lane` is one."""

    class Lane(Row):
        __slots__ = ("more",)

    lane = Lane("work", is_framed=True)
    lane.more = [lane]
    assert (lane.work, lane.is_framed, lane.more[0]) == ("work", True, lane)
    lane.more.clear()


def test_new_work_is_not_plain() -> None:
    """What `plain` is set to is the processor; a kernel is named afterwards."""
    work = Work()
    assert (work.plain, work.views_allowed, work.abandoned) == (None, False, False)
    processor = object()
    work.plain = processor
    work.use_kernel(Kernel.LINES, 4096)
    work.views_allowed = work.abandoned = True
    assert work.plain is processor
    assert (work.views_allowed, work.abandoned) == (True, True)
    work.plain = None
    assert work.plain is None


def test_native_work_forgets_its_kernel_with_its_processor(each_plane: SimpleNamespace) -> None:
    """Whoever sets `plain` names the kernel again."""
    if each_plane.name == "python":
        pytest.skip("the plane in Python has no kernels")
    work = Work()
    assert work.kernel == Kernel.NONE
    work.plain = object()
    work.use_kernel(Kernel.LEN64, 1)
    assert work.kernel == Kernel.LEN64
    work.plain = object()
    assert work.kernel == Kernel.NONE
    for wrong in (-1, 5):
        with pytest.raises(ValueError, match=f"no kernel {wrong}"):
            work.use_kernel(wrong, 0)


def test_native_plane_calls_a_function_with_bytes_until_the_processor_changes(
    each_plane: SimpleNamespace,
) -> None:
    """Without an object for the chunk; in Python the processor is called all the same."""

    class Processor:
        def process(self, chunk: memoryview) -> bytes:
            return b"processor " + bytes(chunk)

    ring = each_plane.Ring(2, 64)
    plane = each_plane.Plane(ring, 8, 1024)
    signal = each_plane.DeliverySignal(lambda: None)
    work = plain_work_class(each_plane.Work)(Processor())
    row = each_plane.Row(work)
    got: list[object] = []

    def function(data: bytes) -> bytes:
        got.append(data)
        return b"function"

    def reply() -> object:
        seq = ring.published_seq
        slot = ring.try_claim(small=True)
        slot[:3] = b"abc"
        ring.publish(row, DATA, slot, 3)
        plane.answer(seq + 1, signal, None, None)
        result = ring.result(seq)
        ring.release(1)
        return result

    work.max_reply_bytes = 100
    work.use_function(function)
    is_native = each_plane.name == "native"
    assert reply() == (b"function" if is_native else b"processor abc")
    assert got == ([b"abc"] if is_native else [])
    work.plain = Processor()
    assert reply() == b"processor abc"
