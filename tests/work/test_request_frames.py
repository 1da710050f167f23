"""request_frames: frames are copied out of the input, with what their replies need of it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import LocalError
from asyncrev.frames.registry import as_framing
from asyncrev.ring.ring import Ring
from asyncrev.work.block_pool import Pool
from asyncrev.work.framer import Framer
from asyncrev.work.request_frames import Collector, FrameRequests
from asyncrev.work.requests import RequestKind, Requests
from tests.framed import NAMES, framed


def framer_of(name: str, *, calls_eof: bool = True) -> tuple[Framer, Requests]:
    requests = Requests(1000, 1 << 20)
    collector = Collector(requests, calls_connected=True, calls_eof=calls_eof)
    grammar = as_framing(name)
    assert grammar is not None
    answers = FrameRequests(grammar, collector, requests, max_frame_bytes=1000)
    pool = Pool(Ring(2, 64), 1 << 16)
    return (
        Framer(
            grammar, collector, pool, max_frame_bytes=1000, views_allowed=False, answers=answers
        ),
        requests,
    )


@pytest.mark.parametrize("name", NAMES)
@given(
    st.lists(st.binary(max_size=40).map(lambda data: data.translate(None, b"\r\n"))),
    st.lists(st.integers(1, 30)),
)
def test_any_segmentation_makes_the_same_requests(
    name: str, payloads: list[bytes], sizes: Sequence[int]
) -> None:
    """Each frame is one, whole, and together they stand for all bytes."""
    framer, requests = framer_of(name)
    wire = b"".join(framed(name, payload) for payload in payloads)
    off = 0
    for nbytes in [*sizes, len(wire)]:
        chunk = memoryview(bytearray(wire[off : off + nbytes]))
        off += nbytes
        if chunk:
            assert framer.process(chunk) is None
            assert framer.used_bytes == chunk.nbytes
            chunk[:] = bytes(chunk.nbytes)  # the slot is used again
    assert [request.payload for request in requests.made] == payloads
    assert {request.kind for request in requests.made} <= {RequestKind.FRAME}
    assert requests.pending_bytes == len(wire)


def test_calls_bound_how_many_are_made() -> None:
    """The rest of the chunk is for later."""
    framer, requests = framer_of("line")
    chunk = memoryview(bytearray(b"a\nb\nc\n"))
    framer.process(chunk, 2)
    assert len(requests.made) == 2
    assert framer.used_bytes == 4
    assert framer.calls == 2


def test_replies_get_the_line_ends_of_their_frames() -> None:
    """So each request keeps its own."""
    framer, requests = framer_of("line")
    framer.process(memoryview(bytearray(b"a\r\nb\n")))
    assert [request.tail for request in requests.made] == [b"\r\n", b"\n"]


def test_open_last_frame_is_one_with_a_separator_and_eof_follows() -> None:
    """Its reply has no end of its own."""
    framer, requests = framer_of("line")
    framer.process(memoryview(bytearray(b"a\nlast")))
    assert framer.eof() is None
    kinds = [(one.kind, one.payload, one.separator) for one in requests.made]
    assert kinds == [
        (RequestKind.FRAME, b"a", None),
        (RequestKind.FRAME, b"last", b"\n"),
        (RequestKind.EOF, b"", None),
    ]


def test_processor_without_the_methods_gets_no_requests_for_them() -> None:
    """A function has neither."""
    requests = Requests(10, 100)
    collector = Collector(requests, calls_connected=False, calls_eof=False)
    collector.connected(None)  # type: ignore[arg-type]
    collector.eof()
    assert not requests.made
    collector = Collector(requests, calls_connected=True, calls_eof=True)
    collector.connected(None)  # type: ignore[arg-type]
    collector.eof()
    assert [one.kind for one in requests.made] == [RequestKind.CONNECTED, RequestKind.EOF]


def test_nothing_is_framed_here() -> None:
    """A reply is framed where it is given out."""
    grammar = as_framing("line")
    assert grammar is not None
    requests = Requests(10, 100)
    collector = Collector(requests, calls_connected=False, calls_eof=False)
    answers = FrameRequests(grammar, collector, requests, max_frame_bytes=10)
    with pytest.raises(LocalError, match="given out"):
        answers.framed(b"x")
