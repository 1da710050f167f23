"""Hypothesis strategies for what networks, kernels and peers may do to a stream of bytes.

All of them shrink towards the simplest case: one piece, a kernel that takes everything, a peer that
sends, half-closes and reads.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "asyncrev.testing.strategies and .checks need Hypothesis: pip install 'asyncrev[testing]'"
    ) from error

from asyncrev.errors import ProcessorError, SettingsError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import as_framing
from asyncrev.testing.peers import (
    Close,
    HalfClose,
    PeerStep,
    Receive,
    Reset,
    Script,
    Send,
    Stall,
)
from asyncrev.testing.transports import Schedule, split

__all__ = [
    "Frame",
    "chunkings",
    "frame_borders",
    "frames",
    "lengths",
    "payloads",
    "peer_scripts",
    "wire_frame",
    "write_schedules",
]

Borders = Sequence[int] | Callable[[bytes], Sequence[int]]

_MOST_SPLITS = 20
_MOST_PIECES = 500  # data up to this long may be split into single bytes; the rest is one piece
_MOST_STEPS = 12
_MOST_PAUSE_S = 0.005
_UNBOUNDED_BYTES = 1 << 62


# -- pieces ----------------------------------------------------------------------------------------


def lengths(most_bytes: int, most_pieces: int = _MOST_SPLITS) -> st.SearchStrategy[list[int]]:
    """Generate lengths of up to `most_pieces` pieces, each 1 to `most_bytes`; see `split`."""
    return st.lists(st.integers(1, most_bytes), max_size=most_pieces)


@st.composite
def chunkings(
    draw: st.DrawFn,
    data: bytes | st.SearchStrategy[bytes],
    *,
    most_bytes: int | None = None,
    borders: Borders = (),
) -> list[bytes]:
    """Generate pieces of `data`, as a network may split it: non-empty, and together `data`.

    Examples have a few splits anywhere, runs of pieces of equal length (down to single bytes), or
    splits at borders and next to them.

    Args:
        draw: passed by Hypothesis.
        data: the bytes, or a strategy for them.
        most_bytes: length of the longest piece; None for no limit.
        borders: offsets near which splits are likely to find errors, or a function from `data` to
            such offsets, such as the one that `frame_borders("len32")` returns.
    """
    drawn = data if isinstance(data, bytes) else draw(data)
    found = sorted(borders(drawn) if callable(borders) else borders)
    longest_bytes = max(1, min(len(drawn), most_bytes or len(drawn)))
    if not found or draw(st.booleans()):
        # Times are drawn before lengths, so that Hypothesis shrinks three pieces of one byte to one
        # piece of three.
        runs = st.tuples(
            st.one_of(st.just(1), st.integers(1, _MOST_PIECES)), st.integers(1, longest_bytes)
        )
        drawn_runs = draw(st.lists(runs, max_size=_MOST_SPLITS))
        pattern = [nbytes for times, nbytes in drawn_runs for _ in range(times)]
        pieces = split(drawn, pattern[:_MOST_PIECES])
    else:
        near = st.tuples(st.sampled_from(found), st.sampled_from((0, 1, -1, 2, -2, 3, -3)))
        near_splits = draw(st.lists(near, max_size=_MOST_SPLITS))
        offs = sorted({max(0, border + delta) for border, delta in near_splits})
        pieces = split(drawn, [end - start for start, end in itertools.pairwise([0, *offs])])
    if most_bytes is None:
        return pieces
    return [part for piece in pieces for part in split(piece, [most_bytes] * len(piece))]


# -- what a kernel takes ---------------------------------------------------------------------------


def write_schedules(
    most_bytes: int = 64, *, errors: Sequence[type[OSError]] = ()
) -> st.SearchStrategy[Schedule]:
    """Generate how much a kernel takes of each of a series of sends; see `ScriptedTransport`.

    A step is None for everything, a number for at most that many bytes, or 0 for "would block".
    Whole runs of 0, and of one byte at a time, are likely. What happens after the last step is up
    to the code that follows the schedule.

    Args:
        most_bytes: the most that a partial send takes.
        errors: exception classes; at most half of the schedules end with one, as if the peer had
            gone.
    """
    partial = st.integers(1, most_bytes)
    runs = st.one_of(
        st.just([None]),
        partial.map(lambda nbytes: [nbytes]),
        st.integers(1, 8).map(lambda times: [0] * times),
        st.integers(1, 8).map(lambda times: [1] * times),
        st.tuples(partial, st.integers(1, 4)).map(lambda pair: [pair[0], 0] * pair[1]),
    )
    schedules: st.SearchStrategy[Schedule] = st.lists(runs, max_size=_MOST_STEPS).map(
        lambda drawn: [step for run in drawn for step in run]
    )
    if not errors:
        return schedules
    ends: st.SearchStrategy[Schedule] = st.one_of(
        st.just([]), st.sampled_from(errors).map(lambda error: [error])
    )
    return st.tuples(schedules, ends).map(lambda pair: [*pair[0], *pair[1]])


# -- peers -----------------------------------------------------------------------------------------


@st.composite
def peer_scripts(
    draw: st.DrawFn,
    data: bytes | st.SearchStrategy[bytes],
    *,
    reply_bytes: Callable[[bytes], int] = len,
    may_break: bool = True,
    borders: Borders = (),
) -> Script:
    """Generate the actions of a peer that sends `data`; see `asyncrev.testing.peers.play`.

    The peer sends pieces and, in between, receives some of its replies or stalls, in any order. At
    the end it half-closes and reads the rest; with `may_break` it may instead reset or close at any
    moment.

    Args:
        draw: passed by Hypothesis.
        data: what the peer sends, or a strategy for it; a peer that breaks sends a prefix of it.
        reply_bytes: maps the bytes sent so far to the number of reply bytes that the peer may wait
            for; by default that is their length. A smaller number is allowed; with a larger one the
            peer waits in vain.
        may_break: whether it may reset or close instead of half-closing.
        borders: see `chunkings`.
    """
    drawn = data if isinstance(data, bytes) else draw(data)
    pieces = draw(chunkings(drawn, borders=borders))
    ends: list[PeerStep] = [HalfClose(), Close(), Reset()] if may_break else [HalfClose()]
    last = draw(st.sampled_from(ends))
    if not isinstance(last, HalfClose):
        pieces = pieces[: draw(st.integers(0, len(pieces)))]
    script: Script = []
    sent, owed_bytes = b"", 0
    for piece in [*pieces, None]:
        between = draw(st.sampled_from(("nothing", "receive", "stall")))
        if between == "stall":
            script.append(Stall(draw(st.floats(0.0, _MOST_PAUSE_S))))
        elif between == "receive" and owed_bytes > 0:
            nbytes = draw(st.integers(1, owed_bytes))
            owed_bytes -= nbytes
            script.append(Receive(nbytes))
        if piece is not None:
            script.append(Send(piece))
            owed_bytes += reply_bytes(sent + piece) - reply_bytes(sent)
            sent += piece
    return [*script, last]


# -- frames ----------------------------------------------------------------------------------------


class Frame(NamedTuple):
    """One message as a frame.

    Attributes:
        payload: what a processor gets.
        wire: the frame as it is sent.
    """

    payload: bytes
    wire: bytes


# What code that looks in the wrong place could take for a line end or a length prefix.
_TRAPS = (
    b"",
    b"a\rb",
    b"\r\rx",
    b"\x00",
    b"\xff" * 9,
    b"0123456789",
    b"\r",
    b"\n",
    b"\r\n",
    bytes(3),
    bytes(8),
    b"\0\0\0\1",
    b"\0\0\0\4ab",
)


def payloads(framing: str | Grammar, most_bytes: int = 40) -> st.SearchStrategy[bytes]:
    r"""Generate payloads that `framing` can send: "line", "len32", "len64" or a `Grammar`.

    Among them are empty payloads, payloads of equal length, and payloads that contain what looks
    like a line end or a prefix. The payload of a line has no "\n", and no "\r" as its last byte,
    which would belong to the line end.

    Raises:
        SettingsError: there is no such framing, or it is "raw", which has no payloads.
    """
    grammar = _grammar(framing)
    anything = sendable(grammar, st.binary(max_size=most_bytes))
    traps = [trap for trap in _TRAPS if len(trap) <= most_bytes and _arrives(grammar, trap)]
    equal = st.integers(0, most_bytes).map(lambda nbytes: b"a" * nbytes)
    return st.one_of(anything, st.sampled_from(traps), equal)


def sendable(grammar: Grammar, drawn: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Keep what of `drawn` can be sent as one frame, without the byte that no payload may have."""
    if grammar.forbidden_byte is not None:
        forbidden = bytes([grammar.forbidden_byte])
        drawn = drawn.map(lambda payload: payload.replace(forbidden, b""))
    return drawn.filter(lambda payload: _arrives(grammar, payload))


def _arrives(grammar: Grammar, payload: bytes) -> bool:
    """Return whether a frame made from `payload` is parsed to `payload` again."""
    try:
        frame = memoryview(grammar.encode(payload))
    except ProcessorError:
        return False
    runs = grammar.scan(frame, len(payload)).runs
    return [frame[start:end] for start, end, _ in grammar.spans(frame, runs)] == [payload]


def frames(
    framing: str | Grammar,
    most_bytes: int = 40,
    *,
    most_frames: int = 12,
    line_ends: Sequence[bytes] | None = None,
) -> st.SearchStrategy[list[Frame]]:
    r"""Generate lists of frames with `payloads`.

    The stream is `b"".join(frame.wire for frame in drawn)`.

    `line_ends`: which of the grammar's `tails` to use; by default all, which for "line" are "\n"
    and "\r\n".

    Raises:
        SettingsError: as `payloads`.
    """
    grammar = _grammar(framing)
    one = st.builds(
        lambda payload, end: Frame(payload, grammar.encode(payload, end)),
        payloads(grammar, most_bytes),
        st.sampled_from(grammar.tails if line_ends is None else line_ends),
    )
    return st.lists(one, max_size=most_frames)


def wire_frame(framing: str | Grammar, payload: bytes, line_end: bytes | None = None) -> bytes:
    r"""Return `payload` as one frame, as a client sends it; `line_end` is for "line" only.

    Raises:
        SettingsError: as `payloads`.
    """
    return _grammar(framing).encode(payload, line_end)


def frame_borders(framing: str | Grammar) -> Callable[[bytes], list[int]]:
    """Return a function that returns where the frames of a stream and their payloads begin and end.

    Raises:
        SettingsError: as `payloads`.
    """
    return functools.partial(_borders, _grammar(framing))


def _borders(grammar: Grammar, data: bytes) -> list[int]:
    view = memoryview(data)
    scan = grammar.scan(view, _UNBOUNDED_BYTES)
    spans = grammar.spans(view[: scan.consumed_bytes], scan.runs)
    return sorted({off for span in spans for off in span})


def _grammar(framing: str | Grammar) -> Grammar:
    grammar = as_framing(framing)
    if grammar is None:
        raise SettingsError("framing is 'raw', which has no frames; it must be line, len32, len64")
    return grammar
