"""Deadlines of one connection, looked at from time to time by one sweep over all of them.

No message pays for a clock or a timer: a sweep compares what it sees with what it saw. So a
deadline passes up to one sweep late, and never early. Time is an argument, hence virtual in tests.
"""

from collections.abc import Hashable

from asyncrev.errors import DeadlinePassed, FirstByteLate, FrameLate, IdleTooLong, WriteStalled
from asyncrev.limits import Limits

__all__ = ["Deadlines", "Unchanged"]


class Unchanged:
    """Tells for how long a value has been what it is, as far as somebody looked."""

    __slots__ = ("_since_s", "_value")

    def __init__(self) -> None:
        self._value: Hashable = _NOTHING
        self._since_s = 0.0

    def for_s(self, now_s: float, value: Hashable) -> float:
        """Return the seconds since `value` was first seen, 0.0 if it is another than before."""
        if value != self._value:
            self._value = value
            self._since_s = now_s
            return 0.0
        return now_s - self._since_s


class Deadlines:
    """What a peer has to do in time. Thread: its connection's loop.

    The first byte: within `first_byte_timeout_s` of the first look. A frame: within
    `frame_timeout_s` of the look that saw it begun. Taking replies: some bytes every
    `write_stall_timeout_s`, while there are any. Else: something within `idle_timeout_s`.

    Attributes:
        quiet_until_s: until when no deadline can pass if nothing happens; 0.0 if the last look
            found something going on.
    """

    __slots__ = ("_frame", "_late_bytes", "_limits", "_quiet", "_taking", "quiet_until_s")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._quiet = Unchanged()
        self._taking = Unchanged()
        self._frame = Unchanged()
        self._late_bytes: int | None = None  # received when a frame was seen to be late
        self.quiet_until_s = 0.0

    def passed(
        self,
        now_s: float,
        *,
        received_bytes: int,
        written_bytes: int,
        unsent_bytes: int,
        busy: bool,
        frame_seq: int | None,
        on_way_bytes: int = 0,
    ) -> DeadlinePassed | None:
        """Return what deadline has passed, as the error to end the connection with, or None.

        Args:
            now_s: the time, on any clock that does not go back.
            received_bytes, written_bytes: totals of input and of replies.
            unsent_bytes: what of the replies the peer has not taken.
            busy: whether input is on its way through the worker: then it is we who are late.
            frame_seq: a number of the unfinished frame, None between frames; as of the input that
                has come back from the worker.
            on_way_bytes: how much of the input is on its way. It may hold the rest of the frame,
                so a frame that is late is judged by what had come when it was first seen late,
                once that is back; not by what comes later, or bytes sent in time with the sweeps
                would keep it open.
        """
        limits = self._limits
        self.quiet_until_s = 0.0
        taken_bytes = written_bytes - unsent_bytes
        stalled_s = self._taking.for_s(now_s, (taken_bytes, unsent_bytes > 0))
        if unsent_bytes and stalled_s >= limits.write_stall_timeout_s:
            return WriteStalled(
                f"the peer took none of {unsent_bytes} unsent bytes for {stalled_s:.1f} s; "
                f"write_stall_timeout_s is {limits.write_stall_timeout_s:g}"
            )
        quiet_s = self._quiet.for_s(now_s, (received_bytes, taken_bytes, busy))
        if busy and not on_way_bytes:
            return None
        frame_s = self._frame.for_s(now_s, frame_seq)
        if frame_seq is not None and frame_s >= limits.frame_timeout_s:
            if self._late_bytes is None:
                self._late_bytes = received_bytes
            if received_bytes - on_way_bytes >= self._late_bytes:
                return FrameLate(
                    f"a frame was not complete after {frame_s:.1f} s; "
                    f"frame_timeout_s is {limits.frame_timeout_s:g}"
                )
            return None
        self._late_bytes = None
        if busy or frame_seq is not None or unsent_bytes:
            return None
        if not received_bytes:
            self.quiet_until_s = now_s - quiet_s + limits.first_byte_timeout_s
            if quiet_s >= limits.first_byte_timeout_s:
                return FirstByteLate(
                    f"nothing was received within {quiet_s:.1f} s; "
                    f"first_byte_timeout_s is {limits.first_byte_timeout_s:g}"
                )
        else:
            self.quiet_until_s = now_s - quiet_s + limits.idle_timeout_s
            if quiet_s >= limits.idle_timeout_s:
                return IdleTooLong(
                    f"nothing was received for {quiet_s:.1f} s; "
                    f"idle_timeout_s is {limits.idle_timeout_s:g}"
                )
        return None


_NOTHING = object()
