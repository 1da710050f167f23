"""Frames with a length in front: runs, limits, prefixes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.errors import FrameTooLarge, ProcessorError
from asyncrev.frames import prefixed as prefixed_module
from asyncrev.frames.grammar import Run, Scan
from asyncrev.frames.prefixed import Prefixed
from tests import strategies
from tests.planes import PythonPrefixed
from tests.readers import (
    LEN32,
    LEN64,
    NO_LIMIT,
    PREFIXED,
    put_together,
    read_prefixed,
    scanned,
    wrapped,
)

prefixed = pytest.mark.parametrize("framing", PREFIXED, ids=lambda framing: framing.name)
# What looks ahead in a run; native kernels have no need of it.
looking = pytest.mark.parametrize(
    "framing",
    [PythonPrefixed("len32", 4), PythonPrefixed("len64", 8)],
    ids=lambda framing: framing.name,
)


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
    assert put_together(framing, strategies.split(data, pieces), most) == expected


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
def test_prefix_whose_bytes_all_occur_in_that_of_the_run_ends_it(framing: Prefixed) -> None:
    """Each column is compared with its own byte, not with the one beside it."""
    run = wrapped(framing, [5] * 60)
    longer = wrapped(framing, [0x505], (5).to_bytes(framing.prefix_bytes, "big") + bytes(5))
    # The payload is cut so that prefixes of 5 go on in it at the stride of the run.
    data = run + longer[: framing.prefix_bytes] + bytes(5) + longer[framing.prefix_bytes :][:-5]
    data += run
    assert scanned(framing, data, NO_LIMIT) == read_prefixed(data, framing.prefix_bytes, NO_LIMIT)
    assert [run.frames for run in framing.scan(memoryview(data), NO_LIMIT).runs] == [60, 1, 60]


@pytest.mark.parametrize(("prefix_bytes", "most"), [(4, 2**32 - 1), (8, 2**64 - 1)])
def test_new_grammar_says_what_its_prefix_can_announce(prefix_bytes: int, most: int) -> None:
    """Its longest frame is the largest number; it has the name that it was given."""
    framing = Prefixed("mine", prefix_bytes)
    assert framing.most_payload_bytes == most
    assert (framing.name, framing.prefix_bytes) == ("mine", prefix_bytes)
    assert framing.wrap(most) == b"\xff" * prefix_bytes
    with pytest.raises(ProcessorError, match=rf"no mine prefix; it may be at most {most} bytes"):
        framing.wrap(most + 1)


@looking
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


@looking
def test_long_run_after_frames_made_up_to_look_like_one_is_found_with_a_look_ahead(
    framing: Prefixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vain look makes the next one later, after twice as many equal frames, not impossible."""
    looks = count_looks(monkeypatch)
    fill = (16).to_bytes(framing.prefix_bytes, "big")
    data = wrapped(framing, ([16] * 8 + [24]) * 6 + [16] * 5000, fill)
    assert scanned(framing, data, 99) == read_prefixed(data, framing.prefix_bytes, 99)
    assert looks == [0, 5000 - 16]


@prefixed
def test_scan_says_that_it_stopped_after_its_steps(framing: Prefixed) -> None:
    """A step finds a frame here; more frames may follow."""
    data = wrapped(framing, [1, 2, 3])
    runs = [
        Run(framing.prefix_bytes, 1, 1),
        Run(2 * framing.prefix_bytes + 1, 2, 1),
    ]
    two_bytes = 2 * framing.prefix_bytes + 3
    assert framing.scan(memoryview(data), 9, 2) == Scan(two_bytes, runs, None, True)
    assert framing.scan(memoryview(data), 9, 4).stopped is False


@looking
def test_long_run_is_found_with_one_look_ahead(
    framing: Prefixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but its first eight frames, through looks of every width."""
    looks = count_looks(monkeypatch)
    framing.scan(memoryview(wrapped(framing, [16] * 5000 + [17])), 99)
    assert looks == [4992]


@looking
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
    look = prefixed_module._equal_frames

    def counted(data: memoryview, off: int, stride: int, prefix: bytes) -> int:
        found.append(look(data, off, stride, prefix))
        return found[-1]

    monkeypatch.setattr(prefixed_module, "_equal_frames", counted)
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


# Replies.


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
