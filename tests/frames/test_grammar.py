"""Every grammar against a plain reader of the same bytes, whole and split anywhere."""

import tracemalloc
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import FrameTooLarge, IncompleteFrame
from asyncrev.frames.grammar import UNBOUNDED_STEPS, Grammar, OpenEnd, Run, Scan
from asyncrev.frames.registry import FRAMINGS
from asyncrev.limits import FRAME_OVERHEAD_BYTES
from tests import strategies
from tests.readers import (
    LEN32,
    LEN64,
    LINE,
    put_together,
    read,
    scanned,
    trail,
    wrapped,
)

SAMPLES: dict[str, list[bytes]] = {
    "line": [
        b"a\nbc\r\n\n\r\nlast\n",
        b"\r\r\n\ra\r\nb\r\r\n\r\n",
        b"12345678\n123456789\n",
        b"123456789\r\n",
        b"1234567890\r\n",
    ],
    "len32": [wrapped(LEN32, [0, 0, 5, 0, 9, 9]), wrapped(LEN32, [1] * 12 + [10])],
    "len64": [wrapped(LEN64, [0, 0, 5, 0, 9, 9]), wrapped(LEN64, [1] * 12 + [10])],
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_frames_split_anywhere_are_found_the_same(name: str) -> None:
    """Whole, byte by byte, at every one point, and there and at some later one, whatever follows.

    The second points are about a dozen, so that the time grows with the square of the length only.
    """
    framing = FRAMINGS[name]
    for sample in SAMPLES[name]:
        for end in trail(framing):
            data = sample + end
            expected = read(framing, data, 9)
            assert scanned(framing, data, 9) == expected
            assert put_together(framing, [data[i : i + 1] for i in range(len(data))], 9) == expected
            for one in range(1, len(data)):
                assert put_together(framing, [data[:one], data[one:]], 9) == expected
                for two in range(one + 1, len(data), 1 + len(data) // 12):
                    pieces = [data[:one], data[one:two], data[two:]]
                    assert put_together(framing, pieces, 9) == expected


@pytest.mark.parametrize("name", FRAMINGS)
@given(data=st.binary(max_size=60), pieces=strategies.chunkings(9), most=st.integers(0, 300))
def test_any_bytes_are_frames_or_too_large_and_nothing_else(
    name: str, data: bytes, pieces: list[int], most: int
) -> None:
    """A peer can cause no error but the documented one."""
    framing = FRAMINGS[name]
    assert put_together(framing, strategies.split(data, pieces), most) == read(framing, data, most)


def traced_peak_bytes(framing: Grammar, data: memoryview, most: int) -> int:
    """Return how much one scan allocates at most at a time."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        framing.scan(data, most)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_scan_does_not_copy_large_chunks() -> None:
    """Pieces of them at most, wherever the line ends, and of large frames nothing."""
    data = bytearray(2**20)
    for newline_at in (0, 2**19, 2**20 - 1):
        data[newline_at] = 10
        for most in (2**20, 2**19 + 1, 5000):
            assert traced_peak_bytes(LINE, memoryview(data), most) < 80_000
            assert newline_at == 0 or LINE.scan(memoryview(data), 2**20).consumed_bytes > newline_at
    frames = wrapped(LEN32, [200_000] * 5)
    assert traced_peak_bytes(LEN32, memoryview(frames), 2**20) < 4000


class Least(Grammar):
    """The least that a grammar must have: frames of one byte."""

    name = "byte"
    forbidden_byte = 0x21
    forbidden_name = "an exclamation mark"

    def scan(
        self, data: memoryview, max_frame_bytes: int, most_steps: int = UNBOUNDED_STEPS
    ) -> Scan:
        """Take every byte."""
        return Scan(len(data), [], None)

    def missing(
        self, held: memoryview, chunk: memoryview, max_frame_bytes: int
    ) -> tuple[int, bool]:
        """There is never a beginning of a frame."""
        raise NotImplementedError

    def spans(self, data: memoryview, runs: Sequence[Run]) -> Iterator[tuple[int, int, int]]:
        """Yield each byte."""
        return ((off, off + 1, off + 1) for off in range(len(data)))

    def overhead_bytes(self, max_frame_bytes: int) -> int:
        """Return that there is none."""
        return 0

    def encode_into(
        self, replies: bytearray, payload: bytes | memoryview, tail: bytes | memoryview
    ) -> None:
        """Append payload and tail."""
        replies += payload
        replies += tail


def test_grammar_has_defaults_for_what_it_does_not_say() -> None:
    """Of its five methods alone; an unfinished frame is then an error at the end of input."""
    least, data = Least(), memoryview(b"abc")
    assert (least.encode(b"x"), least.encode(b"x", b"-")) == (b"x", b"x-")
    assert least.has_payload(data, [], b"b")
    assert not least.has_payload(data, [], b"ab")
    least.check_open(data, 1)
    least.check_many(b"replies", 0)
    with pytest.raises(IncompleteFrame, match="within a frame: 3 bytes of a byte frame had come"):
        least.end_open(data, 9)
    said = "a reply to a byte frame contains an exclamation mark; no payload may"
    assert str(least.forbidden(b"!")) == said
    with pytest.raises(NotImplementedError, match="byte frames have no method for many at once"):
        least.answer_many(None, data, [], 9)
    assert (least.method_name, least.method_arguments) == ("", "")
    assert (least.trust_name, least.tails) == ("", (b"",))


def test_grammar_without_one_of_its_methods_cannot_be_made() -> None:
    """That is seen before the first connection."""

    class Lacking(Least):
        missing = Grammar.missing

    with pytest.raises(TypeError, match="missing"):
        Lacking()  # type: ignore[abstract]


@pytest.mark.parametrize("name", FRAMINGS)
def test_overhead_bounds_what_a_frame_has_beside_its_payload(name: str) -> None:
    """For every tail, and every length up to the longest."""
    grammar = FRAMINGS[name]
    for payload_bytes in (0, 1, 300):
        for tail in grammar.tails:
            beside_bytes = len(grammar.encode(b"x" * payload_bytes, tail)) - payload_bytes
            assert 0 < beside_bytes <= grammar.overhead_bytes(300) <= FRAME_OVERHEAD_BYTES


def test_end_of_input_within_a_frame_is_what_the_grammar_says() -> None:
    """A last line is one without its end; its "\\r" belongs to it. A prefix wants its payload."""
    assert LINE.end_open(memoryview(b"abc\r"), 4) == OpenEnd(0, 4, b"\n")
    with pytest.raises(FrameTooLarge, match="the last line has 4 bytes; max_frame_bytes is 3"):
        LINE.end_open(memoryview(b"abc\r"), 3)
    with pytest.raises(IncompleteFrame, match="within a frame: 3 bytes of its length prefix had"):
        LEN32.end_open(memoryview(bytes(3)), 9)
    with pytest.raises(IncompleteFrame, match="within a frame: 5 bytes of 6 had come"):
        LEN32.end_open(memoryview(b"\0\0\0\2a"), 9)


def test_payload_is_found_only_if_a_frame_is_equal_to_it() -> None:
    """Not one that contains it, and not one that reaches over two frames."""
    for grammar in FRAMINGS.values():
        data = memoryview(b"".join(map(grammar.encode, (b"ab", b"cd", b"", b"efg", b"x\r\r"))))
        runs = grammar.scan(data, 9).runs
        for found in (b"ab", b"cd", b"", b"efg"):
            assert grammar.has_payload(data, runs, found)
        for missed in (b"a", b"abc", b"bcd", b"ef", b"x", b"zz"):
            assert not grammar.has_payload(data, runs, missed)
    assert LINE.has_payload(memoryview(b"a\r\r\n"), [], b"a\r")
    assert not LINE.has_payload(memoryview(b"a\r\n"), [], b"a\r")
    assert not LINE.has_payload(memoryview(b"a\n"), [], b"")
