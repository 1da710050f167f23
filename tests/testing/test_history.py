"""Histories: right ones pass however they are aborted, and every fault is found and told."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Reverse
from asyncrev.errors import LocalError
from asyncrev.testing.history import FrameHistory, History, HistoryError, Stream
from asyncrev.testing.streams import ALPHABET
from tests.support import flipped

Transform = Callable[[bytes], bytes]

OWN, FOREIGN = 7, 0xABCDE


def reverse(payload: bytes) -> bytes:
    """Answer as the processor that comes with asyncrev does."""
    return bytes(Reverse().process(memoryview(bytearray(payload))))


def shout(payload: bytes) -> bytes:
    """Answer with more than was asked."""
    return payload.upper() + b"!"


BYTEWISE: list[Transform] = [bytes, flipped, bytes.swapcase, bytes.upper]
FRAMEWISE: list[Transform] = [bytes, flipped, reverse, shout]

cuts = st.lists(st.integers(1, 200), max_size=20)


def feed(history: History, data: bytes, pieces: list[int]) -> None:
    """Give `data` in pieces of these lengths, then the rest at once."""
    off = 0
    for nbytes in pieces:
        history.received(data[off : off + nbytes])
        off += nbytes
    history.received(data[off:])


def error_of(history: History, data: bytes, pieces: list[int]) -> HistoryError:
    """Return what the history finds wrong with `data`, at the latest at the end."""
    with pytest.raises(HistoryError) as caught:
        feed_all(history, data, pieces)
    assert caught.value.connection_id == history.stream.connection_id
    return caught.value


def feed_all(history: History, data: bytes, pieces: list[int]) -> None:
    """Give `data`, and say that this is all."""
    feed(history, data, pieces)
    history.finish(complete=True)


# -- raw ---------------------------------------------------------------------------------------

transforms = st.sampled_from(BYTEWISE)


@given(transforms, st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300))), cuts)
def test_right_history_passes_however_it_is_cut(
    transform: Transform, steps: list[tuple[int, int]], pieces: list[int]
) -> None:
    """Bytes are taken, some given back as not sent, and the answers come at any time."""
    history = History(OWN, transform)
    sent, came = bytearray(), 0
    for taken, nbytes in steps:
        data = history.take(taken)
        kept = taken - min(taken, nbytes // 3)
        history.give_back(taken - kept)
        sent += data[:kept]
        answer = transform(bytes(sent[came : came + nbytes]))
        feed(history, answer, pieces)
        came += len(answer)
        assert history.owed_bytes == len(sent) - came
    history.finish(complete=False)
    feed(history, transform(bytes(sent[came:])), pieces)
    history.finish(complete=True)
    assert history.received_bytes == history.sent_bytes == len(sent)


faulty = given(
    transform=transforms,
    start=st.integers(1, 5000),
    nbytes=st.integers(48, 300),
    other=st.integers(0, 5000),
    pieces=cuts,
)


def sent_history(transform: Transform) -> tuple[History, bytes]:
    """Return a history of 6,000 bytes, and the right answer to them."""
    history = History(OWN, transform)
    return history, transform(history.take(6000))


@faulty
def test_foreign_bytes_are_told_with_their_owner(
    transform: Transform, start: int, nbytes: int, other: int, pieces: list[int]
) -> None:
    """In the place of bytes of one's own; the offset told is where they are in that stream."""
    history, right = sent_history(transform)
    foreign = transform(Stream(FOREIGN).bytes_at(other, nbytes))
    error = error_of(history, right[:start] + foreign + right[start + nbytes :], pieces)
    assert error.fault == "crossed"
    offset = other + error.offset - start
    assert f"these are bytes of connection {FOREIGN} at offset {offset}\n" in str(error)
    assert start <= error.offset < start + 16
    assert error.actual.startswith(foreign[error.offset - start :][:16])
    assert error.expected.startswith(right[error.offset :][:16])


@faulty
def test_repeated_bytes_are_told_with_their_offset(
    transform: Transform, start: int, nbytes: int, other: int, pieces: list[int]
) -> None:
    """What follows goes on from an offset that was passed already."""
    back_bytes = 1 + other % start
    history, right = sent_history(transform)
    error = error_of(history, right[:start] + right[start - back_bytes :], pieces)
    assert error.fault == "doubled"
    offset = error.offset - back_bytes
    assert f"repeated from offset {offset}, where {error.offset} was expected" in str(error)
    assert start <= error.offset < start + 16


@faulty
def test_missing_bytes_are_told_with_their_range(
    transform: Transform, start: int, nbytes: int, other: int, pieces: list[int]
) -> None:
    """Few or many; what follows goes on from further on."""
    missing_bytes = 1 + other % 900
    history, right = sent_history(transform)
    error = error_of(history, right[:start] + right[start + missing_bytes :], pieces)
    assert error.fault == "lost"
    assert f"bytes {error.offset} to {error.offset + missing_bytes} are missing" in str(error)
    assert start <= error.offset < start + 16


@faulty
def test_missing_end_is_told(
    transform: Transform, start: int, nbytes: int, other: int, pieces: list[int]
) -> None:
    """It is a fault if everything had to come, and else not."""
    history, right = sent_history(transform)
    feed(history, right[:start], pieces)
    history.finish(complete=False)
    error = error_of(history, b"", [])
    assert (error.fault, error.offset, error.actual) == ("lost", start, b"")
    assert f"bytes {start} to 6000 of the stream are missing" in str(error)


@faulty
def test_exchanged_bytes_are_told(
    transform: Transform, start: int, nbytes: int, other: int, pieces: list[int]
) -> None:
    """As such if they came in one piece; else the first of them seem to be lost at first."""
    end, far = start + nbytes, start + 2 * nbytes
    history, right = sent_history(transform)
    wrong = right[:start] + right[end:far] + right[start:end] + right[far:]
    assert error_of(history, wrong, pieces).fault in ("reordered", "lost")
    history, right = sent_history(transform)
    error = error_of(history, wrong, [])
    assert error.fault == "reordered"
    assert f"bytes {error.offset} to {error.offset + nbytes} came after later ones" in str(error)


@faulty
def test_changed_byte_is_reported_as_of_no_stream(
    transform: Transform, start: int, nbytes: int, other: int, pieces: list[int]
) -> None:
    """It is not taken for another connection's, whatever digit it became."""
    history, right = sent_history(transform)
    byte = transform(ALPHABET)[other % len(ALPHABET)]
    wrong = bytearray(right)
    wrong[start] = byte if byte != right[start] else byte ^ 0x80
    error = error_of(history, bytes(wrong), pieces)
    assert (error.fault, error.offset) == ("changed", start)
    assert "bytes of no stream" in str(error)


def test_bytes_of_no_stream_before_foreign_ones_are_reported() -> None:
    """What follows them does not tell whose they are."""
    history, right = sent_history(flipped)
    error = error_of(
        history, right[:100] + bytes(10) + flipped(Stream(FOREIGN).bytes_at(32, 90)), []
    )
    assert (error.fault, error.offset) == ("changed", 100)
    then = f"bytes of no stream, followed by those of connection {FOREIGN} at offset 32"
    assert then in str(error)


def test_bytes_beyond_everything_sent_are_told() -> None:
    """Whether they are a repetition or nobody's."""
    history, right = sent_history(flipped)
    error = error_of(history, right + right[:100], [])
    assert (error.fault, error.offset) == ("doubled", 6000)
    history, right = sent_history(flipped)
    error = error_of(history, right + b"x", [])
    assert (error.fault, error.expected, error.actual) == ("changed", b"", b"x")
    assert "everything that was sent is answered" in str(error)


def test_wrong_byte_is_told_with_64_bytes_or_at_the_end() -> None:
    """No later, whatever comes; and a history with an error stays so."""
    history, right = sent_history(bytes)
    history.received(right[:100])
    assert not history.in_doubt
    history.received(b"?" + right[101:163])
    assert history.in_doubt
    with pytest.raises(HistoryError, match="connection 7, offset 100: changed"):
        history.received(right[163:164])
    with pytest.raises(HistoryError, match="offset 100"):
        history.received(right[164:])
    history, right = sent_history(bytes)
    history.received(b"?")
    with pytest.raises(HistoryError, match="offset 0: changed"):
        history.finish(complete=False)


def test_more_given_back_than_taken_is_refused() -> None:
    """What was answered has been sent."""
    history = History(OWN)
    history.received(history.take(100)[:60])
    history.give_back(40)
    with pytest.raises(LocalError, match="1 bytes were given back; from 0 to 0 are not answered"):
        history.give_back(1)


def test_transform_that_changes_the_length_is_refused() -> None:
    """It needs frames, or nobody knows where a reply ends."""
    history = History(OWN, shout)
    history.take(10)
    with pytest.raises(LocalError, match="it must answer as many"):
        history.received(b"#")


# -- frames ------------------------------------------------------------------------------------

framings = st.sampled_from(["line", "len32", "len64"])
frame_transforms = st.sampled_from(FRAMEWISE)
PREFIX_BYTES = {"line": 0, "len32": 4, "len64": 8}


def frame(framing: str, payload: bytes) -> bytes:
    """Return `payload` as a frame."""
    if framing == "line":
        return payload + b"\n"
    return len(payload).to_bytes(PREFIX_BYTES[framing], "big") + payload


def answers(
    history: FrameHistory, transform: Transform, framing: str, lengths: list[int]
) -> list[bytes]:
    """Send frames of these lengths; return the right answers."""
    prefix_bytes = PREFIX_BYTES[framing]
    sent = [history.take(nbytes) for nbytes in lengths]
    payloads = [data[prefix_bytes:][:n] for data, n in zip(sent, lengths, strict=True)]
    assert sent == [frame(framing, payload) for payload in payloads]
    return [frame(framing, transform(payload)) for payload in payloads]


@given(framings, frame_transforms, st.lists(st.integers(0, 600), max_size=12), cuts)
def test_right_frames_pass_however_they_are_cut(
    framing: str, transform: Transform, lengths: list[int], pieces: list[int]
) -> None:
    """Each is a payload of its own, answered by its transform."""
    history = FrameHistory(OWN, transform, framing)
    right = b"".join(answers(history, transform, framing, lengths))
    assert history.owed_frames == len(lengths)
    feed(history, right, pieces)
    history.finish(complete=True)
    assert (history.answered_frames, history.owed_frames) == (len(lengths), 0)
    assert history.received_bytes == len(right)


def test_payloads_are_the_stream_each_from_a_record_on() -> None:
    """So that one of 16 bytes tells whose it is, whatever came before."""
    history = FrameHistory(OWN, bytes, "line")
    assert [history.take(nbytes) for nbytes in (20, 0, 16, 1)] == [
        Stream(OWN).bytes_at(offset, nbytes) + b"\n"
        for offset, nbytes in [(0, 20), (32, 0), (32, 16), (48, 1)]
    ]
    assert (history.sent_bytes, history.owed_bytes) == (64, 64)


def test_frames_without_a_reply_are_answered_by_none() -> None:
    """Nothing is owed for them, at the end neither."""
    history = FrameHistory(OWN, lambda payload: None if len(payload) == 20 else payload, "line")
    sent = [history.take(nbytes) for nbytes in (20, 30, 20)]
    history.received(sent[1])
    history.finish(complete=True)
    assert history.answered_frames == 3


faulty_frames = given(
    framing=framings,
    transform=frame_transforms,
    lengths=st.lists(st.integers(16, 300), min_size=4, max_size=10),
    which=st.integers(0, 10_000),
    pieces=cuts,
)


@faulty_frames
def test_foreign_frame_is_told_with_its_owner(
    framing: str, transform: Transform, lengths: list[int], which: int, pieces: list[int]
) -> None:
    """In the place of one of one's own, or in front of it."""
    history = FrameHistory(OWN, transform, framing)
    wrong = answers(history, transform, framing, lengths)
    other = FrameHistory(FOREIGN, transform, framing)
    foreign = answers(other, transform, framing, lengths[::-1])
    place, replaced = which % len(lengths), which % 2
    wrong[place : place + replaced] = [foreign[which % 3]]
    error = error_of(history, b"".join(wrong), pieces)
    assert error.fault == "crossed"
    assert f"these are bytes of connection {FOREIGN} at offset " in str(error)


@faulty_frames
def test_missing_repeated_and_exchanged_frames_are_told(
    framing: str, transform: Transform, lengths: list[int], which: int, pieces: list[int]
) -> None:
    """Each as what it is; exchanged ones as such if they came in one piece."""
    place = which % (len(lengths) - 1)
    starts = list(itertools.accumulate((-(-n // 16) * 16 for n in lengths), initial=0))
    for fault in ("lost", "doubled", "reordered"):
        history = FrameHistory(OWN, transform, framing)
        wrong = answers(history, transform, framing, lengths)
        if fault == "lost":
            del wrong[place]
        elif fault == "doubled":
            wrong.insert(place + 1, wrong[which % (place + 1)])
        else:
            wrong[place : place + 2] = wrong[place + 1], wrong[place]
        error = error_of(history, b"".join(wrong), [] if fault == "reordered" else pieces)
        assert error.fault == fault
        if fault == "doubled":
            assert f", where {starts[place + 1]} was expected" in str(error)
        else:
            assert f"bytes {starts[place]} to " in str(error)


@faulty_frames
def test_changed_byte_of_a_frame_is_told(
    framing: str, transform: Transform, lengths: list[int], which: int, pieces: list[int]
) -> None:
    """Wherever it is, the prefix included, it is found, and is nobody's."""
    history = FrameHistory(OWN, transform, framing)
    wrong = bytearray(b"".join(answers(history, transform, framing, lengths)))
    off = which % len(wrong)
    wrong[off] ^= 0x80
    error = error_of(history, bytes(wrong), pieces)
    assert (error.fault, error.offset) == ("changed", off)


def test_frames_missing_at_the_end_are_told() -> None:
    """With their range, from the first one that is not whole."""
    history = FrameHistory(OWN, reverse, "len32")
    right = answers(history, reverse, "len32", [20, 40, 5])
    history.received(right[0] + right[1][:-1])
    history.finish(complete=False)
    error = error_of(history, b"", [])
    assert (error.fault, error.offset) == ("lost", 24 + 43)
    assert "bytes 32 to 96 of the stream are missing" in str(error)


def test_settings_of_frames_are_checked() -> None:
    """An unknown framing; a frame that was begun and is not to be sent."""
    with pytest.raises(LocalError, match="framing is 'raw'; it must be one of line, len32, len64"):
        FrameHistory(OWN, reverse, "raw")
    with pytest.raises(LocalError, match="10 bytes of a frame were given back"):
        FrameHistory(OWN, reverse, "line").give_back(10)
