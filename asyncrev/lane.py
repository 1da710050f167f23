"""A lane: one connection's ordered way through the ring.

The lane is the owner object in the ring's entries. A descriptor would not do: the kernel gives
it to the next client while entries of the old one are still on their way.

  I20  in one batch of the worker a framed lane costs a share of calls, TURN_CALLS, and what a
       single step exceeds it by; input that would cost more is deferred
"""

from typing import Protocol

from asyncrev.deferred import DeferredInput
from asyncrev.framer import Framer
from asyncrev.frames.grammar import UNBOUNDED_STEPS, Grammar
from asyncrev.limits import SMALL_SLOT_BYTES
from asyncrev.pool import Pool
from asyncrev.processors import (
    Processor,
    ProcessorFactory,
    Reply,
    as_reply,
    check_reply,
    make_processor,
)
from asyncrev.reply_window import UNBOUNDED_BYTES, ReplyWindow
from asyncrev.ring import CLOSE, DATA, EOF, Entry

__all__ = ["FIRST_READ_BYTES", "SMALL_READS", "TURN_CALLS", "Lane", "Sink", "Turn"]

FIRST_READ_BYTES = 16 * 1024
SMALL_READS = 2

# About a millisecond of a light function, or of frames of 0 and 1 bytes in turn.
TURN_CALLS = 1024


class Turn:
    """One batch of the worker: what each framed lane may cost in it, in calls. Thread: worker."""

    __slots__ = ("most_calls",)

    def __init__(self, most_calls: int = UNBOUNDED_STEPS) -> None:
        self.most_calls = most_calls


UNBOUNDED_TURN = Turn()


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
        "calls_left",
        "carry_bytes",
        "close_waits",
        "deferred",
        "ending",
        "eof_waits",
        "excess_bytes",
        "factory",
        "frame_seq",
        "framing",
        "in_flight_bytes",
        "in_flight_entries",
        "inline_processor",
        "is_plain",
        "look_at_s",
        "max_frame_bytes",
        "max_reply_bytes",
        "processor",
        "read_bytes",
        "reserved_bytes",
        "resume_waits",
        "sink",
        "small_reads",
        "spill",
        "turn",
        "views_allowed",
        "waits_for_credit",
        "waits_for_room",
        "waits_for_slot",
        "window",
    )

    def __init__(
        self,
        sink: Sink,
        factory: ProcessorFactory,
        *,
        views_allowed: bool,
        framing: Grammar | None = None,
        max_frame_bytes: int = 0,
        max_reply_bytes: int = 0,
        window_bytes: int = UNBOUNDED_BYTES,
    ) -> None:
        # Written before the first publish, never after; read by the worker.
        self.factory = factory
        self.framing = framing
        self.max_frame_bytes = max_frame_bytes
        self.max_reply_bytes = max_reply_bytes or UNBOUNDED_BYTES
        self.views_allowed = views_allowed
        self.window = ReplyWindow(window_bytes)  # its fields name their writers
        # Writer and reader: loop.
        self.sink: Sink | None = sink
        self.in_flight_entries = 0
        self.in_flight_bytes = 0  # published and not yet processed: deferred input, too
        self.small_reads = SMALL_READS  # the last ones running that a small slot would have held
        self.spill = bytearray()  # read when the ring had no slot; goes in before anything else
        self.eof_waits = False  # these three are control entries that wait behind the spill
        self.resume_waits = False
        self.close_waits = False
        self.ending = False  # the end of input came back before it was processed
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
        self.deferred: DeferredInput | None = None
        self.is_plain = False  # a raw lane that has a processor, and need not defer anything
        self.turn = UNBOUNDED_TURN  # the last one in which a framed lane was worked on
        self.calls_left = UNBOUNDED_STEPS  # in that turn

    def work(self, entry: Entry, storage: object, pool: Pool, turn: Turn = UNBOUNDED_TURN) -> None:
        """Do what `entry`, which is this lane's, asks for; leave result or error in it.

        A framed lane may leave both: the replies to the frames before the one that failed. A lane
        whose share of `turn` is used up, or whose reply window is full, defers its input.
        Thread: worker. Raises nothing: what a processor raises, SystemExit included, is its
        connection's trouble and not the worker's.
        """
        try:
            if self.is_plain and entry.kind is DATA and not self.abandoned:
                nbytes = entry.nbytes
                result = self.processor.process(entry.view[:nbytes])  # type: ignore[union-attr]
                if type(result) is bytes and len(result) <= nbytes:
                    entry.result = result  # nearly always
                else:
                    self._answer(entry, result, storage)
                return
            if entry.kind is CLOSE:
                self.close_processor()
                return
            if self.broken or self.abandoned:
                entry.carry_bytes = 0
                self.deferred = None
                return
            processor = self.processor
            if processor is None:
                processor = self.processor = self._make_processor(pool)
            if self.framing is not None:
                self._work_framed(entry, turn)
            else:
                self._work_raw(entry, processor, storage)
        except BaseException as error:
            self.broken = True
            self.is_plain = False
            self.deferred = None
            entry.carry_bytes = 0  # entries are used again: what stands there is another lane's
            entry.error = error

    def _answer(self, entry: Entry, result: object, storage: object) -> None:
        """Leave the result of a raw lane's processor in `entry`; `entry.nbytes` are answered."""
        if type(result) is not bytes:
            result = as_reply(result, storage, views_allowed=self.views_allowed)
            if result is None:
                return
        reply_bytes = len(result)
        if reply_bytes > entry.nbytes:
            check_reply(reply_bytes, entry.nbytes, self.max_reply_bytes)
            self._note_surplus(entry, reply_bytes - entry.nbytes)
        entry.result = result

    def _note_surplus(self, entry: Entry, surplus_bytes: int) -> None:
        entry.surplus_bytes = surplus_bytes
        self.window.produce(surplus_bytes)
        self.is_plain = False  # the window may be full

    def _work_raw(self, entry: Entry, processor: Processor | Framer, storage: object) -> None:
        """Do what `entry` of a raw lane asks for, the first time or if input may be deferred."""
        deferred = self.deferred
        if entry.kind is DATA:
            chunk = entry.view[: entry.nbytes]
            if deferred or self.window.is_full():
                entry.nbytes = 0
                self._defer(entry, chunk)
                self._work_on_deferred(entry, processor)
            else:
                self._answer(entry, processor.process(chunk), storage)
        elif deferred and entry.kind is EOF:
            deferred.ends = True
            entry.ended = False
        elif deferred and deferred.nbytes:
            entry.ended = False
            self._work_on_deferred(entry, processor)
        elif entry.kind is EOF or (deferred and deferred.ends):
            entry.ended = True
            self.deferred = None
            self._answer(entry, processor.eof(), storage)
        else:
            entry.ended = False
            self.deferred = None
        self.is_plain = self.deferred is None and not self.window.is_full()

    def _work_on_deferred(self, entry: Entry, processor: Processor | Framer) -> None:
        """Answer the oldest deferred chunk of a raw lane, if its window allows.

        Also when more input comes: a RESUME waits until none is in the ring, maybe for ever.
        """
        deferred = self.deferred
        if deferred is None or self.window.is_full():
            return
        chunk = deferred.head()
        entry.nbytes = chunk.nbytes
        self._answer(entry, processor.process(chunk), chunk.obj)
        deferred.consume(chunk.nbytes)
        if not (deferred.nbytes or deferred.ends):
            self.deferred = None

    def _work_framed(self, entry: Entry, turn: Turn) -> None:
        framer = self.processor
        assert isinstance(framer, Framer)
        if turn is not self.turn:
            self.turn = turn
            self.calls_left = turn.most_calls
        deferred, window = self.deferred, self.window
        result: Reply | None = None
        framer.calls = framer.answered_bytes = 0
        entry.ended = False
        if entry.kind is DATA:
            chunk = entry.view[: entry.nbytes]
            framer.see(chunk)
            if framer.error is not None:
                pass
            elif deferred is None and self.calls_left > 0 and not window.is_full():
                result = self._frame(entry, framer, chunk)
                if entry.nbytes < chunk.nbytes and framer.error is None:
                    self._defer(entry, chunk[entry.nbytes :])
            else:
                entry.nbytes = 0
                self._defer(entry, chunk)
                result = self._frame_deferred(entry, framer)
        elif deferred is not None and deferred.nbytes:
            if entry.kind is EOF:
                deferred.ends = True
            else:
                result = self._frame_deferred(entry, framer)
        elif entry.kind is EOF or (deferred is not None and deferred.ends):
            entry.ended = True
            self.deferred = None
            result = framer.eof()
        entry.result = result
        entry.carry_bytes = framer.carry_bytes
        entry.frame_seq = framer.frame_seq
        entry.calls = framer.calls
        self.calls_left -= framer.calls
        if result:
            reply_bytes = sum(map(len, result)) if type(result) is tuple else len(result)
            if reply_bytes > framer.answered_bytes:
                self._note_surplus(entry, reply_bytes - framer.answered_bytes)
        if framer.error is not None:
            self.broken = True
            self.deferred = None
            # Its traceback names the framer: to stay there too would keep both until a collection.
            entry.error, framer.error = framer.error, None

    def _frame(self, entry: Entry, framer: Framer, chunk: memoryview) -> Reply | None:
        """Return the reply to what of `chunk` share and window allow; `entry.nbytes` were used."""
        room_bytes = chunk.nbytes + self.window.room_bytes()
        result = framer.process(chunk, self.calls_left, room_bytes)
        entry.nbytes = framer.used_bytes
        return result

    def _frame_deferred(self, entry: Entry, framer: Framer) -> Reply | None:
        """Do what `_work_on_deferred` does, for a framed lane: as far as its share allows, too."""
        deferred, window = self.deferred, self.window
        if deferred is None or self.calls_left <= 0 or window.is_full():
            return None
        result = self._frame(entry, framer, deferred.head())
        deferred.consume(entry.nbytes)
        if not (deferred.nbytes or deferred.ends):
            self.deferred = None
        return result

    def _defer(self, entry: Entry, chunk: memoryview) -> None:
        if self.deferred is None:
            self.deferred = DeferredInput(min(len(entry.view), SMALL_SLOT_BYTES))
        self.deferred.add(chunk)

    @property
    def is_owed(self) -> bool:
        """Whether replies to what was published are still to come. Thread: loop."""
        if self.in_flight_entries or self.spill:
            return True
        return not self.abandoned and (self.in_flight_bytes > 0 or self.ending)

    @property
    def is_being_answered(self) -> bool:
        """Whether the worker has, or will have, work of this lane without its peer. Thread: loop.

        Not if all that is left is deferred, and the peer does not take its replies.
        """
        if self.in_flight_entries or self.waits_for_slot:
            return True
        return self.is_owed and not (self.abandoned or self.window.is_stalled)

    def work_inline(self, chunk: memoryview, storage: object) -> bytes | memoryview | None:
        """Return the reply to `chunk` at once; nothing of this lane may be in flight.

        Thread: loop. A view in the reply is of `storage`. Raises what the processor raises.
        """
        processor = self.inline_processor
        if processor is None:
            processor = self.inline_processor = make_processor(self.factory)
        result = processor.process(chunk)
        if type(result) is not bytes:
            result = as_reply(result, storage, views_allowed=self.views_allowed)
        if result is not None and len(result) > chunk.nbytes:
            check_reply(len(result), chunk.nbytes, self.max_reply_bytes)
        return result

    def close_processor(self) -> None:
        """Let the processor go, and call its `close` if it has one. Thread: worker."""
        processor, self.processor = self.processor, None
        self.is_plain = False
        self.deferred = None
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
            max_reply_bytes=self.max_reply_bytes,
            views_allowed=self.views_allowed,
        )
