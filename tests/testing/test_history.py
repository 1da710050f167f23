"""history: right output passes however it is split; every fault is found and reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import LocalError
from asyncrev.testing.history import History, HistoryError, Transform
from asyncrev.testing.streams import ALPHABET, Stream
from tests.histories import BYTEWISE, FOREIGN, OWN, error_of, feed, shout, splits
from tests.support import flipped

transforms = st.sampled_from(BYTEWISE)


@given(transforms, st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300))), splits)
def test_right_history_passes_however_it_is_split(
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
    pieces=splits,
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
