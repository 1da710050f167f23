"""The base class of grammars: where frames begin and end in bytes, and how replies are framed.

A grammar keeps no state and never waits: callers pass bytes, and `scan` returns the whole frames at
their front. The rest is a partial frame; the caller keeps it, and with each later chunk asks for
the number of `missing` bytes.

An error of the peer does not affect the frames before it. So `scan` returns the error instead of
raising it, and these frames are answered first.

All users of frames (framer, taps, limits, `asyncrev.testing`) use only the methods of `Grammar`, so
another grammar is one more file with one class.
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

# Frames of 0 and 1 bytes alternately: 1 us each; 4 and 5 equal ones alternately: 4 us.
CALLS_PER_RUN = 2


class Run(NamedTuple):
    """Frames of equal length, one directly after another.

    Attributes:
        start_off: where the first payload begins.
        payload_bytes: length of each payload, without the bytes between two payloads.
        frames: how many frames there are.
    """

    start_off: int
    payload_bytes: int
    frames: int


class Scan(NamedTuple):
    """The result of `Grammar.scan`.

    Attributes:
        consumed_bytes: length of the whole frames at the front.
        runs: those frames, in order; empty if the grammar does not use runs, as for lines.
        error: why the bytes after them cannot become a frame, or None if they can.
        stopped: whether the scan stopped because of `most_steps`, so that more whole frames may
            follow. It never stops before the first frame.
    """

    consumed_bytes: int
    runs: list[Run]
    error: RemoteError | None
    stopped: bool = False


class OpenEnd(NamedTuple):
    """A partial frame that the end of input completes; offsets are in its kept bytes.

    Attributes:
        start_off: where its payload begins.
        end_off: where its payload ends.
        separator: the bytes to insert after the reply, which is sent without a line end, if another
            reply follows.
    """

    start_off: int
    end_off: int
    separator: bytes


class Grammar(abc.ABC):
    r"""Base class of grammars; all connections share one object.

    Every method may be called by any thread at any time, and keeps none of its arguments, which are
    valid until it returns. The worker calls them for each chunk, so they must not block. Buffers
    are memoryviews with one dimension, contiguous, of format "B"; offsets and lengths count bytes.

    Attributes:
        name: its name in settings, messages and log lines.
        tails: the possible bytes after a payload on the wire; the first is sent if there is no
            frame to take them from.
        forbidden_byte: a byte that no payload may contain, or None if all payloads are allowed.
        forbidden_name: the name of that byte in messages.
        method_name: the processor's method that takes many whole frames at once (see
            `answer_many`), or "" if there is no such method.
        method_arguments: the names of that method's arguments, as in "frames, runs", with which
            processors are checked; "" for no check.
        trust_name: the attribute by which a processor declares that the replies of that method need
            no `check_many`, or "" if there is nothing to check.
        most_at_once_bytes: the most bytes that this method gets in one call, except for a single
            longer frame.
        most_payload_bytes: the longest payload that a frame can have, whatever the limits.
    """

    __slots__ = ()

    name: str
    tails: tuple[bytes, ...] = (b"",)
    forbidden_byte: int | None = None
    forbidden_name = ""
    method_name = ""
    method_arguments = ""
    trust_name = ""
    most_at_once_bytes = UNBOUNDED_AT_ONCE_BYTES
    most_payload_bytes = sys.maxsize

    # -- input -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def scan(
        self, data: memoryview, max_frame_bytes: int, most_steps: int = UNBOUNDED_STEPS
    ) -> Scan:
        """Find the whole frames at the front of `data`.

        `data`: bytes that begin at the start of a frame, of any length. `max_frame_bytes`: the
        length of the longest allowed payload. The scan makes at most `most_steps` steps, each of
        which takes bounded time and finds at least one frame, if there is one, and at most one run.
        Arguments and result are a buffer, numbers and tuples of numbers, so that this method can be
        compiled.

        It must find the same frames however the bytes are split, and report bytes that cannot
        become a frame as soon as that is certain, with an error of the peer (a `RemoteError`).
        """

    @abc.abstractmethod
    def missing(
        self, held: memoryview, chunk: memoryview, max_frame_bytes: int
    ) -> tuple[int, bool]:
        """Return how many bytes of `chunk` belong to a partial frame, and whether they complete it.

        `held`: a partial frame of at least one byte. `chunk`: the next bytes, at least one. The
        time taken should not grow with `held`, because a peer may send byte by byte.

        Raises:
            RemoteError: the bytes cannot become a frame, or only one longer than `max_frame_bytes`.
        """

    def check_open(self, held: memoryview, max_frame_bytes: int) -> None:  # noqa: B027
        """Check a partial frame to which bytes were added; by default do nothing.

        For grammars whose `scan` and `missing` leave something to check.

        Raises:
            RemoteError: as `missing`.
        """

    @abc.abstractmethod
    def spans(self, data: memoryview, runs: Sequence[Run]) -> Iterator[tuple[int, int, int]]:
        """Yield for each frame where its payload begins, where that ends, and where the frame ends.

        `data`: whole frames; `runs`: the runs that `scan` found in them. Payloads may be
        overwritten meanwhile, without a change of length.
        """

    def end_open(self, held: memoryview, max_frame_bytes: int) -> OpenEnd:
        """Return the frame that a partial frame is at the end of input; by default raise an error.

        `held`: the partial frame, at least one byte.

        Raises:
            IncompleteFrame: the frame is incomplete; the message has the length received.
            RemoteError: the frame is complete, but not allowed.
        """
        raise IncompleteFrame(
            f"the input ended within a frame: {len(held)} bytes of a {self.name} frame had come"
        )

    @abc.abstractmethod
    def overhead_bytes(self, max_frame_bytes: int) -> int:
        """Return the most bytes of a frame beside a payload of up to `max_frame_bytes`."""

    # -- replies -----------------------------------------------------------------------------------

    @abc.abstractmethod
    def encode_into(
        self, replies: bytearray, payload: bytes | memoryview, tail: bytes | memoryview
    ) -> None:
        """Append `payload` to `replies`, as a frame.

        `tail`: the bytes after the payload in the frame that is answered, or else the first of
        `tails`; a grammar with several of them replies with the same one. If this raises, it must
        have appended nothing.

        Raises:
            ProcessorError: no frame can have this payload; the message has the reason.
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
        """Call a processor's method for many frames with all of `data`.

        Thread: worker. `method`: the bound method `method_name`. `data`, `runs`: as for `spans`.
        Returns the method's result, which must be whole frames; its cost, as a number of calls with
        one frame; and a number for `check_many`.

        Raises:
            Exception: what the method raises.
        """
        raise NotImplementedError(f"{self.name} frames have no method for many at once")

    def check_many(self, replies: bytes | memoryview, number: int) -> None:  # noqa: B027
        """Check the method's result; `number` is from `answer_many`. Thread: worker.

        Raises:
            ProcessorError: the peer would misinterpret it.
        """

    def has_payload(self, data: memoryview, runs: Sequence[Run], payload: bytes) -> bool:
        """Return whether one of the whole frames in `data` has exactly this payload."""
        return any(data[start:end] == payload for start, end, _ in self.spans(data, runs))
