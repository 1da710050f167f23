"""pending_work: requests are found as room allows, and replies given out as the window does."""

from typing import Any

import pytest

from asyncrev.errors import FrameTooLarge, PeerRefused, ProcessorError
from asyncrev.frames.registry import as_framing
from asyncrev.later_processors import LaterFactory
from asyncrev.ring.ring import DATA, EOF, RESUME, Entry, Kind, Ring
from asyncrev.work.block_pool import Pool
from asyncrev.work.lane_work import UNBOUNDED_SHARE
from asyncrev.work.make_work import make_work
from asyncrev.work.pending_work import PendingWork
from asyncrev.work.request_frames import Collector
from asyncrev.work.requests import Requests


class Lane:
    """A lane's work, whose entries and answers a test makes."""

    def __init__(self, framing: str = "line", most: int = 4, **settings: Any) -> None:
        self.requests = Requests(most, 10_000)
        ring = Ring(2, 256)
        self.pool = Pool(ring, 1 << 16)
        self.entry = Entry(memoryview(bytearray(256)))
        work = make_work(
            LaterFactory("a test", replies_fit=False),
            views_allowed=True,
            framing=as_framing(framing),
            max_frame_bytes=100,
            collector=Collector(self.requests, calls_connected=False, calls_eof=True),
            **settings,
        )
        assert isinstance(work, PendingWork)
        self.work = work

    def do(self, kind: Kind, data: bytes = b"") -> Entry:
        entry = self.entry
        entry.kind, entry.nbytes = kind, len(data)
        entry.view[: len(data)] = data
        entry.result = entry.error = None
        entry.surplus_bytes = 0
        self.work.do(entry, None, self.pool, UNBOUNDED_SHARE)
        assert entry.kind is not DATA, "the loop has to look at it"
        return entry

    def answer(self, *replies: bytes | BaseException | None) -> None:
        for reply in replies:
            request = self.requests.made.popleft()
            if isinstance(reply, BaseException):
                request.error = reply
            else:
                request.reply = reply
            self.requests.returned.append(request)


def test_input_beyond_the_room_is_deferred_and_found_as_replies_are_given() -> None:
    """Each entry says how much input it has used."""
    lane = Lane(most=2)
    entry = lane.do(DATA, b"a\nb\nc\nd\n")
    assert (entry.nbytes, entry.result, entry.ended) == (4, None, False)
    assert len(lane.requests.made) == 2
    assert lane.work.holds_input
    assert entry.partial_frame_bytes == 4  # what is pending is held
    lane.answer(b"A")
    entry = lane.do(RESUME)
    assert (entry.nbytes, entry.result) == (2, b"A\n")
    lane.answer(b"B", b"C")
    entry = lane.do(RESUME)
    assert (entry.nbytes, entry.result) == (2, b"B\nC\n")
    lane.answer(b"D")
    assert lane.do(RESUME).result == b"D\n"
    assert not lane.work.holds_input


@pytest.mark.parametrize("framing", ["line", "raw"])
def test_end_of_input_is_the_end_when_all_replies_are_given(framing: str) -> None:
    """`eof` is a request, too."""
    lane = Lane(framing)
    lane.do(DATA, b"a\n")
    assert not lane.do(EOF).ended
    lane.answer(b"A")
    entry = lane.do(RESUME)
    assert (entry.result, entry.ended) == ((b"A\n" if framing == "line" else b"A"), False)
    lane.answer(None)
    entry = lane.do(RESUME)
    assert (entry.result, entry.ended) == (None, True)


def test_raw_chunks_wait_for_room_and_keep_the_end_behind_them() -> None:
    """Deferred chunks are joined, as the network might have done."""
    lane = Lane("raw", most=1)
    assert lane.do(DATA, b"a").nbytes == 1
    assert lane.do(DATA, b"b").nbytes == 0
    assert lane.do(DATA, b"c").nbytes == 0
    assert not lane.do(EOF).ended
    lane.answer(b"A")
    entry = lane.do(RESUME)
    assert (entry.result, entry.nbytes) == (b"A", 2)
    assert lane.requests.made[0].payload == b"bc"
    lane.answer(b"BC")
    assert lane.do(RESUME).result == b"BC"
    lane.answer(b"bye")
    entry = lane.do(RESUME)
    assert (entry.result, entry.ended) == (b"bye", True)


def test_bad_input_waits_for_the_replies_before_it() -> None:
    """And what comes behind it is dropped."""
    lane = Lane("len32")
    good = b"\0\0\0\1a"
    entry = lane.do(DATA, good + b"\0\0\xff\xff")
    assert (entry.error, entry.nbytes) == (None, 9)
    entry = lane.do(DATA, good)
    assert (entry.error, entry.nbytes) == (None, 5)
    assert len(lane.requests.made) == 1
    lane.answer(b"A")
    entry = lane.do(RESUME)
    assert entry.result == b"\0\0\0\1A"
    assert isinstance(entry.error, FrameTooLarge)


def test_error_of_a_request_ends_the_lane_at_once_and_a_refusal_speaks() -> None:
    """Behind the replies before it."""
    lane = Lane()
    lane.do(DATA, b"a\nb\nc\n")
    lane.answer(b"A", PeerRefused("no", reply=b"go"))
    entry = lane.do(RESUME)
    assert entry.result == b"A\ngo\n"
    assert isinstance(entry.error, PeerRefused)
    assert lane.work.broken
    assert lane.do(RESUME).result is None


def test_reply_that_is_too_long_ends_the_lane() -> None:
    """The numbers are in the message."""
    lane = Lane(max_reply_bytes=50)
    lane.do(DATA, b"a\nb\n")
    lane.answer(b"A", b"x" * 51)
    entry = lane.do(RESUME)
    assert entry.result == b"A\n"
    assert isinstance(entry.error, ProcessorError)
    assert "with 51; max_reply_bytes is 50" in str(entry.error)


def test_window_bounds_what_is_given_out() -> None:
    """One reply may exceed it; the others stay where they are counted."""
    lane = Lane(window_bytes=10, max_reply_bytes=100)
    lane.do(DATA, b"a\nb\nc\n")
    lane.answer(b"x" * 60, b"y" * 60, b"z")
    entry = lane.do(RESUME)
    assert entry.result == b"x" * 60 + b"\n"
    assert entry.surplus_bytes == 59
    assert lane.work.may_go_on
    assert lane.do(RESUME).result is None
    lane.work.window.deliver(59)
    assert lane.do(RESUME).result == b"y" * 60 + b"\n"


def test_closing_gives_the_partial_frame_back() -> None:
    """The processor itself is closed where it is called."""
    lane = Lane()
    lane.do(DATA, b"part")
    assert lane.pool.in_use_bytes > 0
    lane.work.close_processor()
    assert lane.pool.in_use_bytes == 0
