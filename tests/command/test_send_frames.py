"""send_frames: input to wire bytes, replies to output, whatever the pieces are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.command.send_frames import Frame, FrameReader, Input, Output, batches
from asyncrev.errors import RemoteError, SettingsError
from asyncrev.frames.registry import FRAMINGS


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return `data` split at some of the places."""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in itertools.pairwise(places)]


PAYLOADS = st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b and b"\r" not in b))
CUTS = st.lists(st.integers(0, 400))


@pytest.mark.parametrize("framing", sorted(FRAMINGS))
@given(payloads=PAYLOADS, cuts=CUTS)
def test_reader_finds_the_frames_of_any_pieces(
    framing: str, payloads: list[bytes], cuts: list[int]
) -> None:
    """In order, and none is left."""
    grammar = FRAMINGS[framing]
    reader = FrameReader(grammar)
    wire = b"".join(map(grammar.encode, payloads))
    found = [frame for piece in pieces(wire, cuts) for frame in reader.feed(piece)]
    assert found == [Frame(payload, grammar.tails[0]) for payload in payloads]
    assert reader.rest() == b""
    assert reader.open_payload() is None


@pytest.mark.parametrize("framing", ["len32", "len64"])
@given(payloads=PAYLOADS, cuts=CUTS)
def test_lines_of_input_are_frames_and_replies_are_lines(
    framing: str, payloads: list[bytes], cuts: list[int]
) -> None:
    """What a server echoes is the input again."""
    text = b"".join(payload + b"\n" for payload in payloads)
    made, shown = Input(framing), Output(framing)
    wire = b"".join(made.feed(piece) for piece in pieces(text, cuts)) + made.end()
    assert wire == b"".join(map(FRAMINGS[framing].encode, payloads))
    assert b"".join(shown.feed(piece) for piece in pieces(wire, cuts)) == text
    assert made.units == shown.units == len(payloads)


def test_last_line_without_its_end_is_a_frame() -> None:
    """An empty one is none."""
    made = Input("len32")
    assert made.feed(b"a\nbc") + made.end() == b"\0\0\0\1a\0\0\0\2bc"
    assert made.units == 2
    assert Input("len32").end() == b""


@pytest.mark.parametrize(
    ("framing", "wire", "units"),
    [("raw", b"a\nb", 3), ("line", b"a\nb\n", 2), ("len32", b"\0\0\0\3a\nb", 1)],
)
def test_data_given_whole(framing: str, wire: bytes, units: int) -> None:
    """One frame, or lines, the last of which gets an end."""
    made = Input(framing)
    assert made.payload(b"a\nb") == wire
    assert made.units == units
    assert Input("line").payload(b"a\r\n") == b"a\r\n"


def test_too_long_frames_are_errors() -> None:
    """Of the input by the user, of a reply by the server; the frames before are there."""
    reader = FrameReader(FRAMINGS["len32"], most_bytes=4)
    frames = reader.feed(b"\0\0\0\1a\0\0\0\5bcdef")
    assert next(frames).payload == b"a"
    with pytest.raises(RemoteError):
        next(frames)
    with pytest.raises(SettingsError, match="line of more than"):
        Input("len64").feed(bytes(16 * 2**20 + 1))
    with pytest.raises(RemoteError):
        Output("len32").feed(b"\xff\xff\xff\xff")


def test_held_part_of_a_frame_is_counted() -> None:
    """So that an end within a frame is seen."""
    shown = Output("len32")
    assert shown.feed(b"\0\0\0\3ab") == b""
    assert shown.incomplete_bytes() == 6
    assert shown.feed(b"c") == b"abc\n"
    assert shown.incomplete_bytes() == 0


@pytest.mark.parametrize("nbytes", [0, 1, 3, 65535, 65536, 200_000])
@pytest.mark.parametrize("times", [1, 2, 7])
def test_batches_are_the_data_so_many_times(nbytes: int, times: int) -> None:
    """In bounded pieces."""
    wire = bytes(i % 251 for i in range(nbytes))
    found = list(batches(wire, times))
    assert b"".join(found) == wire * times
    assert all(0 < len(piece) <= 65536 for piece in found)
