"""lane_work: one entry's work, and everything that a processor may do to it."""

import gc
import mmap
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from asyncrev.bridge.inline import InlineWork
from asyncrev.errors import FrameTooLarge, ProcessorError
from asyncrev.frames.registry import as_framing
from asyncrev.ring.ring import CLOSE, DATA, EOF, Entry, Kind, Ring
from asyncrev.work.block_pool import Pool
from asyncrev.work.framed_work import make_work
from asyncrev.work.framer import Framer
from asyncrev.work.reverse import Reverse


class Recorder:
    """A processor that notes its calls and answers with what it was given."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def process(self, chunk: memoryview) -> memoryview:
        """Answer with the chunk."""
        self.calls.append(bytes(chunk))
        return chunk

    def eof(self) -> bytes:
        """Answer with a last word."""
        self.calls.append("eof")
        return b"bye"

    def close(self) -> None:
        """Note it."""
        self.calls.append("close")


class Bench:
    """A lane with one slot of memory."""

    def __init__(
        self, factory: Callable[[], Any], *, views_allowed: bool = True, framing: str = "raw"
    ) -> None:
        self.storage = mmap.mmap(-1, 16)
        self.pool = Pool(Ring(1, 1), 4096)
        self.lane_work = make_work(
            factory,
            views_allowed=views_allowed,
            framing=as_framing(framing),
            max_frame_bytes=5,
        )

    def work(self, kind: Kind, data: bytes = b"") -> Entry:
        """Have the lane work on one entry."""
        entry = Entry(memoryview(self.storage))
        entry.carry_bytes = entry.frame_seq = 77  # of the lane that used this entry before
        entry.view[: len(data)] = data
        entry.owner, entry.kind, entry.nbytes = self, kind, len(data)
        self.lane_work.do(entry, self.storage, self.pool)
        return entry


def joined(entry: Entry) -> bytes:
    """Return the whole result, however many pieces it is in."""
    return b"".join(entry.result) if isinstance(entry.result, tuple) else bytes(entry.result or b"")


def test_work_calls_the_processor_in_order_and_keeps_its_replies() -> None:
    """Data as it came, cut to what was filled; one last reply; one close."""
    recorder = Recorder()
    bench = Bench(lambda: recorder)
    entry = bench.work(DATA, b"abc")
    assert isinstance(entry.result, memoryview)
    assert entry.result == b"abc"
    assert bench.work(EOF).result == b"bye"
    assert bench.work(CLOSE).result is None
    assert recorder.calls == [b"abc", "eof", "close"]
    assert bench.lane_work.processor is None


def test_work_makes_the_processor_once_and_on_first_use() -> None:
    """A connection that sends nothing costs none; the end of input counts as use."""
    made: list[Recorder] = []
    bench = Bench(lambda: made.append(Recorder()) or made[-1])
    assert not made
    assert bench.work(EOF).result == b"bye"
    bench.work(DATA, b"x")
    assert len(made) == 1


def test_work_without_leave_to_keep_views_gives_bytes() -> None:
    """Transports that keep what they are given get something that stays."""
    assert type(Bench(Recorder, views_allowed=False).work(DATA, b"abc").result) is bytes


RAISED = [ValueError, SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit]


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("where", ["factory", "process", "eof"])
def test_what_a_processor_raises_breaks_its_lane_and_is_kept(
    where: str, raised: type[BaseException]
) -> None:
    """Nothing comes out of `work`; later entries are passed over; close still comes."""

    def fail(*_: Any) -> Any:
        raise raised(where)

    recorder = Recorder()
    if where != "factory":
        setattr(recorder, where, fail)
    bench = Bench(fail if where == "factory" else lambda: recorder)
    entry = bench.work(EOF if where == "eof" else DATA, b"x")
    assert type(entry.error) is raised
    assert entry.result is None
    assert bench.lane_work.broken
    for kind in (DATA, EOF):
        later = bench.work(kind, b"y")
        assert (later.result, later.error) == (None, None)
    bench.work(CLOSE)
    assert recorder.calls == ([] if where == "factory" else ["close"])


@pytest.mark.parametrize("result", ["text", 3, [1]])
def test_wrong_result_breaks_the_lane(result: Any) -> None:
    """It is the processor's error, like an exception."""
    recorder = Recorder()
    recorder.process = lambda _: result  # type: ignore[method-assign]
    bench = Bench(lambda: recorder)
    assert type(bench.work(DATA, b"x").error) is ProcessorError
    assert bench.lane_work.broken


def test_factory_of_something_else_breaks_the_lane() -> None:
    """It is told which type came."""
    error = Bench(object).work(DATA, b"x").error
    assert type(error) is ProcessorError
    assert "an object of type object, which lacks" in str(error)


def test_abandoned_lane_gets_no_more_calls_but_close() -> None:
    """Nobody waits for its replies."""
    recorder = Recorder()
    bench = Bench(lambda: recorder)
    bench.work(DATA, b"a")
    bench.lane_work.abandoned = True
    assert bench.work(DATA, b"b").result is None
    assert bench.work(EOF).result is None
    bench.work(CLOSE)
    assert recorder.calls == [b"a", "close"]


def test_close_without_a_hook_or_a_processor_does_nothing() -> None:
    """`close` is optional, and a lane may never have had a processor."""

    class Plain:
        def process(self, chunk: memoryview) -> None: ...

        def eof(self) -> None: ...

    bench = Bench(Plain)
    assert bench.work(CLOSE).error is None
    bench.work(DATA, b"x")
    assert bench.work(CLOSE).error is None


def test_close_that_raises_leaves_its_error() -> None:
    """The processor is let go all the same."""

    def fail() -> None:
        raise ValueError("close")

    recorder = Recorder()
    recorder.close = fail  # type: ignore[method-assign]
    bench = Bench(lambda: recorder)
    bench.work(DATA, b"x")
    assert type(bench.work(CLOSE).error) is ValueError
    assert bench.lane_work.processor is None


# -- with frames -------------------------------------------------------------------------------


def test_framed_lane_gives_its_processor_frames_and_tells_what_it_keeps() -> None:
    """The entry has what the loop must know: bytes kept, and of which frame."""
    recorder = Recorder()
    bench = Bench(lambda: recorder, framing="line")
    entry = bench.work(DATA, b"ab\ncd")
    assert entry.result == b"ab\n"
    assert (entry.carry_bytes, entry.frame_seq) == (2, 1)
    assert isinstance(bench.lane_work.processor, Framer)
    entry = bench.work(DATA, b"e\nf")
    assert joined(entry) == b"cde\n"
    assert (entry.carry_bytes, entry.frame_seq) == (1, 2)
    entry = bench.work(EOF)
    assert joined(entry) == b"f\nbye\n"
    assert entry.carry_bytes == 0
    bench.work(CLOSE)
    assert recorder.calls == [b"ab", b"cde", b"f", "eof", "close"]
    assert bench.pool.in_use_bytes == bench.pool.lent_bytes


def test_framed_lane_leaves_replies_and_error_in_one_entry() -> None:
    """The frames before the one that failed are answered; the lane is broken."""
    bench = Bench(Recorder, framing="line")
    entry = bench.work(DATA, b"ab\n123456")
    assert entry.result == b"ab\n"
    assert type(entry.error) is FrameTooLarge
    assert entry.carry_bytes == 0
    assert bench.lane_work.broken
    later = bench.work(DATA, b"x")
    assert (later.result, later.error, later.carry_bytes) == (None, None, 0)
    assert bench.pool.in_use_bytes == 0


def test_framed_lane_without_leave_to_keep_views_gives_bytes() -> None:
    """In one piece."""
    bench = Bench(Recorder, views_allowed=False, framing="len32")
    bench.work(DATA, b"\0\0")
    entry = bench.work(DATA, b"\0\1a")
    assert entry.result == b"\0\0\0\1a"
    assert type(entry.result) is bytes


def test_close_of_a_framed_lane_gives_its_block_back() -> None:
    """Abandoned or not, and whatever the processor's own close does."""
    bench = Bench(Recorder, framing="line")
    bench.work(DATA, b"abc")
    assert bench.pool.in_use_bytes
    bench.lane_work.abandoned = True
    assert bench.work(DATA, b"d").carry_bytes == 0
    assert bench.pool.in_use_bytes
    bench.work(CLOSE)
    assert bench.pool.in_use_bytes == 0


def test_framed_lane_whose_factory_fails_keeps_nothing_as_its_entry_says() -> None:
    """What stood in the entry was another lane's, and was counted as this one's."""
    entry = Bench(object, framing="line").work(DATA, b"x")
    assert type(entry.error) is ProcessorError
    assert entry.carry_bytes == 0


def test_failed_framed_lane_keeps_no_error() -> None:
    """Its traceback names the framer, so both would stay until the garbage is collected.

    The text of an error may hold a whole frame: peers filled memory with them.
    """

    class Refusal(Exception):
        """What the processor raises."""

    class Refusing(Recorder):
        def process(self, chunk: memoryview) -> memoryview:
            raise Refusal(bytes(chunk))

    bench = Bench(Refusing, framing="len32")
    gc.disable()
    try:
        entry = bench.work(DATA, b"\0\0\0\1a")
        assert type(entry.error) is Refusal
        gone = weakref.ref(entry.error)
        entry.error = None
        assert gone() is None
    finally:
        gc.enable()


# -- inline ------------------------------------------------------------------------------------


@pytest.mark.parametrize("views_allowed", [True, False])
def test_work_inline_uses_one_processor_of_its_own(views_allowed: bool) -> None:
    """Made once, on first use, and another than the worker's; a view only where that is allowed."""
    made: list[Recorder] = []

    def factory() -> Recorder:
        made.append(Recorder())
        return made[-1]

    bench = Bench(factory, views_allowed=views_allowed)
    view = memoryview(bench.storage)
    view[:3] = b"abc"
    inline = InlineWork(bench.lane_work)
    for _ in range(2):
        reply = inline.answer(view[:3], bench.storage)
        assert reply == b"abc"
        assert type(reply) is (memoryview if views_allowed else bytes)
    bench.work(DATA, b"abc")
    assert [recorder.calls for recorder in made] == [[b"abc", b"abc"], [b"abc"]]


def test_work_inline_passes_bytes_and_errors_on() -> None:
    """What comes of an error is the bridge's business."""
    assert InlineWork(Bench(Reverse).lane_work).answer(memoryview(b"abc"), None) == b"cba"

    class Failing(Reverse):
        def process(self, chunk: memoryview) -> bytes:
            raise ValueError("deliberate")

    with pytest.raises(ValueError, match="deliberate"):
        InlineWork(Bench(Failing).lane_work).answer(memoryview(b"abc"), None)
