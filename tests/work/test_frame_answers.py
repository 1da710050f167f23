"""frame_answers: whole frames are answered, one by one or many at once, in frames."""

from typing import Any

import pytest

from asyncrev import Bridge, Limits
from asyncrev.errors import ProcessorError
from asyncrev.frames.registry import as_framing
from asyncrev.work.frame_answers import FrameAnswers, Pieces
from tests.framed import (
    NAMES,
    Answering,
    Bench,
    Hooked,
    Inverting,
    Longer,
    Raising,
    Reversing,
    Silent,
    framed,
)
from tests.sinks import RecordingSink
from tests.support import until

every_framing = pytest.mark.parametrize("name", NAMES)
views_or_not = pytest.mark.parametrize("views_allowed", [True, False], ids=["views", "bytes"])


@every_framing
@views_or_not
@pytest.mark.parametrize("failing", range(5))
def test_processor_that_raises_at_a_frame_has_answered_those_before(
    name: str, views_allowed: bool, failing: int
) -> None:
    """At every split: k replies, its own exception, no block."""
    payloads = [b"aa", b"bbb", b"", b"c", b"dd"]
    payloads[failing] += b"!"
    data = b"".join(framed(name, payload) for payload in payloads)
    before = b"".join(framed(name, payload) for payload in payloads[:failing])
    for at in range(1, len(data)):
        bench = Bench(name, Raising(), views_allowed=views_allowed)
        assert bench.feed(data[:at], data[at:]) == before
        assert type(bench.error) is ValueError
        assert bench.framer.partial_frame_bytes == 0
        assert bench.pool.in_use_bytes == bench.pool.lent_bytes
        bench.close()


class TwoLines(Answering):
    """Answers a payload with "!" in it by two lines."""

    def process(self, payload: memoryview) -> bytes | memoryview:
        """Return a copy with a line end for each "!"."""
        return self.answer(bytes(payload))

    @staticmethod
    def answer(payload: bytes) -> bytes:
        """Say the same."""
        return payload.replace(b"!", b"\n")


class TwoLinesInPlace(TwoLines):
    """Does it in the memory of the payload."""

    def process(self, payload: memoryview) -> bytes | memoryview:
        """Return `payload`."""
        payload[:] = self.answer(bytes(payload))
        return payload


@views_or_not
@pytest.mark.parametrize("kind", [TwoLines, TwoLinesInPlace])
@pytest.mark.parametrize("failing", range(5))
@pytest.mark.parametrize("ends", [True, False], ids=["ended", "unended"])
def test_reply_of_two_lines_is_an_error_that_leaves_those_before(
    kind: Any, views_allowed: bool, failing: int, ends: bool
) -> None:
    """It would be taken for the reply to the next line, and so on. At every split."""
    payloads = [b"aa", b"bbb", b"", b"c", b"dd"]
    payloads[failing] += b"!"
    data = b"".join(framed("line", payload) for payload in payloads)
    if not ends:
        data = data.removesuffix(b"\n")
    before = b"".join(framed("line", payload) for payload in payloads[:failing])
    for at in range(1, len(data)):
        bench = Bench("line", kind(), views_allowed=views_allowed)
        bench.feed(data[:at], data[at:])
        assert bench.end() == before
        assert type(bench.error) is ProcessorError
        assert "a reply to one line contains a line end" in str(bench.error)


def test_reply_with_line_ends_is_a_reply_like_any_behind_a_prefix() -> None:
    """There is nothing that it could be taken for."""
    bench = Bench("len32", TwoLinesInPlace())
    assert bench.feed(framed("len32", b"a!b")) == framed("len32", b"a\nb")
    assert bench.error is None
    bench.close()


def test_last_word_of_two_lines_is_an_error() -> None:
    """It is one frame, like any reply."""
    processor = TwoLines()
    processor.last_word = b"a\nb"
    bench = Bench("line", processor)
    assert bench.feed(b"x\n") == b"x\n"
    assert bench.end() == b"x\n"
    assert type(bench.error) is ProcessorError


class Splitting(Hooked):
    """Answers a chunk of lines with a line end for each "!", and drops lines with "-"."""

    in_place = False

    def process_lines(self, lines: memoryview) -> Any:
        """Do it."""
        answer = b"".join(
            line.replace(b"!", b"\n") for line in bytes(lines).splitlines(True) if b"-" not in line
        )
        if not self.in_place:
            return answer
        lines[: len(answer)] = answer
        return lines[: len(answer)]


@views_or_not
@pytest.mark.parametrize("in_place", [True, False])
def test_hook_that_answers_with_more_lines_than_it_got_is_an_error(
    in_place: bool, views_allowed: bool
) -> None:
    """None of that chunk is answered, as if it had raised; fewer lines are fine."""
    processor = Splitting()
    processor.in_place = in_place
    bench = Bench("line", processor, views_allowed=views_allowed)
    assert bench.feed(b"a\nb-\nc\n", b"-\n") == b"a\nc\n"
    assert bench.error is None
    assert bench.feed(b"a\n-\nb!\n") == b"a\nc\na\nb\n\n"  # as many as it got
    assert bench.error is None
    assert bench.feed(b"d\n", b"a\nb!\n") == b"a\nc\na\nb\n\nd\n"
    assert type(bench.error) is ProcessorError
    assert "process_lines answered 2 lines with 3" in str(bench.error)
    bench.close()


def test_hook_that_says_that_it_keeps_line_ends_is_believed() -> None:
    """Counting them takes as long as the work of a short line; ours is tested for it."""

    class Believed(Splitting):
        keeps_line_ends = True

    bench = Bench("line", Believed())
    assert bench.feed(b"b!\n") == b"b\n\n"
    assert bench.error is None
    bench.close()
    assert Reversing.keeps_line_ends


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit])
@every_framing
def test_processor_that_raises_what_is_no_exception_fails_likewise(
    name: str, raised: type[BaseException]
) -> None:
    """Where it lies, in a block, and at the end of input."""

    class Exiting(Inverting):
        def process(self, payload: memoryview) -> memoryview:
            if payload == b"exit":
                raise raised("now")
            return super().process(payload)

        def eof(self) -> None:
            raise raised("at the end")

    data = framed(name, b"a") + framed(name, b"exit")
    for chunks in ([data], [data[:-2], data[-2:]]):
        bench = Bench(name, Exiting())
        assert bench.feed(*chunks) == framed(name, Inverting.answer(b"a"))
        assert type(bench.error) is raised
        bench.close()
    bench = Bench(name, Exiting())
    assert bench.feed(framed(name, b"a")) == bench.end()
    assert type(bench.error) is raised
    assert str(bench.error) == "at the end"


def test_processor_that_raises_at_the_last_line_gives_its_block_back() -> None:
    """And is not asked for a last word."""
    bench = Bench("line", Raising())
    bench.feed(b"a\nb!")
    assert bench.end() == b"a\n"
    assert type(bench.error) is ValueError


@every_framing
@pytest.mark.parametrize("wrong", ["text", 7, [b"x"]], ids=repr)
def test_reply_that_is_no_buffer_is_an_error(name: str, wrong: Any) -> None:
    """Of a hook, of a processor, where it lies and in a block."""

    class Wrong(Answering):
        def process(self, payload: memoryview) -> Any:
            return wrong

    class WrongHooks(Wrong):
        def process_lines(self, lines: memoryview) -> Any:
            return wrong

        def process_prefixed(self, frames: memoryview, runs: Any, prefix_bytes: int) -> Any:
            return wrong

    data = framed(name, b"abc")
    for kind in (Wrong, WrongHooks):
        for chunks in ([data], [data[:-1], data[-1:]]):
            bench = Bench(name, kind())
            assert bench.feed(*chunks) == b""
            assert type(bench.error) is ProcessorError
            bench.close()


@every_framing
@pytest.mark.parametrize("hook", ["process_lines", "process_prefixed"])
def test_hook_is_used_for_its_own_framing_only(name: str, hook: str) -> None:
    """A processor with one of the two is asked frame by frame in the other framings."""
    processor: Any = Longer()
    setattr(processor, hook, lambda *_: b"hook")
    bench = Bench(name, processor)
    is_its_own = (hook == "process_lines") == (name == "line")
    wanted = b"hook" if is_its_own else framed(name, b"aaa!")
    assert bench.feed(framed(name, b"a")) == wanted
    bench.close()


@every_framing
@pytest.mark.parametrize("reply", [None, b"", memoryview(b"")], ids=["None", "bytes", "view"])
def test_hook_that_returns_nothing_has_nothing_sent(name: str, reply: Any) -> None:
    """Whole frames and such as span chunks; the blocks of those come back."""
    processor: Any = Silent()
    processor.process_lines = processor.process_prefixed = lambda *_: reply
    data = framed(name, b"abc") * 2
    bench = Bench(name, processor)
    assert bench.feed(data, data[:3], data[3:]) == b""
    assert bench.error is None
    assert bench.pool.leases == 1
    bench.close()


@every_framing
def test_hook_that_raises_leaves_the_earlier_chunks_answered(name: str) -> None:
    """It answers a chunk as one, so nothing of that chunk is."""

    class Once(Hooked):
        calls = 0

        def process_lines(self, lines: memoryview) -> bytearray:
            self.calls += 1
            if self.calls == 3:
                raise ZeroDivisionError
            return super().process_lines(lines)

        def process_prefixed(self, frames: memoryview, runs: Any, prefix_bytes: int) -> bytes:
            self.process_lines(frames)
            return super().process_prefixed(frames, runs, prefix_bytes)

    frame = framed(name, b"abc")
    answered = framed(name, b"ABC") * 4
    for last in ([frame * 2], [frame[:2], frame[2:]]):
        bench = Bench(name, Once())
        assert bench.feed(frame * 2, frame * 2, *last) == answered
        assert type(bench.error) is ZeroDivisionError
        assert bench.pool.in_use_bytes == 0
        bench.close()


BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["epoll", "asyncio"])
KIB = 1024
EMPTY_LINES = Limits(slots=8, slot_bytes=64 * KIB, in_flight_bytes=64 * KIB)


class Long:
    """Answers a frame with 400 bytes, or with itself if it begins with "s"; or many at once."""

    def process(self, payload: memoryview) -> bytes:
        """Return it."""
        return bytes(payload) if payload[:1] == b"s" else b"r" * 400

    def process_lines(self, lines: memoryview) -> bytes:
        """Return them."""
        return b"".join(
            framed("line", self.process(memoryview(line))) for line in bytes(lines).splitlines()
        )

    def process_prefixed(self, frames: memoryview, runs: Any, prefix_bytes: int) -> bytes:
        """Return them."""
        name = f"len{8 * prefix_bytes}"
        return b"".join(
            framed(name, self.process(frames[off : off + payload_bytes]))
            for start_off, payload_bytes, count in runs
            for off in range(
                start_off,
                start_off + count * (payload_bytes + prefix_bytes),
                payload_bytes + prefix_bytes,
            )
        )

    def eof(self) -> None:
        """Add nothing."""


@BOTH_LOOPS
@pytest.mark.parametrize("name", NAMES)
async def test_many_replies_of_a_hook_are_not_taken_for_one_that_is_too_long(name: str) -> None:
    """It gets less at once then; how many frames came in a chunk ends no connection."""
    data = framed(name, b"y") * 3000
    async with Bridge(EMPTY_LINES) as bridge:
        sink = RecordingSink(bridge, Long, framing=name)
        sink.lane.small_reads = 0
        sink.send(data)
        sink.end()
        await until(lambda: sink.is_over, "it is answered")
        assert not sink.errors
        assert sink.received == framed(name, b"r" * 400) * 3000


@BOTH_LOOPS
@pytest.mark.parametrize("name", NAMES)
async def test_hook_gets_much_at_once_again_after_long_replies(name: str) -> None:
    """Else each later frame would cost a call of its own."""
    async with Bridge(EMPTY_LINES) as bridge:
        sink = RecordingSink(bridge, Long, framing=name, views_allowed=True)
        sink.send(framed(name, b"y"))
        await until(lambda: sink.received, "it is answered")
        data = framed(name, b"s") * 1000
        sink.send(data)
        sink.end()
        await until(lambda: sink.is_over, "the others are, too")
        assert sink.received == framed(name, b"r" * 400) + data
        assert sum(sink.pieces) < 15


# -- by itself -----------------------------------------------------------------------------------


def answers_of(processor: Any, name: str = "line", max_reply_bytes: int = 0) -> FrameAnswers:
    """Return what answers frames of a framing."""
    grammar = as_framing(name)
    assert grammar is not None
    return FrameAnswers(grammar, processor, max_frame_bytes=100, max_reply_bytes=max_reply_bytes)


def test_frames_one_by_one_stop_at_the_most_calls_and_at_the_most_reply_bytes() -> None:
    """It says how many bytes were answered, and counts calls and bytes for its owner."""
    frames = memoryview(bytearray(b"ab\ncd\nef\ngh\n"))
    answers = answers_of(Longer())
    assert not answers.takes_many
    pieces: Pieces = []
    assert answers.work(frames, (), pieces, 2, 1 << 20) == 6
    assert (answers.calls, answers.answered_bytes) == (2, 6)
    first = len(pieces[0])
    assert answers.work(frames[6:], (), pieces, 100, 1) == 3
    assert (answers.calls, answers.answered_bytes) == (3, 9)
    assert len(pieces) == 2
    assert b"".join(pieces)[:first] == pieces[0]


def test_frames_answered_where_they_lie_are_one_view() -> None:
    """No byte is copied for them, and many are one piece."""
    memory = bytearray(b"ab\ncd\nef\n")
    pieces: Pieces = []
    assert answers_of(Inverting()).work(memoryview(memory), (), pieces, 100, 1 << 20) == 9
    (piece,) = pieces
    assert isinstance(piece, memoryview)
    assert piece.obj is memory
    assert bytes(piece) == b"".join(
        framed("line", Inverting.answer(payload)) for payload in (b"ab", b"cd", b"ef")
    )


def test_method_for_many_frames_gets_less_at_once_while_its_replies_are_longer() -> None:
    """And more again, up to twice as much each time, while they fit."""

    class Many(Longer):
        times = 50

        def process_lines(self, lines: memoryview) -> bytes:
            return bytes(lines[:-1]) * self.times + b"\n"

    answers = answers_of(Many())
    assert answers.takes_many
    first_bytes = answers.at_once_bytes
    frames = memoryview(bytearray(b"x" * 99 + b"\n"))
    for _ in range(5):
        assert answers.work(frames, (), [], 100, 1 << 20) == 100
    few_bytes = answers.at_once_bytes
    Many.times = 1
    for times in (2, 4, 8):
        answers.work(frames, (), [], 100, 1 << 20)
        assert answers.at_once_bytes == times * few_bytes
    assert 0 < first_bytes < answers.at_once_bytes


def test_last_word_is_framed_or_nothing() -> None:
    """A processor that says nothing adds no empty frame."""
    assert answers_of(Inverting()).last_word() == b""
    processor = Inverting()
    processor.last_word = b"bye"
    assert answers_of(processor).last_word() == b"bye\n"
    assert answers_of(processor, "len32").last_word() == b"\0\0\0\3bye"
