"""framed_work: frames are found, answered, and deferred beyond a share of calls."""

import gc
import weakref

import pytest

from asyncrev.errors import FrameTooLarge, ProcessorError
from asyncrev.frames.registry import as_framing
from asyncrev.ring.ring import CLOSE, DATA, EOF, RESUME, Entry, Ring
from asyncrev.work.block_pool import Pool
from asyncrev.work.framed_work import FramedWork
from asyncrev.work.framer import Framer
from asyncrev.work.lane_work import Share
from asyncrev.work.make_work import make_work
from asyncrev.work.raw_work import RawWork
from asyncrev.work.scratch import Scratch
from tests.lane_bench import Bench, Recorder, joined


def test_framed_lane_gives_its_processor_frames_and_tells_what_it_keeps() -> None:
    """The entry has what the loop must know: bytes kept, and of which frame."""
    recorder = Recorder()
    bench = Bench(lambda: recorder, framing="line")
    entry = bench.work(DATA, b"ab\ncd")
    assert entry.result == b"ab\n"
    assert (entry.partial_frame_bytes, entry.frame_seq) == (2, 1)
    assert isinstance(bench.lane_work.processor, Framer)
    entry = bench.work(DATA, b"e\nf")
    assert joined(entry) == b"cde\n"
    assert (entry.partial_frame_bytes, entry.frame_seq) == (1, 2)
    entry = bench.work(EOF)
    assert joined(entry) == b"f\nbye\n"
    assert entry.partial_frame_bytes == 0
    bench.work(CLOSE)
    assert recorder.calls == [b"ab", b"cde", b"f", "eof", "close"]
    assert bench.pool.in_use_bytes == bench.pool.lent_bytes


def test_framed_lane_leaves_replies_and_error_in_one_entry() -> None:
    """The frames before the one that failed are answered; the lane is broken."""
    bench = Bench(Recorder, framing="line")
    entry = bench.work(DATA, b"ab\n123456")
    assert entry.result == b"ab\n"
    assert type(entry.error) is FrameTooLarge
    assert entry.partial_frame_bytes == 0
    assert bench.lane_work.broken
    later = bench.work(DATA, b"x")
    assert (later.result, later.error, later.partial_frame_bytes) == (None, None, 0)
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
    assert bench.work(DATA, b"d").partial_frame_bytes == 0
    assert bench.pool.in_use_bytes
    bench.work(CLOSE)
    assert bench.pool.in_use_bytes == 0


def test_framed_lane_whose_factory_fails_keeps_nothing_as_its_entry_says() -> None:
    """What stood in the entry was another lane's, and was counted as this one's."""
    entry = Bench(object, framing="line").work(DATA, b"x")
    assert type(entry.error) is ProcessorError
    assert entry.partial_frame_bytes == 0


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


@pytest.mark.parametrize("most_calls", [1, 3, 7])
def test_framed_lane_defers_what_costs_more_than_its_share(most_calls: int) -> None:
    """Each entry says what it answered; a new share goes on with the oldest, in order."""
    recorder = Recorder()
    bench = Bench(lambda: recorder, framing="line")
    share = Share(Scratch(), most_calls)
    entry = bench.work(DATA, b"a\nb\nc\nd\n", share)
    assert entry.calls == min(most_calls, 4) == entry.nbytes // 2
    replies, answered_bytes = joined(entry), entry.nbytes
    for kind, data in ((DATA, b"e\nf\ng\nh\n"), (EOF, b"")):
        entry = bench.work(kind, data, share)
        replies, answered_bytes = replies + joined(entry), answered_bytes + entry.nbytes
    assert answered_bytes == 2 * most_calls == 2 * len(recorder.calls)
    while not entry.ended:
        assert bench.lane_work.deferred is not None
        before = len(recorder.calls)
        entry = bench.work(RESUME, share=Share(Scratch(), most_calls))
        replies, answered_bytes = replies + joined(entry), answered_bytes + entry.nbytes
        assert len(recorder.calls) <= before + most_calls
    assert replies == b"a\nb\nc\nd\ne\nf\ng\nh\nbye\n"
    assert answered_bytes == 16
    assert bench.lane_work.deferred is None


def test_make_work_makes_framed_work_for_a_framing_only() -> None:
    """What users name without a framing is raw."""
    assert type(make_work(Recorder, views_allowed=True)) is RawWork
    framing = as_framing("line")
    work = make_work(Recorder, views_allowed=True, framing=framing, max_frame_bytes=5)
    assert type(work) is FramedWork


class Longer(Recorder):
    """Answers with three bytes more."""

    def process(self, chunk: memoryview) -> bytes:  # type: ignore[override]
        """Return the chunk, and more."""
        return super().process(chunk).tobytes() + b"+++"


def test_end_behind_a_full_window_waits_for_it() -> None:
    """I21: what `eof` returns would be one reply too many, also where nothing else is deferred."""
    bench = Bench(Longer, framing="line", window_bytes=3)
    assert joined(bench.work(DATA, b"abc\n")) == b"abc+++\n"
    for kind in (EOF, RESUME, RESUME):
        entry = bench.work(kind)
        assert (entry.result, entry.ended) == (None, False)
    bench.lane_work.window.deliver(3)
    entry = bench.work(RESUME)
    assert (joined(entry), entry.ended) == (b"bye\n", True)


def test_open_last_line_and_the_last_word_are_one_reply_at_most() -> None:
    """I21: nothing comes between them that could wait for the window."""
    for most_bytes, is_error in ((9, False), (8, True)):
        work = make_work(
            Longer,
            views_allowed=False,
            framing=as_framing("line"),
            max_frame_bytes=9,
            max_reply_bytes=most_bytes,
        )
        entry = Entry(memoryview(bytearray(b"abc")))
        pool = Pool(Ring(1, 1), 4096)
        entry.nbytes = 3
        work.do(entry, None, pool)
        entry.kind, entry.nbytes = EOF, 0
        work.do(entry, None, pool)
        assert joined(entry) == (b"abc+++" if is_error else b"abc+++\nbye\n")
        assert (type(entry.error) is ProcessorError) is is_error
        work.close_processor()
