"""reverse: the kernel against the obvious way, at every length around its edges."""

import io
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.frames.grammar import Run
from asyncrev.frames.prefixed import Prefixed
from asyncrev.frames.registry import FRAMINGS
from asyncrev.work.reverse import NUMPY_FROM_BYTES, Reverse
from tests.planes import NATIVE_KERNELS, NativeReverse, PythonReverse
from tests.support import pattern, traced_peak_bytes

PLANES: dict[str, type[Reverse]] = {"python": PythonReverse}
if NATIVE_KERNELS is not None:
    PLANES["native"] = NativeReverse
planes = pytest.mark.parametrize("reverse", PLANES.values(), ids=PLANES.keys())


@planes
@pytest.mark.parametrize("nbytes", [1, NUMPY_FROM_BYTES - 1, NUMPY_FROM_BYTES, 100_000])
def test_process_returns_the_chunk_reversed(nbytes: int, reverse: type[Reverse]) -> None:
    """Small ones come as new bytes, large ones as the chunk itself."""
    memory = bytearray(pattern(nbytes))
    chunk = memoryview(memory)
    reply = reverse().process(chunk)
    assert bytes(reply) == pattern(nbytes)[::-1]
    assert (reply is chunk) == (nbytes >= NUMPY_FROM_BYTES)


def test_eof_adds_nothing() -> None:
    """Every chunk was answered when it came."""
    assert Reverse().eof() is None


# Many frames in one call. The oracles reverse with a loop of swaps, or line after line.


def swapped(data: bytes) -> bytes:
    """Return `data` reversed, by exchanging its ends."""
    memory = bytearray(data)
    for off in range(len(memory) // 2):
        memory[off], memory[-1 - off] = memory[-1 - off], memory[off]
    return bytes(memory)


def lines_reversed(data: bytes) -> bytes:
    """Return each line's payload reversed; the ends stay."""
    lines = []
    for line in io.BytesIO(data):
        payload = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        lines.append(swapped(payload) + line[len(payload) :])
    return b"".join(lines)


def of_length(nbytes: int) -> bytes:
    """Return a payload for a line: a pattern without newlines, but with carriage returns."""
    return pattern(nbytes).replace(b"\n", b"\r")


def check_lines(data: bytes) -> bytes | memoryview:
    """Compare `process_lines` with the oracle; memory around the lines must stay.

    Native kernels return the view itself. Returns what the Python code does.
    """
    for name, reverse in reversed(PLANES.items()):
        memory = bytearray(b"<<<" + data + b">>>")
        view = memoryview(memory)[3:-3]
        reply = reverse().process_lines(view)
        assert reply == lines_reversed(data)
        assert reply is view or (type(reply) is bytes and name == "python")
        assert (memory[:3], memory[-3:]) == (b"<<<", b">>>")
    return reply


@given(st.lists(st.sampled_from([b"", b"a", b"bc", b"\r", b"\rd", b"e\r", b"\n", b"\r\n"])))
def test_process_lines_of_short_lines_returns_new_bytes(parts: list[bytes]) -> None:
    r"""Any ends, alone or mixed, and "\r" anywhere."""
    assert type(check_lines(b"".join(parts) + b"\n")) is bytes


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("nbytes", [0, 1, 7, 64, 65, 1000, 2047, 2048, 4000, 4094])
def test_process_lines_of_many_equal_lines_returns_new_bytes(nbytes: int, end: bytes) -> None:
    """Together they are large enough for NumPy, and small enough for one copy."""
    assert type(check_lines((of_length(nbytes) + end) * (60_000 // (nbytes + 2)))) is bytes


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 64, 2048, *range(4093, 4100), 8192, 9001]),
            st.sampled_from([b"\n", b"\r\n"]),
        ),
        min_size=1,
        max_size=9,
    )
)
def test_process_lines_of_short_and_long_lines_agrees_with_the_oracle(
    lines: list[tuple[int, bytes]],
) -> None:
    """Long ones are reversed where they lie, between short ones that are copied."""
    check_lines(b"".join(of_length(nbytes) + end for nbytes, end in lines))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\nx\r\n"])
@pytest.mark.parametrize("nbytes", [0, 63, 1000, 4090])
def test_process_lines_of_much_is_done_piece_by_piece_in_place(nbytes: int, end: bytes) -> None:
    """More than the scratch, so the view itself comes back."""
    assert type(check_lines((of_length(nbytes) + end) * (200_000 // (nbytes + 1)))) is memoryview


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("nbytes", [4097, 65536, 65537, 131072, 300_001])
def test_process_lines_with_a_long_line_returns_the_view_itself(nbytes: int, end: bytes) -> None:
    """Wherever the long line stands; a line that is whole is never moved."""
    short = b"short\nlines" + end
    for before, after in ((b"", b""), (short, b""), (b"", short), (short * 900, short * 900)):
        assert type(check_lines(before + of_length(nbytes) + end + after)) is memoryview


def wrapped(lengths: list[int], prefix_bytes: int) -> tuple[bytearray, list[Run], bytes]:
    """Return frames, where they lie, and what they are with each payload reversed."""
    frames, reversed_frames = bytearray(b"<<<"), bytearray(b"<<<")
    runs: list[Run] = []
    for number, length in enumerate(lengths):
        prefix = length.to_bytes(prefix_bytes, "big")
        payload = pattern(length + number)[number:]
        if runs and runs[-1].payload_bytes == length:
            runs[-1] = runs[-1]._replace(frames=runs[-1].frames + 1)
        else:
            runs.append(Run(len(frames) - 3 + prefix_bytes, length, 1))
        frames += prefix + payload
        reversed_frames += prefix + swapped(payload)
    return frames + b">>>", runs, bytes(reversed_frames + b">>>")


def check_prefixed(lengths: list[int], prefix_bytes: int) -> None:
    """Compare `process_prefixed` with the oracle; prefixes and what is around must stay."""
    for reverse in PLANES.values():
        memory, runs, expected = wrapped(lengths, prefix_bytes)
        view = memoryview(memory)[3:-3]
        assert reverse().process_prefixed(view, runs, prefix_bytes) is view
        assert memory == expected


@pytest.mark.parametrize("prefix_bytes", [4, 8])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 64, 65])
@pytest.mark.parametrize("nbytes", [*range(10), 15, 16, 17, 63, 64, 65, 255, 256, 257, 1023])
def test_process_prefixed_of_equal_frames_agrees_with_the_oracle(
    nbytes: int, frames: int, prefix_bytes: int
) -> None:
    """Odd and even, few and many: alone, as rows of bytes, and as rows of words."""
    check_prefixed([nbytes] * frames, prefix_bytes)


@pytest.mark.parametrize("frames", [1, 3, 4, 5])
@pytest.mark.parametrize("nbytes", [4095, 4096, 4097, 16383, 16385, 65535, 65536, 65537, 131_073])
def test_process_prefixed_of_large_frames_agrees_with_the_oracle(nbytes: int, frames: int) -> None:
    """Rows by the scratch; what is longer than the scratch, each by itself."""
    check_prefixed([nbytes] * frames, 4)


@settings(deadline=None, max_examples=60)
@given(
    lengths=st.lists(
        st.tuples(st.sampled_from([0, 1, 2, 9, 64, 1000, 4096]), st.sampled_from([1, 3, 4, 70])),
        max_size=5,
    ),
    prefix_bytes=st.sampled_from([4, 8]),
)
def test_process_prefixed_of_mixed_runs_agrees_with_the_oracle(
    lengths: list[tuple[int, int]], prefix_bytes: int
) -> None:
    """One run after another, each its own way, and no payload is written over another."""
    check_prefixed([length for length, frames in lengths for _ in range(frames)], prefix_bytes)


def test_process_prefixed_takes_the_runs_of_a_scan() -> None:
    """What framing finds is what is reversed; what it did not consume stays."""
    framing = FRAMINGS["len32"]
    assert isinstance(framing, Prefixed)
    memory, _, expected = wrapped([5] * 30 + [7] + [0] * 5 + [300] * 9, 4)
    data = memoryview(memory)[3:]
    scan = framing.scan(data, 1000)
    assert data[scan.consumed_bytes :] == b">>>"
    Reverse().process_prefixed(data[: scan.consumed_bytes], scan.runs, 4)
    assert memory == expected


# The scratch, of the Python code.


def test_process_prefixed_takes_no_more_scratch_than_one_frame_does() -> None:
    """However many equal frames there are, and however large."""
    for nbytes, frames in ((2, 100_000), (64, 16_000), (1000, 1000), (50_000, 20), (300_000, 5)):
        view, runs = memoryview(bytearray((4 + nbytes) * frames)), [Run(4, nbytes, frames)]
        peak_bytes = traced_peak_bytes(partial(PythonReverse().process_prefixed, view, runs, 4))
        assert 0 < peak_bytes < 80_000


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"a\r\n\n"])
def test_process_lines_of_tiny_lines_makes_few_objects_at_a_time(end: bytes) -> None:
    """However much there is: an object for each of a million lines would be a lot."""
    view = memoryview(bytearray((b"abc" + end) * 300_000))
    assert traced_peak_bytes(partial(PythonReverse().process_lines, view)) < 4_000_000


@pytest.mark.skipif(NATIVE_KERNELS is None, reason="the native kernels are not built")
def test_native_kernels_take_no_scratch() -> None:
    """Whatever they reverse, they reverse it where it lies."""
    view, runs = memoryview(bytearray(b"\n" * 6_000_000)), [Run(4, 2, 1_000_000)]
    for work in (
        partial(NativeReverse().process, view),
        partial(NativeReverse().process_lines, view),
        partial(NativeReverse().process_prefixed, view, runs, 4),
    ):
        assert traced_peak_bytes(work) < 2000
