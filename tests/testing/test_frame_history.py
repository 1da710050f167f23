"""frame_history: right replies pass however they are split; every fault is found and reported."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import LocalError
from asyncrev.testing.frame_history import FrameHistory
from asyncrev.testing.history import Transform
from asyncrev.testing.streams import Stream
from tests.framed import PREFIX_BYTES, framed
from tests.histories import FOREIGN, FRAMEWISE, OWN, error_of, feed, reverse, splits

framings = st.sampled_from(["line", "len32", "len64"])
frame_transforms = st.sampled_from(FRAMEWISE)


def answers(
    history: FrameHistory, transform: Transform, framing: str, lengths: list[int]
) -> list[bytes]:
    """Send frames of these lengths; return the right answers."""
    prefix_bytes = PREFIX_BYTES.get(framing, 0)
    sent = [history.take(nbytes) for nbytes in lengths]
    payloads = [data[prefix_bytes:][:n] for data, n in zip(sent, lengths, strict=True)]
    assert sent == [framed(framing, payload) for payload in payloads]
    return [framed(framing, transform(payload)) for payload in payloads]


@given(framings, frame_transforms, st.lists(st.integers(0, 600), max_size=12), splits)
def test_right_frames_pass_however_they_are_split(
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
    pieces=splits,
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
