"""A sink that remembers, for tests of the bridge without any transport."""

import threading
from collections.abc import Callable
from typing import Any

from asyncrev import Bridge, Limits
from asyncrev.bridge.lane import Lane
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import as_framing
from asyncrev.processors import Reply
from tests.support import until

__all__ = ["FRAMES", "TINY", "Held", "Raises", "RecordingSink", "Upper"]

# Limits of a bridge at which little is enough to fill it, and to use its pool up.
TINY = Limits(slots=2, entries=2, slot_bytes=8, in_flight_entries=2, overflow_bytes=4)
FRAMES = Limits(
    slots=8,
    slot_bytes=4096,
    max_frame_bytes=1500,
    partial_frame_bytes=1024,
    pool_connection_bytes=4096,
    pool_bytes=4096,
)


class Upper:
    """Answers every chunk in capitals, and the end of input with a full stop."""

    def process(self, chunk: memoryview) -> bytes:
        """Answer in capitals."""
        return bytes(chunk).upper()

    def eof(self) -> bytes:
        """Answer with a full stop."""
        return b"."


class RecordingSink:
    """Takes replies of one lane, and sends its input; `fail_in` names a method that raises."""

    def __init__(
        self,
        bridge: Bridge,
        factory: Callable[[], Any] = Upper,
        *,
        fail_in: str = "",
        views_allowed: bool = False,
        framing: str | Grammar = "raw",
    ) -> None:
        self.bridge = bridge
        self.fail_in = fail_in
        self.received = bytearray()
        self.calls: list[str] = []
        self.errors: list[BaseException] = []
        self.may_publish = True
        self.pieces: list[int] = []  # how many each reply came in
        self.lane: Lane = bridge.open(
            self, factory, views_allowed=views_allowed, framing=as_framing(framing)
        )

    def send(self, data: bytes) -> bool:
        """Claim, fill and publish, as a transport does; return whether more may follow."""
        admission = self.bridge.parts.admission
        while data:
            view = admission.claim(self.lane)
            assert view.nbytes >= 1
            nbytes = min(len(data), view.nbytes)
            view[:nbytes] = data[:nbytes]
            data = data[nbytes:]
            self.may_publish = admission.publish(self.lane, nbytes)
        return self.may_publish

    async def send_politely(self, data: bytes) -> None:
        """Send when the bridge has room."""
        await until(lambda: self.may_publish, "there is credit")
        self.send(data)

    def end(self) -> None:
        """Say that no more input comes."""
        self.bridge.publish_eof(self.lane)

    def close(self) -> None:
        """Give the lane up."""
        self.bridge.close_lane(self.lane)

    @property
    def is_over(self) -> bool:
        """Whether the end or an error was told."""
        return "end" in self.calls or bool(self.errors)

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.fail_in:
            raise RuntimeError(f"sink fails in {call}")

    def on_reply(self, reply: Reply) -> None:
        """Keep a copy."""
        pieces = reply if isinstance(reply, tuple) else (reply,)
        self.pieces.append(len(pieces))
        self.received += b"".join(pieces)
        self._note("reply")

    def on_end(self) -> None:
        """Note it."""
        self._note("end")

    def on_error(self, error: BaseException) -> None:
        """Keep it."""
        self.errors.append(error)
        self._note("error")

    def on_credit(self) -> None:
        """Note it."""
        self.may_publish = True
        self._note("credit")

    def on_sweep(self, now_s: float) -> None:
        """Note it."""
        self._note("sweep")


class Held(Upper):
    """A processor that waits until the test lets it go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()
        self.chunks: list[bytes] = []

    def process(self, chunk: memoryview) -> bytes:
        """Wait, then answer in capitals."""
        self.chunks.append(bytes(chunk))
        self.entered.set()
        self.go.wait(30)
        return super().process(chunk)


class Raises(Upper):
    """A processor that fails on the word "fail"."""

    def process(self, chunk: memoryview) -> bytes:
        """Fail, or answer in capitals."""
        if chunk == b"fail":
            raise ValueError("the word was fail")
        return super().process(chunk)
