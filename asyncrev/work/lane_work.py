"""What the worker does for one lane: its processor, its deferred input, its reply window.

A `LaneWork` is the worker's part of a lane; the loop's part is `lane.Lane`. The two kinds, for raw
chunks and for frames, are in `raw_work` and `framed_work`.
"""

import abc
import enum

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import PeerRefused, ProcessorError
from asyncrev.limits import SMALL_SLOT_BYTES
from asyncrev.processors import (
    ProcessorFactory,
    as_reply,
    check_reply,
    make_processor,
    tell_connected,
)
from asyncrev.ring.ring import CLOSE, Entry
from asyncrev.ring.row import SHARE_CALLS
from asyncrev.ring.rows import Work
from asyncrev.work.block_pool import Pool
from asyncrev.work.deferred import DeferredInput
from asyncrev.work.reply_window import UNBOUNDED_BYTES, ReplyWindow
from asyncrev.work.scratch import Scratch
from asyncrev.work.tls_parameters import StartTls

__all__ = ["SHARE_CALLS", "UNBOUNDED_SHARE", "InputEnd", "LaneWork", "Share"]

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


def undeclared_start() -> ProcessorError:
    """Return the error of a processor that asks for TLS, and may not."""
    return ProcessorError(
        "a processor returned StartTls without a true attribute may_start_tls, or over TLS; "
        "declare it where the processor is given, so that the memory bound counts TLS"
    )


UNBOUNDED_SHARE = Share.unbounded(Scratch())  # for one thread


class LaneWork(Work, abc.ABC):
    """The worker's part of a lane. Thread: worker, except where a field says otherwise.

    Attributes:
        factory: makes the processor, at the first entry. Like the next two written before the first
            publish and never again.
        views_allowed: whether a reply may be a view of the slot, or of a block.
        max_reply_bytes: the longest reply to one chunk or frame, if it is longer than that.
        may_start_tls: whether the processor may ask for TLS. Like the next one between this and
            the work around it.
        start_tls: what it has asked for.
        window: how much longer than their input replies may be; its fields name their writers.
        abandoned: whether nobody wants replies any more. Writer: loop; seen late, it costs some
            work in vain.
        input_end: why the input ended. Writer: loop, before it publishes the end (I3).
        info: who the peer is; None without a connection, and where TLS has to tell first. Writer:
            loop before the first publish, then worker; readers: both. Replaced, never changed.
        processor: what works on the input, once it is made.
        broken: whether it has failed; later input is dropped.
        data_bytes: how much data the input had so far, where it is ciphertext; else None. Writer:
            worker; reader: any.
        deferred: input that is kept for later, if there is any.
        plain: the processor of a raw lane while that may take input without a look at anything
            else, because nothing is deferred and the window is open; else None. Of a framed lane
            what takes the short way (`LoneFrames`), while no part of a frame is kept, either.
            `answer` or `fail` gets what comes of a call.
    """

    __slots__ = (
        "_is_introduced",
        "broken",
        "data_bytes",
        "deferred",
        "factory",
        "info",
        "input_end",
        "max_reply_bytes",
        "may_start_tls",
        "processor",
        "start_tls",
        "window",
    )

    def __init__(
        self,
        factory: ProcessorFactory,
        *,
        views_allowed: bool,
        max_reply_bytes: int = 0,
        window_bytes: int = UNBOUNDED_BYTES,
        info: ConnectionInfo | None = None,
    ) -> None:
        """Prepare a lane's work; `max_reply_bytes` of 0 is no bound. Thread: any."""
        super().__init__()
        self.factory = factory
        self.views_allowed = views_allowed
        self.max_reply_bytes = max_reply_bytes or UNBOUNDED_BYTES
        self.window = ReplyWindow(window_bytes)
        self.may_start_tls = False
        self.start_tls: StartTls | None = None
        self.input_end = InputEnd.PEER
        self.info = info
        self.processor: object = None
        self.broken = False
        self.data_bytes: int | None = None
        self.deferred: DeferredInput | None = None
        # Whether its processor is made, and knows who the peer is.
        self._is_introduced = False

    @property
    def uses_tls(self) -> bool:
        """Whether input and replies are ciphertext. Thread: any; see `TlsWork`."""
        return False

    @property
    def is_handshaking(self) -> bool:
        """Whether a TLS handshake is not complete. Thread: any."""
        return False

    @property
    def frames(self) -> int | None:
        """How many frames were answered so far; None for raw chunks. Thread: any."""
        return None

    @property
    def comes_later(self) -> bool:
        """Whether replies come later than the entries of their input. Thread: any."""
        return False

    @property
    def holds_input(self) -> bool:
        """Whether input is deferred, or its replies are to come later."""
        return self.deferred is not None

    @property
    def has_room(self) -> bool:
        """Whether it may find requests whose replies come later; true where none do."""
        return True

    @property
    def may_go_on(self) -> bool:
        """Whether a RESUME entry has something to do: deferred input, or replies that have come."""
        return self.deferred is not None

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
            self.fail(entry, error)

    def answer(self, entry: Entry, result: object, storage: object) -> None:
        """Leave in `entry` what `plain` has returned for its chunk.

        Raises:
            ProcessorError: it cannot be a reply.
        """
        raise NotImplementedError  # by a lane without `plain`

    def close_processor(self) -> None:
        """Drop the processor, and call its `close` if it has one."""
        processor, self.processor = self.processor, None
        self.plain = None
        self.deferred = None
        close = getattr(processor, "close", None)
        if close is not None:
            close()

    @abc.abstractmethod
    def _do(self, entry: Entry, storage: object, pool: Pool, share: Share) -> None:
        """Do what DATA, EOF or RESUME asks for; what this raises ends the lane."""

    def fail(self, entry: Entry, error: BaseException) -> None:
        """Note that `error` ends the lane, with `entry`."""
        self.broken = True
        self.plain = None
        self.deferred = None
        entry.partial_frame_bytes = 0  # entries are used again: what stands there is another lane's
        if isinstance(error, PeerRefused):
            error = self._say_last(entry, error)
        entry.error = error

    def _introduce(self, entry: Entry, pool: Pool) -> None:
        """Make the processor, unless there is one; tell it who the peer is.

        What it says to that becomes the entry's result. Raises what the processor raises.
        """
        if self.processor is None:
            self.processor = self._make_processor(pool)
        self._is_introduced = True
        said = None if self.info is None else tell_connected(self.processor, self.info)
        if said is not None:
            self._say(entry, as_reply(said, None, views_allowed=False))

    def _make_processor(self, pool: Pool) -> object:
        return make_processor(self.factory)

    def introduce_again(self, info: ConnectionInfo | None) -> None:
        """Have the processor told of its peer again, at the next entry."""
        self.info = info
        self._is_introduced = False
        self.plain = None

    def _note_start(self, start: StartTls) -> None:
        """Note that the processor asks for TLS.

        Raises:
            ProcessorError: it has not declared that it may.
        """
        if not self.may_start_tls:
            raise undeclared_start()
        self.may_start_tls = False
        self.start_tls = start

    def _say(self, entry: Entry, said: bytes | memoryview | None) -> None:
        """Add to the entry's result what answers no input."""
        if not said:
            return
        check_reply(len(said), 0, self.max_reply_bytes)
        framed = self._framed(bytes(said))
        self._note_surplus(entry, len(framed))
        before: bytes = entry.result or b""  # type: ignore[assignment]
        entry.result = before + framed

    def _framed(self, said: bytes) -> bytes:
        return said

    def _say_last(self, entry: Entry, error: PeerRefused) -> BaseException:
        """Have the peer told that it is refused; return that, or why it cannot be told so.

        Raises nothing, like `do`, whatever the processor has made its reply of.
        """
        # It says nothing of use, and would keep the processor's frames as long as a log record.
        error.__traceback__ = None
        try:
            self._say(entry, as_reply(error.reply, None, views_allowed=False))
        except BaseException as wrong:
            return wrong
        return error

    def _note_surplus(self, entry: Entry, surplus_bytes: int) -> None:
        entry.surplus_bytes += surplus_bytes
        self.window.produce(surplus_bytes)
        self.plain = None  # the window may be full

    def _defer(self, entry: Entry, chunk: memoryview) -> None:
        """Keep a copy of `chunk`, a view of the entry's slot, behind what is deferred."""
        if self.deferred is None:
            self.deferred = DeferredInput(min(len(entry.view), SMALL_SLOT_BYTES))
        self.deferred.add(chunk)

    def _defer_end(self, entry: Entry) -> None:
        """Have the end of input wait behind what is deferred, and for the window."""
        if self.deferred is None:
            self.deferred = DeferredInput(SMALL_SLOT_BYTES)
        self.deferred.ends = True
        entry.ended = False

    def _consume(self, deferred: DeferredInput, nbytes: int) -> None:
        """Drop the first `nbytes` of what is deferred, and `deferred` if nothing comes after."""
        deferred.consume(nbytes)
        if not (deferred.nbytes or deferred.ends):
            self.deferred = None
