"""Hypothesis strategies: what networks, kernels and peers may do to a stream of bytes.

All of them shrink towards the plainest case: one piece, a kernel that takes everything, a peer that
sends, half-closes and reads.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "asyncrev.testing.strategies and .checks need Hypothesis: pip install 'asyncrev[testing]'"
    ) from error

from asyncrev.errors import SettingsError
from asyncrev.frames.lines import Lines
from asyncrev.frames.prefixed import prefixed_spans
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
from asyncrev.testing.transports import Schedule, cut

__all__ = [
    "Frame",
    "chunkings",
    "cut",
    "frame_borders",
    "frames",
    "lengths",
    "payloads",
    "peer_scripts",
    "wire_frame",
    "write_schedules",
]

Borders = Sequence[int] | Callable[[bytes], Sequence[int]]

_MOST_CUTS = 20
_MOST_PIECES = 500  # up to so many bytes are also cut one by one; behind them comes the rest
_MOST_STEPS = 12
_MOST_PAUSE_S = 0.005
_UNBOUNDED_BYTES = 1 << 62


# -- pieces ----------------------------------------------------------------------------------------


def lengths(most_bytes: int, most_pieces: int = _MOST_CUTS) -> st.SearchStrategy[list[int]]:
    """Lengths of up to `most_pieces` pieces, each from 1 to `most_bytes`; see `cut`."""
    return st.lists(st.integers(1, most_bytes), max_size=most_pieces)


@st.composite
def chunkings(
    draw: st.DrawFn,
    data: bytes | st.SearchStrategy[bytes],
    *,
    most_bytes: int | None = None,
    borders: Borders = (),
) -> list[bytes]:
    """Pieces of `data`, as a network may cut it: none is empty, and together they are `data`.

    Few cuts anywhere, runs of pieces of equal length (down to single bytes), or cuts at and next to
    borders.

    Args:
        draw: given by Hypothesis.
        data: the bytes, or a strategy of them.
        most_bytes: length of the longest piece; None for no limit.
        borders: offsets near which it is worth to cut, or a function from `data` to such offsets,
            as `frame_borders("len32")` returns one.
    """
    drawn = data if isinstance(data, bytes) else draw(data)
    found = sorted(borders(drawn) if callable(borders) else borders)
    longest_bytes = max(1, min(len(drawn), most_bytes or len(drawn)))
    if not found or draw(st.booleans()):
        # Times before lengths: so Hypothesis shrinks three pieces of a byte to one of three.
        runs = st.tuples(
            st.one_of(st.just(1), st.integers(1, _MOST_PIECES)), st.integers(1, longest_bytes)
        )
        drawn_runs = draw(st.lists(runs, max_size=_MOST_CUTS))
        pattern = [nbytes for times, nbytes in drawn_runs for _ in range(times)]
        pieces = cut(drawn, pattern[:_MOST_PIECES])
    else:
        near = st.tuples(st.sampled_from(found), st.sampled_from((0, 1, -1, 2, -2, 3, -3)))
        cuts = draw(st.lists(near, max_size=_MOST_CUTS))
        offs = sorted({max(0, border + delta) for border, delta in cuts})
        pieces = cut(drawn, [end - start for start, end in itertools.pairwise([0, *offs])])
    if most_bytes is None:
        return pieces
    return [part for piece in pieces for part in cut(piece, [most_bytes] * len(piece))]


# -- what a kernel takes ---------------------------------------------------------------------------


def write_schedules(
    most_bytes: int = 64, *, errors: Sequence[type[OSError]] = ()
) -> st.SearchStrategy[Schedule]:
    """What a kernel takes of one send after the other; see `ScriptedTransport`.

    A step is None for all of it, a number for at most so many bytes, or 0 for "would block". Whole
    runs of 0, and of one byte at a time, are likely. What comes behind the last step is up to who
    follows the schedule.

    Args:
        most_bytes: of a partial send.
        errors: with one of these at most every second schedule ends, as if the peer had gone.
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
    """What a peer does that sends `data`; see `asyncrev.testing.peers.play`.

    It sends in pieces, and receives some of its replies or stalls in between, in any order. In the
    end it half-closes and reads the rest, or, with `may_break`, resets or closes at any moment.

    Args:
        draw: given by Hypothesis.
        data: what it sends, or a strategy of it; of one that breaks, a beginning of it.
        reply_bytes: how many bytes of reply the peer may wait for once it has sent its argument;
            by default as many as it has sent. Less is allowed, more makes it wait in vain.
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
    """One message.

    Attributes:
        payload: what a processor gets.
        wire: what is sent.
    """

    payload: bytes
    wire: bytes


# What could be taken for a line end or a length prefix by code that looks in the wrong place.
_LINE_TRAPS = (b"", b"a\rb", b"\r\rx", b"\x00", b"\xff" * 9, b"0123456789")
_PREFIX_TRAPS = (
    *_LINE_TRAPS,
    b"\r",
    b"\n",
    b"\r\n",
    bytes(3),
    bytes(8),
    b"\0\0\0\1",
    b"\0\0\0\4ab",
)


def payloads(framing: str, most_bytes: int = 40) -> st.SearchStrategy[bytes]:
    r"""Payloads that can be sent with `framing`: "line", "len32" or "len64".

    Among them are empty ones, equally long ones, and such that hold what looks like a line end or
    a prefix. A line has no "\n", and no "\r" as its last byte, which would belong to its end.

    Raises:
        SettingsError: there is no such framing, or it is "raw", which has no payloads.
    """
    lines = _framing(framing) is not None and framing == "line"
    anything = st.binary(max_size=most_bytes)
    if lines:
        anything = anything.map(lambda drawn: drawn.replace(b"\n", b"\r").rstrip(b"\r"))
    traps = [trap for trap in (_LINE_TRAPS if lines else _PREFIX_TRAPS) if len(trap) <= most_bytes]
    equal = st.integers(0, most_bytes).map(lambda nbytes: b"a" * nbytes)
    return st.one_of(anything, st.sampled_from(traps), equal)


def frames(
    framing: str,
    most_bytes: int = 40,
    *,
    most_frames: int = 12,
    line_ends: Sequence[bytes] = (b"\n", b"\r\n"),
) -> st.SearchStrategy[list[Frame]]:
    """Lists of frames with `payloads`; the stream is `b"".join(frame.wire for frame in drawn)`.

    Raises:
        SettingsError: as `payloads`.
    """
    ends = st.sampled_from(line_ends) if framing == "line" else st.just(b"")
    one = st.builds(
        lambda payload, end: Frame(payload, wire_frame(framing, payload, end)),
        payloads(framing, most_bytes),
        ends,
    )
    return st.lists(one, max_size=most_frames)


def wire_frame(framing: str, payload: bytes, line_end: bytes = b"\n") -> bytes:
    r"""Return `payload` as one frame, as a client sends it; `line_end` is for "line" only.

    Raises:
        SettingsError: as `payloads`.
    """
    grammar = _framing(framing)
    if isinstance(grammar, Lines):
        return payload + line_end
    return bytes(grammar.wrap(len(payload)) + payload)


def frame_borders(framing: str) -> Callable[[bytes], list[int]]:
    """Return a function that tells where the frames of a stream, and their payloads, begin and end.

    Raises:
        SettingsError: as `payloads`.
    """
    return functools.partial(_borders, _framing(framing))


def _borders(grammar: Any, data: bytes) -> list[int]:
    view = memoryview(data)
    if isinstance(grammar, Lines):
        spans = list(grammar.spans(view))
    else:
        runs = grammar.scan(view, _UNBOUNDED_BYTES).runs
        spans = list(prefixed_spans(runs, grammar.prefix_bytes))
    return sorted({off for span in spans for off in span})


def _framing(name: str) -> Any:
    grammar = as_framing(name)
    if grammar is None:
        raise SettingsError("framing is 'raw', which has no frames; it must be line, len32, len64")
    return grammar
