"""What a grammar of frames is: where frames begin and end in bytes, and how replies are framed.

A grammar keeps no state and waits for nothing: callers bring bytes, and `scan` returns which of
them are whole frames. What is left over is the beginning of a frame; the caller keeps it, and asks
with each later chunk how many bytes of it are `missing`.

What the peer did wrong is an error of what comes after the frames before it. So `scan` returns
the error instead of raising it, and the frames before are answered first.

Whatever uses frames (framer, taps, limits, `asyncrev.testing`) uses a `Grammar`, and none of them
knows a particular one: another grammar is one more file, with one class.
"""

import abc
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from asyncrev.errors import IncompleteFrame, ProcessorError, RemoteError

__all__ = [
    "CALLS_PER_RUN",
    "UNBOUNDED_AT_ONCE_BYTES",
    "UNBOUNDED_STEPS",
    "Grammar",
    "OpenEnd",
    "Run",
    "Scan",
]

UNBOUNDED_STEPS = sys.maxsize
UNBOUNDED_AT_ONCE_BYTES = 1 << 62

# Frames of 0 and 1 bytes in turn: 1 us each; 4 and 5 equal ones in turn: 4 us.
CALLS_PER_RUN = 2


class Run(NamedTuple):
    """Frames of equal length, one directly after another.

    Attributes:
        start_off: where the payload of the first one begins.
        payload_bytes: length of each payload; the next one begins this and the bytes between two
            payloads further.
        frames: how many.
    """

    start_off: int
    payload_bytes: int
    frames: int


class Scan(NamedTuple):
    """What `Grammar.scan` found.

    Attributes:
        consumed_bytes: length of the whole frames at the front.
        runs: those frames, in order; empty if the grammar has no use for runs, as lines have none.
        error: why what follows them cannot become a frame; None when it can.
        stopped: whether the scan stopped because of `most_steps`, so more whole frames may follow.
            It never does before the first frame.
    """

    consumed_bytes: int
    runs: list[Run]
    error: RemoteError | None
    stopped: bool = False


class OpenEnd(NamedTuple):
    """An unfinished frame that the end of input finishes; offsets are of what was kept of it.

    Attributes:
        start_off: where its payload begins.
        end_off: where its payload ends.
        separator: what must follow the reply, which is sent as it is, if another frame follows.
    """

    start_off: int
    end_off: int
    separator: bytes


class Grammar(abc.ABC):
    r"""Base class of grammars; an object of one is shared by all connections.

    Every method may be called by any thread, at any time, and keeps nothing of its arguments, which
    are valid until it returns. The worker calls them for each chunk: they must not wait. Buffers
    are memoryviews with one dimension, contiguous, of format "B"; offsets and lengths count bytes.

    Attributes:
        name: what users call it, in settings, messages and log lines.
        tails: what may stand behind a payload on the wire; the first one is sent where there is no
            frame to take it from.
        forbidden_byte: a byte that no payload may contain, or None if any payload may be sent.
        forbidden_name: what messages call that byte.
        method_name: the processor's method that takes many whole frames at once (see
            `answer_many`), or "" if there is no such method.
        trust_name: the attribute with which a processor promises that the replies of that method
            need no `check_many`, or "" if there is nothing to check.
        most_at_once_bytes: the most that this method gets at once, but for one frame.
    """

    __slots__ = ()

    name: str
    tails: tuple[bytes, ...] = (b"",)
    forbidden_byte: int | None = None
    forbidden_name = ""
    method_name = ""
    trust_name = ""
    most_at_once_bytes = UNBOUNDED_AT_ONCE_BYTES

    # -- input -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def scan(
        self, data: memoryview, max_frame_bytes: int, most_steps: int = UNBOUNDED_STEPS
    ) -> Scan:
        """Find the whole frames at the front of `data`.

        `data`: what comes after a whole frame, of any length. `max_frame_bytes`: the longest
        payload that is allowed. It takes at most `most_steps` steps, each of which takes bounded
        time and finds at least one frame, if there is one, and at most one run. Arguments and
        result are a buffer, numbers and tuples of numbers, so this may as well be compiled.

        It must find the same frames however the bytes are split, and refuse what cannot become a
        frame as soon as that is certain, with an error of the peer's (a `RemoteError`).
        """

    @abc.abstractmethod
    def missing(
        self, held: memoryview, chunk: memoryview, max_frame_bytes: int
    ) -> tuple[int, bool]:
        """Return how many bytes of `chunk` belong to the frame begun, and whether they end it.

        `held`: the beginning of one frame, at least a byte, not whole. `chunk`: what comes next, at
        least a byte. Time should not grow with `held`: a peer may send byte by byte.

        Raises:
            RemoteError: this cannot become a frame, or one longer than `max_frame_bytes`.
        """

    def check_open(self, held: memoryview, max_frame_bytes: int) -> None:  # noqa: B027
        """Look at an unfinished frame when more has been added; by default do nothing.

        For a grammar in which `scan` and `missing` leave something to look at.

        Raises:
            RemoteError: as `missing`.
        """

    @abc.abstractmethod
    def spans(self, data: memoryview, runs: Sequence[Run]) -> Iterator[tuple[int, int, int]]:
        """Yield where each frame's payload begins, where that ends, and where the frame ends.

        `data`: whole frames; `runs`: those that `scan` found in them. Payloads may be changed
        while this runs, to others of the same length.
        """

    def end_open(self, held: memoryview, max_frame_bytes: int) -> OpenEnd:
        """Return what an unfinished frame is when the input ends; by default an error.

        `held`: all of it, at least a byte.

        Raises:
            IncompleteFrame: it has to be finished. The message says how much had come.
            RemoteError: it is finished, but not allowed.
        """
        raise IncompleteFrame(
            f"the input ended within a frame: {len(held)} bytes of a {self.name} frame had come"
        )

    @abc.abstractmethod
    def overhead_bytes(self, max_frame_bytes: int) -> int:
        """Return the most that a frame has beside its payload of at most `max_frame_bytes`."""

    # -- replies -----------------------------------------------------------------------------------

    @abc.abstractmethod
    def encode_into(
        self, replies: bytearray, payload: bytes | memoryview, tail: bytes | memoryview
    ) -> None:
        """Append `payload` to `replies`, as a frame.

        `tail`: what stands behind the payload of the frame that is answered, else the first of
        `tails`; a grammar with a choice of them answers with the same. Nothing may have been
        appended if this raises.

        Raises:
            ProcessorError: no frame can have this payload; the message says why.
        """

    def encode(self, payload: bytes | memoryview, tail: bytes | None = None) -> bytes:
        """Return `payload` as one frame; `tail` is by default the first of `tails`.

        Raises:
            ProcessorError: as `encode_into`.
        """
        frame = bytearray()
        self.encode_into(frame, payload, self.tails[0] if tail is None else tail)
        return bytes(frame)

    def forbidden(self, payload: bytes | memoryview) -> ProcessorError:
        """Return the error about a reply that contains `forbidden_byte`."""
        return ProcessorError(
            f"a reply to a {self.name} frame contains {self.forbidden_name}; no payload may"
        )

    # -- many frames at once -----------------------------------------------------------------------

    def answer_many(
        self, method: Any, data: memoryview, runs: Sequence[Run], max_frame_bytes: int
    ) -> tuple[object, int, int]:
        """Have a processor's method for many frames answer all of `data`.

        Thread: worker. `method`: the bound method `method_name`. `data`, `runs`: as for `spans`.
        Returns what the method returned, which must be whole frames; how many calls with one
        frame this cost about as much as; and a number for `check_many`.

        Raises:
            Exception: what the method raises.
        """
        raise NotImplementedError(f"{self.name} frames have no method for many at once")

    def check_many(self, replies: bytes | memoryview, number: int) -> None:  # noqa: B027
        """Check what the method returned; `number` is from `answer_many`. Thread: worker.

        Raises:
            ProcessorError: it would be taken for something else.
        """

    def has_payload(self, data: memoryview, runs: Sequence[Run], payload: bytes) -> bool:
        """Return whether one of the whole frames in `data` has exactly this payload."""
        return any(data[start:end] == payload for start, end, _ in self.spans(data, runs))
