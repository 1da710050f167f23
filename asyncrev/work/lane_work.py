"""What the worker does for one lane: its processor, its deferred input, its reply window.

A `LaneWork` is the worker's part of a lane; the loop's part is `lane.Lane`. The two kinds, for raw
chunks and for frames, are in `raw_work` and `framed_work`.
"""

import abc
import enum

from asyncrev.limits import SMALL_SLOT_BYTES
from asyncrev.processors import ProcessorFactory
from asyncrev.ring.ring import CLOSE, Entry
from asyncrev.work.block_pool import Pool
from asyncrev.work.deferred import DeferredInput
from asyncrev.work.reply_window import UNBOUNDED_BYTES, ReplyWindow
from asyncrev.work.scratch import Scratch

__all__ = ["SHARE_CALLS", "UNBOUNDED_SHARE", "InputEnd", "LaneWork", "Share"]

# About a millisecond of a light function, or of frames of 0 and 1 bytes in turn.
SHARE_CALLS = 1024

# About a millisecond of records with a byte each.
SHARE_RECORDS = 256

# One server's step of a handshake takes 0.3 ms (ECDSA) to 1.5 ms (RSA, 2,048 bits).
SHARE_HANDSHAKES = 1

UNBOUNDED_CALLS = 1 << 62


class InputEnd(enum.Enum):
    """Why the input of a lane ended."""

    PEER = "the peer ended its stream"
    DRAIN = "this side takes no more input"
    DEADLINE = "a deadline of the peer has passed"


class Share:
    """What lanes may use in one batch of the worker. Thread: worker.

    Attributes:
        most_calls: calls of its processor, of each framed lane.
        most_records: TLS records of each lane over TLS.
        handshakes_left: steps of TLS handshakes, of all lanes together.
        scratch: memory of the worker, for use during one entry.
    """

    __slots__ = ("handshakes_left", "most_calls", "most_records", "scratch")

    def __init__(
        self,
        scratch: Scratch,
        most_calls: int = SHARE_CALLS,
        most_records: int = SHARE_RECORDS,
        most_handshakes: int = SHARE_HANDSHAKES,
    ) -> None:
        self.scratch = scratch
        self.most_calls = most_calls
        self.most_records = most_records
        self.handshakes_left = most_handshakes

    @classmethod
    def unbounded(cls, scratch: Scratch) -> "Share":
        """Return a share that nothing uses up."""
        return cls(scratch, UNBOUNDED_CALLS, UNBOUNDED_CALLS, UNBOUNDED_CALLS)


UNBOUNDED_SHARE = Share.unbounded(Scratch())  # for one thread


class LaneWork(abc.ABC):
    """The worker's part of a lane. Thread: worker, except where a field says otherwise.

    Attributes:
        factory: makes the processor, at the first entry. Like the next two written before the first
            publish and never again.
        views_allowed: whether a reply may be a view of the slot, or of a block.
        max_reply_bytes: the longest reply to one chunk or frame, if it is longer than that.
        window: how much longer than their input replies may be; its fields name their writers.
        abandoned: whether nobody wants replies any more. Writer: loop; seen late, it costs some
            work in vain.
        input_end: why the input ended. Writer: loop, before it publishes the end (I3).
        processor: what works on the input, once it is made.
        broken: whether it has failed; later input is dropped.
        deferred: input that is kept for later, if there is any.
    """

    __slots__ = (
        "_is_plain",
        "abandoned",
        "broken",
        "deferred",
        "factory",
        "input_end",
        "max_reply_bytes",
        "processor",
        "views_allowed",
        "window",
    )

    def __init__(
        self,
        factory: ProcessorFactory,
        *,
        views_allowed: bool,
        max_reply_bytes: int = 0,
        window_bytes: int = UNBOUNDED_BYTES,
    ) -> None:
        """Prepare a lane's work; `max_reply_bytes` of 0 is no bound. Thread: any."""
        self.factory = factory
        self.views_allowed = views_allowed
        self.max_reply_bytes = max_reply_bytes or UNBOUNDED_BYTES
        self.window = ReplyWindow(window_bytes)
        self.abandoned = False
        self.input_end = InputEnd.PEER
        self.processor: object = None
        self.broken = False
        self.deferred: DeferredInput | None = None
        # Whether it has a processor, and need not defer anything; only a raw lane is ever so.
        self._is_plain = False

    def do(self, entry: Entry, storage: object, pool: Pool, share: Share = UNBOUNDED_SHARE) -> None:
        """Do what `entry`, which is this lane's, asks for; leave result or error in it.

        A framed lane may leave both: the replies to the frames before the one that failed. A lane
        whose `share` is used up, or whose reply window is full, defers its input. A reply that
        is a view of `storage`, the ring's memory, stays one where views are allowed.

        Raises nothing: what a processor raises, SystemExit included, ends its connection and not
        the worker.
        """
        try:
            if entry.kind is CLOSE:
                self.close_processor()
            elif self.broken or self.abandoned:
                entry.partial_frame_bytes = 0
                self.deferred = None
            else:
                self._do(entry, storage, pool, share)
        except BaseException as error:
            self._fail(entry, error)

    def close_processor(self) -> None:
        """Drop the processor, and call its `close` if it has one."""
        processor, self.processor = self.processor, None
        self._is_plain = False
        self.deferred = None
        close = getattr(processor, "close", None)
        if close is not None:
            close()

    @abc.abstractmethod
    def _do(self, entry: Entry, storage: object, pool: Pool, share: Share) -> None:
        """Do what DATA, EOF or RESUME asks for; what this raises ends the lane."""

    def _fail(self, entry: Entry, error: BaseException) -> None:
        self.broken = True
        self._is_plain = False
        self.deferred = None
        entry.partial_frame_bytes = 0  # entries are used again: what stands there is another lane's
        entry.error = error

    def _note_surplus(self, entry: Entry, surplus_bytes: int) -> None:
        entry.surplus_bytes = surplus_bytes
        self.window.produce(surplus_bytes)
        self._is_plain = False  # the window may be full

    def _defer(self, entry: Entry, chunk: memoryview) -> None:
        """Keep a copy of `chunk`, a view of the entry's slot, behind what is deferred."""
        if self.deferred is None:
            self.deferred = DeferredInput(min(len(entry.view), SMALL_SLOT_BYTES))
        self.deferred.add(chunk)

    def _consume(self, deferred: DeferredInput, nbytes: int) -> None:
        """Drop the first `nbytes` of what is deferred, and `deferred` if nothing comes after."""
        deferred.consume(nbytes)
        if not (deferred.nbytes or deferred.ends):
            self.deferred = None
