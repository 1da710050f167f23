"""Lines: either line end, limits, and where a newline is searched for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import FrameTooLarge, ProcessorError
from asyncrev.frames.grammar import Scan
from asyncrev.frames.lines import newline_off
from tests import strategies
from tests.readers import LINE, put_together, read_lines, scanned

lines = st.lists(st.sampled_from([b"", b"a", b"\r", b"b\r", b"\rc", b"wide" * 5, b"\n", b"\r\n"]))


@given(lines.map(b"".join), strategies.chunkings(9), st.integers(0, 25))
def test_lines_in_any_chunks_are_found_as_a_reader_finds_them(
    data: bytes, lengths: list[int], most: int
) -> None:
    """The same payloads, the same rest, the same verdict."""
    expected = read_lines(data, most)
    assert scanned(LINE, data, most) == expected
    assert put_together(LINE, strategies.split(data, lengths), most) == expected


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


def test_step_of_a_scan_covers_all_lines_within_the_limit() -> None:
    """Not one line each, or short lines would need many times as many steps."""
    short = memoryview(b"a\n" * 1000)
    assert LINE.scan(short, 100, 3) == Scan(300, [], None, True)
    assert LINE.scan(short, 100, 19) == Scan(2000, [], None)
    longest = memoryview((b"x" * 100 + b"\n") * 10)
    assert LINE.scan(longest, 100, 3) == Scan(303, [], None, True)


def test_forbidden_reply_is_shown_around_its_first_line_end() -> None:
    """With at most 20 bytes on each side, and what to do instead."""
    advice = (
        "; it would be taken for two replies, and shift all later ones; answer with the payload "
        "alone, its line end is added"
    )
    for payload, shown in [
        (b"ab\ncd\n", "at byte 2 of 6: b'ab\\ncd\\n'"),
        (b"a" * 30 + b"\n" + b"b" * 30, f"at byte 30 of 61: b'{'a' * 20}\\n{'b' * 19}'"),
    ]:
        error = LINE.forbidden(payload)
        assert type(error) is ProcessorError
        assert str(error) == f"a reply to one line contains a line end, {shown}{advice}"


def test_call_with_many_lines_costs_one_call_and_one_more_for_eight() -> None:
    """And one for each line that the scan may have had to find alone."""
    for data, max_frame_bytes, calls in [
        (b"\n" * 7, 1000, 1),
        (b"\n" * 17, 1000, 3),
        (b"1234567\n" * 3, 8, 1 + 3),  # 24 bytes: as many as three lines, no more than six steps
        (b"1234567\n" * 9, 16, 1 + 1 + 9),
        (b"1234567\n" * 9, 40, 1 + 1 + 3),
    ]:
        found = LINE.answer_many(bytes, memoryview(data), [], max_frame_bytes)
        assert found == (data, calls, data.count(b"\n"))


def test_as_many_reply_lines_as_lines_pass_and_one_more_is_refused() -> None:
    """With both numbers, and what to do instead."""
    LINE.check_many(b"a\nb\n", 2)
    with pytest.raises(ProcessorError) as caught:
        LINE.check_many(b"a\nb\n", 1)
    assert str(caught.value) == (
        "process_lines answered 1 lines with 2; the replies would be taken for those to other "
        "lines; answer each with one at most"
    )


def test_longest_line_end_has_two_bytes() -> None:
    """That is what a line may take beside its payload."""
    assert LINE.overhead_bytes(1000) == max(map(len, LINE.tails)) == 2


def test_scan_stops_after_its_steps_and_says_so() -> None:
    """The rest is found by the next scan; what is no longer than a line needs no step."""
    data = memoryview(b"1234567\n" * 3)
    assert LINE.scan(data, 8, 1) == Scan(8, [], None, True)
    assert LINE.scan(data[8:], 8, 1) == Scan(16, [], None, False)
    assert LINE.scan(data, 8, 2) == Scan(24, [], None, False)
