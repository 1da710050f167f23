"""A lane: one connection's ordered way through the ring.

The lane is the owner object in the ring's entries. A descriptor would not do: the kernel gives
it to the next client while entries of the old one are still on their way.
"""

from typing import Protocol

from asyncrev.framer import Framer
from asyncrev.framing import Framing
from asyncrev.pool import Pool
from asyncrev.processors import Processor, ProcessorFactory, Reply, as_reply, make_processor
from asyncrev.ring import CLOSE, DATA, Entry

__all__ = ["FIRST_READ_BYTES", "SMALL_READS", "Lane", "Sink"]

FIRST_READ_BYTES = 16 * 1024
SMALL_READS = 2


class Sink(Protocol):
    """Who gets a lane's replies. Every method is called on the loop's thread."""

    def on_reply(self, reply: Reply) -> None:
        """Send or copy `reply` now: a view is valid until this returns.

        A tuple is one reply in pieces; it comes from framed lanes with `views_allowed` only.
        """
        ...

    def on_end(self) -> None:
        """Everything that was published, the end of input included, has been answered."""
        ...

    def on_error(self, error: BaseException) -> None:
        """No further reply will come; those before were given to `on_reply`."""
        ...

    def on_credit(self) -> None:
        """Input may be published again, after `Admission.publish` said that it may not."""
        ...

    def on_sweep(self, now_s: float) -> None:
        """Look after deadlines; comes about once a second, but not before `Lane.look_at_s`."""
        ...


class Lane:
    """What the two threads know of one connection; each field has one writer."""

    __slots__ = (
        "abandoned",
        "broken",
        "carry_bytes",
        "close_waits",
        "eof_waits",
        "excess_bytes",
        "factory",
        "frame_seq",
        "framing",
        "in_flight_bytes",
        "in_flight_entries",
        "inline_processor",
        "look_at_s",
        "max_frame_bytes",
        "processor",
        "read_bytes",
        "reserved_bytes",
        "sink",
        "small_reads",
        "spill",
        "views_allowed",
        "waits_for_credit",
        "waits_for_room",
        "waits_for_slot",
    )

    def __init__(
        self,
        sink: Sink,
        factory: ProcessorFactory,
        *,
        views_allowed: bool,
        framing: Framing | None = None,
        max_frame_bytes: int = 0,
    ) -> None:
        # Written before the first publish, never after; read by the worker.
        self.factory = factory
        self.framing = framing
        self.max_frame_bytes = max_frame_bytes
        self.views_allowed = views_allowed
        # Writer and reader: loop.
        self.sink: Sink | None = sink
        self.in_flight_entries = 0
        self.in_flight_bytes = 0
        self.small_reads = SMALL_READS  # the last ones running that a small slot would have held
        self.spill = bytearray()  # read when the ring had no slot; goes in before anything else
        self.eof_waits = False  # these two are control entries that wait behind the spill
        self.close_waits = False
        self.waits_for_slot = False
        self.waits_for_credit = False
        self.inline_processor: Processor | None = None
        self.look_at_s = 0.0  # when the sweep must look next, if nothing is published before
        # Of a framed lane only; likewise writer and reader: loop.
        self.carry_bytes = 0  # of an unfinished frame, as the last entry that came back told
        self.frame_seq = 0  # likewise; see Framer
        self.excess_bytes = 0  # unsent replies above the high water
        self.reserved_bytes = 0  # of the pool, see Budget
        self.read_bytes = FIRST_READ_BYTES  # the most of one read; a small slot is less
        self.waits_for_room = False
        # Writer: loop; readers: both. Seen late, it costs some work in vain, nothing else.
        self.abandoned = False
        # Writer and reader: worker.
        self.processor: Processor | Framer | None = None
        self.broken = False

    def work(self, entry: Entry, storage: object, pool: Pool) -> None:
        """Do what `entry`, which is this lane's, asks for; leave result or error in it.

        A framed lane may leave both: the replies to the frames before the one that failed.
        Thread: worker. Raises nothing: what a processor raises, SystemExit included, is its
        connection's trouble and not the worker's.
        """
        try:
            if entry.kind is CLOSE:
                self.close_processor()
                return
            if self.broken or self.abandoned:
                entry.carry_bytes = 0
                return
            processor = self.processor
            if processor is None:
                processor = self.processor = self._make_processor(pool)
            if entry.kind is DATA:
                result = processor.process(entry.view[: entry.nbytes])
            else:
                result = processor.eof()
            if self.framing is not None:
                self._note_framer(entry)
            elif type(result) is not bytes:
                result = as_reply(result, storage, views_allowed=self.views_allowed)
            entry.result = result  # type: ignore[assignment]  # a Framer's is a reply already
        except BaseException as error:
            self.broken = True
            entry.carry_bytes = 0  # entries are used again: what stands there is another lane's
            entry.error = error

    def work_inline(self, chunk: memoryview, storage: object) -> bytes | memoryview | None:
        """Return the reply to `chunk` at once; nothing of this lane may be in flight.

        Thread: loop. A view in the reply is of `storage`. Raises what the processor raises.
        """
        processor = self.inline_processor
        if processor is None:
            processor = self.inline_processor = make_processor(self.factory)
        result = processor.process(chunk)
        if type(result) is bytes:
            return result
        return as_reply(result, storage, views_allowed=self.views_allowed)

    def close_processor(self) -> None:
        """Let the processor go, and call its `close` if it has one. Thread: worker."""
        processor, self.processor = self.processor, None
        close = getattr(processor, "close", None)
        if close is not None:
            close()

    def _make_processor(self, pool: Pool) -> Processor | Framer:
        processor = make_processor(self.factory)
        if self.framing is None:
            return processor
        return Framer(
            self.framing,
            processor,
            pool,
            max_frame_bytes=self.max_frame_bytes,
            views_allowed=self.views_allowed,
        )

    def _note_framer(self, entry: Entry) -> None:
        framer = self.processor
        assert isinstance(framer, Framer)
        entry.carry_bytes = framer.carry_bytes
        entry.frame_seq = framer.frame_seq
        entry.calls = framer.calls
        if framer.error is not None:
            self.broken = True
            entry.error = framer.error
