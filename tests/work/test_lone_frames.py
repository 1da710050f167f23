"""lone_frames: the short way for a chunk that is one frame does what the long one does."""

import mmap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import PeerRefused, ProcessorError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import as_framing
from asyncrev.processors import FunctionProcessor
from asyncrev.ring.ring import DATA, EOF, RESUME, Entry, Kind, Ring
from asyncrev.work.block_pool import Pool
from asyncrev.work.lane_work import LaneWork, Share
from asyncrev.work.lone_frames import MOST_BYTES
from asyncrev.work.make_work import make_work
from asyncrev.work.scratch import Scratch
from asyncrev.work.tls_parameters import StartTls
from tests.netstring import Netstring
from tests.tls_pair import server_context

MAX_FRAME_BYTES = 8
SLOT_BYTES = 2 * MOST_BYTES
FRAMINGS: list[Any] = ["line", "len32", "len64", Netstring()]
NAMES = ["line", "len32", "len64", "netstring"]


class Script:
    """Does what the first byte of a frame says; answers anything else in place."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []

    def process(self, payload: memoryview) -> Any:
        """Answer as told."""
        told = bytes(payload)
        self.calls.append(told)
        if told[:1] == b"b":
            return told[::-1]
        if told[:1] == b"l":
            return told * 3
        if told[:1] == b"n":
            return None
        if told[:1] == b"v":
            return payload[1:]
        if told[:1] == b"a":
            return bytearray(told)
        if told[:1] == b"f":
            raise ValueError(told)
        if told[:1] == b"r":
            raise PeerRefused("not you", reply=b"no")
        if told[:1] == b"e":
            return b"a\nb"
        if told[:1] == b"t":
            return "text"
        if told[:1] == b"w":
            payload[:] = bytes(len(payload))
            return payload
        return payload

    def eof(self) -> bytes:
        """Say a last word."""
        return b"bye"


class ManyScript(Script):
    """Does the same with many frames at once: prefixed ones, or lines."""

    def process_prefixed(self, frames: memoryview, runs: Any) -> bytes:
        """Answer all in capitals; the prefixes of short frames have none."""
        self.calls.append(b"many " + bytes(frames))
        return bytes(frames).upper()

    def process_lines(self, lines: memoryview) -> bytes:
        """Answer all in capitals."""
        self.calls.append(b"many " + bytes(lines))
        return bytes(lines).upper()


class Lane:
    """A framed lane's work on slots of its own, with or without the short way."""

    def __init__(
        self,
        framing: Any = "len32",
        factory: Any = Script,
        *,
        short: bool = True,
        window_bytes: int = 1 << 40,
        views_allowed: bool = True,
    ) -> None:
        self.short = short
        self.storage = mmap.mmap(-1, SLOT_BYTES)
        self.pool = Pool(Ring(1, 1), 1 << 20)
        self.grammar: Grammar = as_framing(framing)  # type: ignore[assignment]
        self.work: LaneWork = make_work(
            factory,
            views_allowed=views_allowed,
            framing=self.grammar,
            max_frame_bytes=MAX_FRAME_BYTES,
            window_bytes=window_bytes,
        )
        self.share = Share(Scratch())

    def do(self, data: bytes, kind: Kind = DATA) -> Entry:
        """Have it work on one chunk."""
        entry = Entry(memoryview(self.storage))
        entry.partial_frame_bytes = entry.frame_seq = 77  # of the lane that used this entry before
        entry.calls = entry.surplus_bytes = 0
        entry.view[: len(data)] = data
        entry.owner, entry.kind, entry.nbytes = self, kind, len(data)
        if not self.short:
            self.work.plain = None
        self.work.do(entry, self.storage, self.pool, self.share)
        return entry

    def frame(self, payload: bytes) -> bytes:
        """Return a frame."""
        return self.grammar.encode(payload)

    def frame_or_not(self, payload: bytes) -> bytes:
        """Return a frame, or several, if the payload has what separates them."""
        try:
            return self.frame(payload)
        except ProcessorError:
            return payload

    @property
    def is_plain(self) -> bool:
        """Whether the next chunk may take the short way."""
        return self.work.plain is not None


def seen(entry: Entry) -> Any:
    """What the loop sees of an entry, but for how many bytes lie in a slot that is used again."""
    result: Any = entry.result
    pieces = result if type(result) is tuple else (result or b"",)
    error = entry.error
    return (
        b"".join(map(bytes, pieces)),
        type(error),
        str(error),
        entry.partial_frame_bytes,
        None if error is not None else entry.frame_seq,
        entry.surplus_bytes,
        None if error is not None else entry.nbytes,  # nothing follows an error
    )


payloads = st.one_of(
    st.binary(max_size=MAX_FRAME_BYTES + 1),
    st.builds(
        bytes.__add__, st.sampled_from([bytes([c]) for c in b"blnvafretw"]), st.binary(max_size=4)
    ),
)


@pytest.mark.parametrize("framing", FRAMINGS, ids=NAMES)
@given(data=st.data())
def test_short_way_and_long_way_cannot_be_told_apart(framing: Any, data: st.DataObject) -> None:
    """Any frames, split and joined in any way, with a reply window that may be full."""
    window_bytes = data.draw(st.sampled_from([1, 20, 1 << 40]))
    views_allowed = data.draw(st.booleans())
    factory = data.draw(st.sampled_from([Script, ManyScript]))
    lanes = [
        Lane(framing, factory, short=short, window_bytes=window_bytes, views_allowed=views_allowed)
        for short in (True, False)
    ]
    for _ in range(data.draw(st.integers(1, 8))):
        stream = b"".join(
            lanes[0].frame_or_not(p) for p in data.draw(st.lists(payloads, max_size=3))
        )
        cut = data.draw(st.just(0) | st.integers(0, len(stream)))  # often whole frames
        for chunk in filter(None, (stream[:cut], stream[cut:])):
            first, second = (lane.do(chunk) for lane in lanes)
            assert seen(first) == seen(second)
        if data.draw(st.booleans()):
            for lane in lanes:
                lane.work.window.deliver(lane.work.window.produced_bytes)
            first, second = (lane.do(b"", RESUME) for lane in lanes)
            assert seen(first) == seen(second)
    first, second = (lane.do(b"", EOF) for lane in lanes)
    assert seen(first) == seen(second)
    calls = [lane.work.processor._processor.calls if lane.work.processor else [] for lane in lanes]  # type: ignore[attr-defined]
    assert calls[0] == calls[1]


@pytest.mark.parametrize("framing", FRAMINGS, ids=NAMES)
def test_idle_lane_takes_the_short_way_for_one_frame_only(framing: Any) -> None:
    """From its second chunk on; not for two frames, a part of one, a long or a forbidden one."""
    lane = Lane(framing)
    assert not lane.is_plain
    assert lane.do(lane.frame(b"x")).error is None
    assert lane.is_plain
    process = lane.work.plain.process
    chunk = bytearray(lane.frame(b"babc"))
    assert bytes(process(memoryview(chunk))) == lane.frame(b"cbab")
    for other in (
        lane.frame(b"x") * 2,
        lane.frame(b"x") + lane.frame(b"y")[:1],
        lane.frame(b"xyz")[:-1],
        lane.frame(b"x" * (MAX_FRAME_BYTES + 1)),
        lane.frame(b"x") * MOST_BYTES,
        b"",
    ):
        assert process(memoryview(bytearray(other))) is NotImplemented


def test_part_of_a_frame_and_a_full_window_end_the_short_way() -> None:
    """Until the frame is whole, and the replies have been delivered."""
    lane = Lane(window_bytes=4)
    lane.do(lane.frame(b"x"))
    assert lane.is_plain
    lane.do(lane.frame(b"x")[:3])
    assert not lane.is_plain
    lane.do(lane.frame(b"x")[3:])
    assert lane.is_plain
    longer = lane.do(lane.frame(b"lx"))
    assert (bytes(longer.result), longer.surplus_bytes) == (lane.frame(b"lxlxlx"), 4)  # type: ignore[arg-type]
    assert not lane.is_plain
    deferred = lane.do(lane.frame(b"x"))
    assert (deferred.result, deferred.nbytes) == (None, 0)
    lane.work.window.deliver(4)
    assert bytes(lane.do(b"", RESUME).result) == lane.frame(b"x")  # type: ignore[arg-type]
    assert lane.is_plain
    new = Lane(window_bytes=4)
    new.do(new.frame(b"lx"))  # by the long way, as its first
    assert not new.is_plain


def test_several_frames_at_once_end_the_short_way() -> None:
    """Until one comes alone: each chunk would be scanned twice."""
    lane = Lane()
    for frames, is_plain in ((1, True), (2, False), (1, True), (3, False), (2, False)):
        lane.do(lane.frame(b"x") * frames)
        assert lane.is_plain is is_plain


def test_share_counts_frames_of_the_short_way() -> None:
    """I20: beyond it, input is deferred; the next batch brings a new share."""
    lane = Lane()
    lane.share = Share(Scratch(), most_calls=3)
    for _ in range(3):
        assert lane.do(lane.frame(b"x")).result is not None
    late = lane.do(lane.frame(b"x"))
    assert (late.result, late.nbytes) == (None, 0)
    lane.share = Share(Scratch(), most_calls=3)
    assert bytes(lane.do(b"", RESUME).result) == lane.frame(b"x")  # type: ignore[arg-type]


def test_taps_see_each_chunk_so_they_have_no_short_way() -> None:
    """As those of a tee."""

    class Tapped(Script):
        def __init__(self) -> None:
            super().__init__()
            self.chunks: list[bytes] = []

        def see_chunk(self, chunk: memoryview) -> None:
            self.chunks.append(bytes(chunk))

    made: list[Tapped] = []

    def factory() -> Tapped:
        made.append(Tapped())
        return made[-1]

    lane = Lane(factory=factory)
    for _ in range(2):
        lane.do(lane.frame(b"x"))
        assert not lane.is_plain
    assert made[0].chunks == [lane.frame(b"x")] * 2


def test_function_gets_payloads_as_bytes() -> None:
    """As by the long way."""
    got: list[Any] = []

    def function(data: bytes) -> bytes:
        got.append(data)
        return data.upper()

    lane = Lane(factory=lambda: FunctionProcessor(function))
    for _ in range(2):
        assert bytes(lane.do(lane.frame(b"ab")).result) == lane.frame(b"AB")  # type: ignore[arg-type]
    assert got == [b"ab", b"ab"]
    assert {type(one) for one in got} == {bytes}


def test_request_for_tls_that_was_not_declared_is_the_processors_error() -> None:
    """In the same words; a lane whose processor may ask has no short way."""

    class Asks(Script):
        def process(self, payload: memoryview) -> Any:
            if payload == b"tls":
                return StartTls(server_context(), b"go")
            return super().process(payload)

    for short in (True, False):
        lane = Lane(factory=Asks, short=short)
        lane.do(lane.frame(b"x"))
        assert lane.is_plain
        failed = lane.do(lane.frame(b"tls"))
        assert type(failed.error) is ProcessorError
        assert "may_start_tls" in str(failed.error)
    declared = Lane(factory=Asks)
    declared.work.may_start_tls = True
    declared.do(declared.frame(b"x"))
    assert not declared.is_plain
