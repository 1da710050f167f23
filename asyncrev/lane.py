"""A lane: one connection's ordered way through the ring.

The lane is the owner object in the ring's entries. A descriptor would not do: the kernel gives
it to the next client while entries of the old one are still on their way.
"""

from typing import Protocol

from asyncrev.processors import Processor, ProcessorFactory, as_reply, make_processor
from asyncrev.ring import CLOSE, DATA, Entry

__all__ = ["Lane", "Sink"]


class Sink(Protocol):
    """Who gets a lane's replies. Every method is called on the loop's thread."""

    def on_reply(self, reply: bytes | memoryview) -> None:
        """Send or copy `reply` now: a view is valid until this returns."""
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
        """Look after deadlines; comes about once a second."""
        ...


class Lane:
    """What the two threads know of one connection; each field has one writer."""

    __slots__ = (
        "abandoned",
        "broken",
        "close_waits",
        "eof_waits",
        "factory",
        "in_flight_bytes",
        "in_flight_entries",
        "processor",
        "sink",
        "spill",
        "views_allowed",
        "waits_for_credit",
        "waits_for_slot",
    )

    def __init__(self, sink: Sink, factory: ProcessorFactory, *, views_allowed: bool) -> None:
        # Written before the first publish, never after; read by the worker.
        self.factory = factory
        self.views_allowed = views_allowed
        # Writer and reader: loop.
        self.sink: Sink | None = sink
        self.in_flight_entries = 0
        self.in_flight_bytes = 0
        self.spill = bytearray()  # read when the ring had no slot; goes in before anything else
        self.eof_waits = False  # these two are control entries that wait behind the spill
        self.close_waits = False
        self.waits_for_slot = False
        self.waits_for_credit = False
        # Writer: loop; readers: both. Seen late, it costs some work in vain, nothing else.
        self.abandoned = False
        # Writer and reader: worker.
        self.processor: Processor | None = None
        self.broken = False

    def work(self, entry: Entry, storage: object) -> None:
        """Do what `entry`, which is this lane's, asks for; leave result or error in it.

        Thread: worker. Raises nothing: what a processor raises, SystemExit included, is its
        connection's trouble and not the worker's.
        """
        try:
            if entry.kind is CLOSE:
                self.close_processor()
                return
            if self.broken or self.abandoned:
                return
            processor = self.processor
            if processor is None:
                processor = self.processor = make_processor(self.factory)
            if entry.kind is DATA:
                result = processor.process(entry.view[: entry.nbytes])
            else:
                result = processor.eof()
            if type(result) is not bytes:
                result = as_reply(result, storage, views_allowed=self.views_allowed)
            entry.result = result
        except BaseException as error:
            self.broken = True
            entry.error = error

    def close_processor(self) -> None:
        """Let the processor go, and call its `close` if it has one. Thread: worker."""
        processor, self.processor = self.processor, None
        close = getattr(processor, "close", None)
        if close is not None:
            close()
