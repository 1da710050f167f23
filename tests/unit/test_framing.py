"""framing: each grammar against a plain reader of the same bytes, whole and cut anywhere."""

import io
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.errors import FrameTooLarge, ProcessorError, SettingsError
from asyncrev.frames import prefixed as framing_module
from asyncrev.frames.grammar import Grammar, Run, Scan
from asyncrev.frames.lines import Lines, newline_off
from asyncrev.frames.prefixed import Prefixed
from asyncrev.frames.registry import FRAMINGS, as_framing
from tests import strategies

LINE = Lines()
LEN32 = Prefixed("len32", 4)
LEN64 = Prefixed("len64", 8)
PREFIXED = [LEN32, LEN64]
NO_LIMIT = 2**64

prefixed = pytest.mark.parametrize("framing", PREFIXED, ids=lambda framing: framing.name)


# What one who reads byte after byte would say: (payloads, what is left, is that too large?).


def read_prefixed(data: bytes, prefix_bytes: int, most: int) -> tuple[list[bytes], bytes, bool]:
    """Return what there is in frames with a length before them."""
    stream, payloads, left = io.BytesIO(data), [], data
    while len(prefix := stream.read(prefix_bytes)) == prefix_bytes:
        announced = 0
        for byte in prefix:
            announced = announced * 256 + byte
        if announced > most:
            return payloads, left, True
        payload = stream.read(min(announced, len(data)))
        if len(payload) < announced:
            break
        payloads.append(payload)
        left = data[stream.tell() :]
    return payloads, left, False


def read_lines(data: bytes, most: int) -> tuple[list[bytes], bytes, bool]:
    """Return what there is in lines."""
    payloads, line = [], bytearray()
    for off, byte in enumerate(data):
        if byte == 10:
            payload = bytes(line[:-1] if line.endswith(b"\r") else line)
            if len(payload) > most:
                return payloads, data[off - len(line) :], True
            payloads.append(payload)
            line.clear()
        else:
            line.append(byte)
    left = bytes(line)
    return payloads, left, len(left.removesuffix(b"\r")) > most


def read(framing: Grammar, data: bytes, most: int) -> tuple[list[bytes], bytes, bool]:
    """Return what there is in the frames of any grammar."""
    if isinstance(framing, Lines):
        return read_lines(data, most)
    return read_prefixed(data, framing.prefix_bytes, most)


# What the code under test says of the same bytes.


def scanned(framing: Grammar, data: bytes, most: int) -> tuple[list[bytes], bytes, bool]:
    """Return what one scan finds, in the words of the readers above."""
    scan = framing.scan(memoryview(data), most)
    whole = data[: scan.consumed_bytes]
    payloads = []
    if isinstance(framing, Lines):
        assert scan.runs == []
        end = 0
        for start, payload_end, line_end in framing.spans(memoryview(whole)):
            assert start == end
            assert data[payload_end:line_end] in (b"\n", b"\r\n")
            payloads.append(data[start:payload_end])
            end = line_end
    else:
        end = 0
        for run in scan.runs:
            for _ in range(run.frames):
                start = end + framing.prefix_bytes
                end = start + run.payload_bytes
                payloads.append(data[start:end])
            assert run.start_off == start - (run.frames - 1) * (end - start + framing.prefix_bytes)
        for run, after in zip(scan.runs, scan.runs[1:], strict=False):
            assert run.payload_bytes != after.payload_bytes
    assert end == scan.consumed_bytes
    return payloads, data[end:], scan.error is not None


def put_together(
    framing: Grammar, chunks: Iterable[bytes], most: int
) -> tuple[list[bytes], bytes, bool]:
    """Return what comes of chunks, as one who holds the unfinished frame gets it."""
    payloads, held = [], b""
    for number, chunk in enumerate(chunks):
        if held:
            try:
                taken, whole = framing.missing(memoryview(held), memoryview(chunk), most)
            except FrameTooLarge:
                return payloads, held + b"".join(list(chunks)[number:]), True
            held += chunk[:taken]
            if not whole:
                assert taken == len(chunk)
                framing.check_open(memoryview(held), most)
                continue
            found, left, too_large = scanned(framing, held, most)
            assert (len(found), left, too_large) == (1, b"", False)
            payloads += found
            chunk = chunk[taken:]
        found, held, too_large = scanned(framing, chunk, most)
        payloads += found
        if too_large:
            return payloads, held + b"".join(list(chunks)[number + 1 :]), True
        framing.check_open(memoryview(held), most)
    return payloads, held, False


def wrapped(framing: Prefixed, lengths: Iterable[int], fill: bytes = b"payload!") -> bytes:
    """Return frames of `lengths`, each filled from the beginning of `fill`, again and again."""
    frames = []
    for length in lengths:
        frames.append(length.to_bytes(framing.prefix_bytes, "big"))
        frames.append((fill * (length // len(fill) + 1))[:length])
    return b"".join(frames)


def trail(framing: Grammar) -> list[bytes]:
    """Return what may follow whole frames: nothing, beginnings, and what is too large."""
    if isinstance(framing, Lines):
        return [
            b"",
            b"\r",
            b"rest",
            b"rest\r",
            b"twelve bytes",
            b"twelve bytes\r\n",
            b"twelve by\r",
        ]
    prefix_bytes = framing.prefix_bytes
    beginnings = [wrapped(framing, [3])[:cut] for cut in range(prefix_bytes + 3)]
    return beginnings + [n.to_bytes(prefix_bytes, "big") + b"xy" for n in (9, 10, 2**32 - 1)]


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
def test_frames_cut_anywhere_are_found_the_same(name: str) -> None:
    """Whole, byte by byte, and at every one and two split points, with anything behind them."""
    framing = FRAMINGS[name]
    for sample in SAMPLES[name]:
        for end in trail(framing):
            data = sample + end
            expected = read(framing, data, 9)
            assert scanned(framing, data, 9) == expected
            assert put_together(framing, [data[i : i + 1] for i in range(len(data))], 9) == expected
            for one in range(1, len(data)):
                assert put_together(framing, [data[:one], data[one:]], 9) == expected
                for two in range(one + 1, len(data), 5):
                    pieces = [data[:one], data[one:two], data[two:]]
                    assert put_together(framing, pieces, 9) == expected


lines = st.lists(st.sampled_from([b"", b"a", b"\r", b"b\r", b"\rc", b"wide" * 5, b"\n", b"\r\n"]))


@given(lines.map(b"".join), strategies.chunkings(9), st.integers(0, 25))
def test_lines_in_any_chunks_are_found_as_a_reader_finds_them(
    data: bytes, lengths: list[int], most: int
) -> None:
    """The same payloads, the same rest, the same verdict."""
    expected = read_lines(data, most)
    assert scanned(LINE, data, most) == expected
    assert put_together(LINE, strategies.cut(data, lengths), most) == expected


@prefixed
@given(
    lengths=st.lists(st.integers(0, 12)),
    tail=st.binary(max_size=9),
    pieces=strategies.chunkings(9),
    most=st.integers(0, 12),
)
def test_prefixed_frames_in_any_chunks_are_found_as_a_reader_finds_them(
    framing: Prefixed, lengths: list[int], tail: bytes, pieces: list[int], most: int
) -> None:
    """The same payloads, the same rest, the same verdict."""
    data = wrapped(framing, lengths) + tail
    expected = read_prefixed(data, framing.prefix_bytes, most)
    assert scanned(framing, data, most) == expected
    assert put_together(framing, strategies.cut(data, pieces), most) == expected


@pytest.mark.parametrize("name", FRAMINGS)
@given(data=st.binary(max_size=60), pieces=strategies.chunkings(9), most=st.integers(0, 300))
def test_any_bytes_are_frames_or_too_large_and_nothing_else(
    name: str, data: bytes, pieces: list[int], most: int
) -> None:
    """A peer can cause no error but the documented one."""
    framing = FRAMINGS[name]
    assert put_together(framing, strategies.cut(data, pieces), most) == read(framing, data, most)


# Runs of equal frames.

repeats = st.sampled_from([1, 2, 7, 8, 9, 15, 16, 23, 24, 25, 31, 71, 72, 73, 100, 328, 329])


@prefixed
@settings(max_examples=150, deadline=None)
@given(
    groups=st.lists(st.tuples(st.sampled_from([0, 1, 4, 8, 255, 256, 512]), repeats), max_size=6),
    fill=st.sampled_from([0, 1, 4, 8, 256]),
    cut=st.integers(0, 20),
    most=st.sampled_from([0, 8, 256, NO_LIMIT]),
)
def test_runs_are_those_of_a_reader_whatever_the_payloads_look_like(
    framing: Prefixed, groups: list[tuple[int, int]], fill: int, cut: int, most: int
) -> None:
    """Payloads full of prefixes lie where a run's next prefix would: they are not taken for it."""
    lengths = [length for length, frames in groups for _ in range(frames)]
    data = wrapped(framing, lengths, fill.to_bytes(framing.prefix_bytes, "big"))
    data = data[: len(data) - cut]
    assert scanned(framing, data, most) == read_prefixed(data, framing.prefix_bytes, most)


@prefixed
@pytest.mark.parametrize("length", [0, 1, 16, 2040, 2044, 2045])
@pytest.mark.parametrize("frames", [*range(1, 28), 71, 72, 73, 327, 328, 329, 1352, 1353, 2400])
def test_run_of_any_length_ends_where_it_ends(framing: Prefixed, length: int, frames: int) -> None:
    """One run and no more, followed by nothing, by a part of one more, and by another length."""
    data = wrapped(framing, [length] * frames)
    run = Run(framing.prefix_bytes, length, frames)
    stride = framing.prefix_bytes + length
    for tail in (
        b"",
        wrapped(framing, [length])[: stride - 1],
        wrapped(framing, [length + 1])[:-1],
    ):
        scan = framing.scan(memoryview(data + tail), NO_LIMIT)
        assert scan == Scan(len(data), [run], None)
    scan = framing.scan(memoryview(data + wrapped(framing, [length + 1, length])), NO_LIMIT)
    assert scan.runs[0] == run
    assert [(run.payload_bytes, run.frames) for run in scan.runs[1:]] == [
        (length + 1, 1),
        (length, 1),
    ]


@prefixed
@pytest.mark.parametrize("before", [8, 24, 40, 90])
def test_run_ends_at_a_prefix_that_differs_in_any_one_byte(framing: Prefixed, before: int) -> None:
    """Every byte of the prefix is compared; frames that look alike go on behind it."""
    for byte_off in range(framing.prefix_bytes):
        data = bytearray(wrapped(framing, [16] * (before + 60)))
        data[before * (framing.prefix_bytes + 16) + byte_off] ^= 0x20
        found = scanned(framing, bytes(data), NO_LIMIT)
        assert found == read_prefixed(bytes(data), framing.prefix_bytes, NO_LIMIT)
        assert found[0][before - 1 : before + 1] != found[0][:2]


@prefixed
def test_frames_made_up_to_look_like_long_runs_are_found_with_few_looks_ahead(
    framing: Prefixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each group of eight seems to go on far ahead, and does not; soon that is not tried again."""
    looks = count_looks(monkeypatch)
    fill = (16).to_bytes(framing.prefix_bytes, "big")
    data = wrapped(framing, ([16] * 8 + [24]) * 400 + ([16] * 70 + [24]) * 3, fill)
    assert scanned(framing, data, 99) == read_prefixed(data, framing.prefix_bytes, 99)
    assert 0 in looks
    assert len(looks) < 8


@prefixed
def test_long_run_is_found_with_one_look_ahead(
    framing: Prefixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but its first eight frames, through looks of every width."""
    looks = count_looks(monkeypatch)
    framing.scan(memoryview(wrapped(framing, [16] * 5000 + [17])), 99)
    assert looks == [4992]


@prefixed
def test_run_of_large_frames_is_found_without_a_look_ahead(
    framing: Prefixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To copy them would cost more than to go from one to the next."""
    looks = count_looks(monkeypatch)
    for length, expected in ((2049, []), (2048 - framing.prefix_bytes, [32])):
        framing.scan(memoryview(wrapped(framing, [length] * 40)), 9999)
        assert looks == expected


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets what each look ahead finds."""
    found: list[int] = []
    look = framing_module._equal_frames

    def counted(data: memoryview, off: int, stride: int, prefix: bytes) -> int:
        found.append(look(data, off, stride, prefix))
        return found[-1]

    monkeypatch.setattr(framing_module, "_equal_frames", counted)
    return found


# Limits.


@prefixed
def test_frame_of_the_longest_length_passes_and_one_more_byte_does_not(framing: Prefixed) -> None:
    """By scan and by missing; the frames before it are there, and no traceback keeps its bytes."""
    good, bad = wrapped(framing, [2, 100, 100]), wrapped(framing, [101])
    scan = framing.scan(memoryview(good + bad), 100)
    assert scan.consumed_bytes == len(good)
    assert [(run.payload_bytes, run.frames) for run in scan.runs] == [(2, 1), (100, 2)]
    assert scan.error is not None
    assert str(scan.error) == "a frame of 101 bytes was announced; max_frame_bytes is 100"
    assert scan.error.__traceback__ is None
    assert framing.missing(memoryview(bad[:1]), memoryview(bad[1:]), 101) == (len(bad) - 1, True)
    with pytest.raises(FrameTooLarge, match="101 bytes was announced; max_frame_bytes is 100"):
        framing.missing(memoryview(bad[:1]), memoryview(bad[1:]), 100)


@pytest.mark.parametrize("length", [2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_prefix_of_an_absurd_length_is_refused_as_soon_as_it_is_known(length: int) -> None:
    """Nothing overflows, and without a limit it is just a frame that is far from whole."""
    for framing in PREFIXED:
        if length >= 256**framing.prefix_bytes:
            continue
        prefix = memoryview(length.to_bytes(framing.prefix_bytes, "big"))
        message = f"a frame of {length} bytes was announced; max_frame_bytes is 1048576"
        scan = framing.scan(prefix, 2**20)
        assert (scan.consumed_bytes, scan.runs, str(scan.error)) == (0, [], message)
        assert framing.scan(prefix, length) == Scan(0, [], None)
        assert framing.expected_bytes(prefix) == framing.prefix_bytes + length
        for cut in range(1, framing.prefix_bytes):
            assert framing.expected_bytes(prefix[:cut]) is None
            assert framing.scan(prefix[:cut], 0) == Scan(0, [], None)
            with pytest.raises(FrameTooLarge, match=message):
                framing.missing(prefix[:cut], prefix[cut:], 2**20)
            taken = framing.missing(prefix[:cut], prefix[cut:], length)
            assert taken == (len(prefix) - cut, False)
        with pytest.raises(FrameTooLarge, match=message):
            framing.missing(prefix, prefix, 2**20)


@prefixed
def test_missing_of_a_prefixed_frame_leaves_what_follows(framing: Prefixed) -> None:
    """Every beginning, and a chunk with each part of the rest, and with more than it."""
    frame = wrapped(framing, [5])
    for cut in range(1, len(frame)):
        held, rest = memoryview(frame[:cut]), frame[cut:]
        for length in range(1, len(rest)):
            assert framing.missing(held, memoryview(rest[:length]), 5) == (length, False)
        for more in (b"", b"x", frame):
            assert framing.missing(held, memoryview(rest + more), 5) == (len(rest), True)


def test_line_of_the_longest_length_passes_with_either_end() -> None:
    r"""Neither "\n" nor "\r\n" counts; a "\r" anywhere else does."""
    for good in (b"1234\n", b"1234\r\n", b"\r234\r\n", b"123\r\r\n", b"1234\r"):
        assert scanned(LINE, b"ok\n" + good, 4) == read_lines(b"ok\n" + good, 4)
        assert LINE.scan(memoryview(b"ok\n" + good), 4).error is None
    for bad in (b"12345\n", b"1234\r5\n", b"1234\r\r\n", b"12345\r\n", b"1234\r\r", b"12345"):
        scan = LINE.scan(memoryview(b"ok\n" + bad + b"more\n\n"[: 6 * bad.endswith(b"\n")]), 4)
        assert (scan.consumed_bytes, scan.runs) == (3, [])
        assert scan.error is not None
        assert scan.error.__traceback__ is None


def test_line_too_long_is_told_with_its_length_as_far_as_it_is_known() -> None:
    """A whole one, an unfinished one, and one that grows beyond in the next chunk."""
    unfinished = "a line of at least 5 bytes was sent; max_frame_bytes is 4"
    assert str(LINE.scan(memoryview(b"12345\r\n"), 4).error) == (
        "a line of 5 bytes was sent; max_frame_bytes is 4"
    )
    assert str(LINE.scan(memoryview(b"12345\r"), 4).error) == unfinished
    with pytest.raises(FrameTooLarge, match="a line of 6 bytes was sent; max_frame_bytes is 4"):
        LINE.missing(memoryview(b"12"), memoryview(b"3456\r\n"), 4)
    with pytest.raises(FrameTooLarge, match=unfinished):
        LINE.missing(memoryview(b"12"), memoryview(b"345"), 4)
    with pytest.raises(FrameTooLarge, match=unfinished):
        LINE.check_open(memoryview(b"12345"), 4)


def test_carriage_return_between_chunks_belongs_to_the_end_only_before_a_newline() -> None:
    """It does not count until the next byte says what it is."""
    held = memoryview(b"1234\r")
    LINE.check_open(held, 4)
    assert LINE.missing(held, memoryview(b"\nnext"), 4) == (1, True)
    for chunk in (b"5", b"\r", b"\r\n", b"5\n"):
        with pytest.raises(FrameTooLarge, match="max_frame_bytes is 4"):
            LINE.missing(held, memoryview(chunk), 4)
    with pytest.raises(FrameTooLarge, match="at least 5 bytes"):
        LINE.check_open(memoryview(b"1234\r\r"), 4)
    assert LINE.missing(memoryview(b"123"), memoryview(b"4\r"), 4) == (2, False)
    assert LINE.missing(memoryview(b"123"), memoryview(b"\n\n"), 4) == (1, True)


def test_spans_are_of_whole_lines_only() -> None:
    r"""A "\r" in what follows the last of them belongs to none."""
    assert list(LINE.spans(memoryview(b"\nab\r"))) == [(0, 0, 1)]
    assert list(LINE.spans(memoryview(b"a\r\r\n\r\nb\n\nrest"))) == [
        (0, 2, 4),
        (4, 4, 6),
        (6, 7, 8),
        (8, 8, 9),
    ]
    assert list(LINE.spans(memoryview(b"rest"))) == []


@pytest.mark.parametrize(
    "newline_at",
    [0, 1, 1023, 1024, 1025, 3071, 3072, 40_000, 196_927, 198_975, 198_976, 199_999, None],
)
def test_newline_is_found_wherever_it_lies_in_a_long_chunk(newline_at: int | None) -> None:
    """The first from the front, the last from the back, over every size of a look."""
    data = bytearray(b"x" * 200_000)
    if newline_at is not None:
        data[newline_at] = 10
    consumed = 0 if newline_at is None else newline_at + 1
    assert LINE.scan(memoryview(data), 200_000) == Scan(consumed, [], None)
    assert newline_off(memoryview(data), 0) == (200_000 if newline_at is None else newline_at)
    assert newline_off(memoryview(data), consumed) == 200_000
    taken = LINE.missing(memoryview(b"held"), memoryview(data), 200_004)
    assert taken == ((200_000, False) if newline_at is None else (consumed, True))


@given(st.lists(st.sampled_from([1, 2, 900, 1024, 5000, 5001, 5002]), max_size=12))
def test_long_lines_are_measured_across_looks(lengths: list[int]) -> None:
    """Where they are together more than one may have, the first that is too long is found."""
    data = b"".join(b"x" * (length - 1) + b"\n" for length in lengths)
    for most in (0, 1023, 4999, 5000):
        assert scanned(LINE, data, most) == read_lines(data, most)


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


# Replies, and names.


@prefixed
def test_wrap_is_what_scan_reads(framing: Prefixed) -> None:
    """Any length that fits."""
    for length in (0, 1, 255, 256, 2**32 - 1, 256**framing.prefix_bytes - 1):
        prefix = framing.wrap(length)
        assert len(prefix) == framing.prefix_bytes
        assert framing.expected_bytes(memoryview(prefix)) == framing.prefix_bytes + length


def test_reply_too_long_for_its_prefix_is_the_processors_fault() -> None:
    """The message has both lengths."""
    with pytest.raises(ProcessorError, match=r"4294967296 bytes has no len32 .* most 4294967295 "):
        LEN32.wrap(2**32)
    with pytest.raises(ProcessorError, match=f"{2**64} bytes has no len64 .* most {2**64 - 1} "):
        LEN64.wrap(2**64)


def test_framings_have_the_names_that_settings_use() -> None:
    """Each under its own; raw is none."""
    assert list(FRAMINGS) == ["line", "len32", "len64"]
    assert all(as_framing(name) is framing for name, framing in FRAMINGS.items())
    assert all(framing.name == name for name, framing in FRAMINGS.items())
    assert as_framing("raw") is None


def test_framing_of_another_name_is_refused_with_those_that_are() -> None:
    """So a user who mistyped it sees what was meant."""
    with pytest.raises(SettingsError, match="'lines'; it must be one of raw, line, len32, len64"):
        as_framing("lines")


@prefixed
def test_prefixed_spans_tell_every_frame_of_every_run(framing: Prefixed) -> None:
    """In order, empty ones too; the payloads and prefixes between them are all there is."""
    payloads = [b"ab", b"cd", b"", b"", b"", b"efg"]
    data = b"".join(map(framing.encode, payloads))
    runs = framing.scan(memoryview(data), 10).runs
    spans = list(framing.spans(memoryview(data), runs))
    assert [data[start:end] for start, end, _ in spans] == payloads
    starts = [start - framing.prefix_bytes for start, _, _ in spans]
    assert [0, *(next_off for _, _, next_off in spans)] == [*starts, len(data)]
    assert list(framing.spans(memoryview(b""), [])) == []


@pytest.mark.parametrize(("name", "prefix_bytes"), [("len32", 4), ("len64", 8)])
def test_prefix_is_read_and_written_unsigned_and_big_endian(name: str, prefix_bytes: int) -> None:
    """Its highest bit is a length like the others, and its first byte counts most."""
    framing = Prefixed(name, prefix_bytes)
    assert (framing.name, framing.prefix_bytes) == (name, prefix_bytes)
    highest = 1 << (8 * prefix_bytes - 1)
    for payload_bytes in (1, 258, highest, 2 * highest - 1):
        prefix = payload_bytes.to_bytes(prefix_bytes, "big")
        assert framing.wrap(payload_bytes) == prefix
        assert framing.expected_bytes(memoryview(prefix)) == prefix_bytes + payload_bytes
        error = framing.scan(memoryview(prefix), 0).error
        assert str(error).startswith(f"a frame of {payload_bytes} bytes was announced")
        assert framing.missing(memoryview(prefix), memoryview(b"x"), NO_LIMIT) == (
            1,
            payload_bytes == 1,
        )
    with pytest.raises(ProcessorError, match=f"has no {name} prefix"):
        framing.wrap(2 * highest)
