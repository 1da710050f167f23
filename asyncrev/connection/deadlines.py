"""Deadlines of one connection, looked at from time to time by one sweep over all of them.

No message pays for a clock or a timer: a sweep compares what it sees with what it saw. So a
deadline passes up to one sweep late, and never early. Time is an argument, hence virtual in tests.

Before a peer is judged for what it did not send, the kernel is asked what it holds: after a stall
of the loop, and with many sockets ready, input that came in time has not been read yet.
"""

from collections.abc import Callable, Hashable

from asyncrev.connection.rate_window import RateWindow
from asyncrev.errors import (
    DeadlinePassed,
    FirstByteLate,
    FrameLate,
    IdleTooLong,
    InputTooSlow,
    RepliesTooSlow,
    TlsHandshakeLate,
    WriteStalled,
)
from asyncrev.limits import Limits

__all__ = ["MOST_OPAQUE_LOOKS", "Deadlines", "Unchanged"]

# How often input in the kernel puts a deadline off when reading it need not show in
# `received_bytes`: TLS records may be incomplete, or empty, for as long as a peer likes.
MOST_OPAQUE_LOOKS = 16

# What a peer's kernel takes of its replies comes in steps: of a segment, on loopback one of 64 KiB,
# or of a sixteenth of its buffer, if that is more (Linux, __tcp_select_window).
TAKEN_STEP_BYTES = 64 * 1024

# How often it puts the deadline of a TLS handshake off, by a quarter each time.
MOST_HANDSHAKE_LOOKS = 4


def _nothing_held() -> tuple[int, bool]:
    return 0, False


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
    `write_stall_timeout_s`, while there are any. Both at `min_rate_bytes_per_s`, if there is one.
    Else: something within `idle_timeout_s`.
    """

    __slots__ = (
        "_busy",
        "_data_bytes",
        "_frame",
        "_frame_rate",
        "_handshake",
        "_handshake_looks",
        "_is_quiet",
        "_late_bytes",
        "_limits",
        "_opaque_looks",
        "_quiet_since_s",
        "_received_bytes",
        "_spent_s",
        "_taken_bytes",
        "_taken_rate",
        "_taking",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # What the last look found, and since when it has been so; -1 before the first.
        self._data_bytes = self._taken_bytes = -1
        self._busy = False
        self._quiet_since_s = 0.0
        # While there is something to time: few connections have a frame or a reply on its way.
        self._taking: Unchanged | None = None
        self._frame: Unchanged | None = None
        self._taken_rate: RateWindow | None = None
        self._frame_rate: RateWindow | None = None
        self._handshake: Unchanged | None = None
        self._handshake_looks = 0
        self._late_bytes: int | None = None  # received or held when a frame was seen to be late
        self._opaque_looks = 0  # that put something off since `_received_bytes` changed
        self._received_bytes = 0
        self._is_quiet = False
        self._spent_s = 0.0

    def count_from(self, spent_s: float) -> None:
        """Have the TLS handshake and the first byte count `spent_s` before the first look, too."""
        self._spent_s = spent_s

    @property
    def quiet_until_s(self) -> float:
        """Until when no deadline can pass if nothing happens; 0.0 if something was going on."""
        return self._quiet_since_s + self._quiet_timeout_s() if self._is_quiet else 0.0

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
        paused: bool = False,
        held_input: Callable[[], tuple[int, bool]] = _nothing_held,
        opaque: bool = False,
        handshaking: bool = False,
        data_bytes: int | None = None,
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
            paused: whether the connection is not read for now.
            held_input: returns how many bytes of input the kernel holds, and whether it has the
                end of the input. Called only when a deadline seems to have passed.
            opaque: whether those bytes may hold no data of the peer's (TLS).
            handshaking: whether the TLS handshake is not complete; then only that has a deadline.
            data_bytes: what of `received_bytes` were data, if not all (TLS).
        """
        self._is_quiet = False
        if handshaking:
            return self._handshake_late(now_s, held_input)
        if data_bytes is None:
            data_bytes = received_bytes
        taken_bytes = written_bytes - unsent_bytes
        stalled = self._write_stalled(now_s, taken_bytes, unsent_bytes)
        lags = stalled or self._replies_too_slow(now_s, taken_bytes, unsent_bytes)
        if lags is not None:
            return lags
        quiet_s = self._quiet_s(now_s, data_bytes, taken_bytes, busy)
        if received_bytes != self._received_bytes:
            self._received_bytes = received_bytes
            self._opaque_looks = 0
        waits_for_us = busy and not on_way_bytes
        slow = self._input_too_slow(
            now_s, received_bytes, frame_seq, owed=not (paused or waits_for_us)
        )
        if waits_for_us:
            return None
        late = self._frame_late(now_s, frame_seq) or slow
        if late is not None:
            # Waiting for budget, or for the peer to take replies, is no excuse.
            waits = paused and not on_way_bytes
            held = (0, False) if waits else held_input()
            rest_may_come = self._rest_may_come(received_bytes, on_way_bytes, held)
            if rest_may_come and (on_way_bytes or self._put_off(opaque=opaque)):
                return None
            return late
        self._late_bytes = None
        if busy or frame_seq is not None or unsent_bytes:
            return None
        timeout_s = self._quiet_timeout_s()
        if quiet_s < timeout_s:
            self._is_quiet = True
            return None
        if any(held_input()) and self._put_off(opaque=opaque):
            return None
        if data_bytes:
            return IdleTooLong(
                f"nothing was received for {quiet_s:.1f} s; idle_timeout_s is {timeout_s:g}"
            )
        return FirstByteLate(
            f"nothing was received within {quiet_s:.1f} s; first_byte_timeout_s is {timeout_s:g}"
        )

    def _handshake_late(
        self, now_s: float, held_input: Callable[[], tuple[int, bool]]
    ) -> TlsHandshakeLate | None:
        if self._handshake is None:
            self._handshake = Unchanged()
            self._handshake.for_s(now_s - self._spent_s, True)
        shaking_s = self._handshake.for_s(now_s, True)
        timeout_s = self._limits.tls_handshake_timeout_s
        if shaking_s < timeout_s + self._handshake_looks * timeout_s / 4:
            return None
        if self._handshake_looks < MOST_HANDSHAKE_LOOKS and any(held_input()):
            self._handshake_looks += 1
            return None
        return TlsHandshakeLate(
            f"the TLS handshake was not complete after {shaking_s:.1f} s; "
            f"tls_handshake_timeout_s is {timeout_s:g}"
        )

    def _quiet_s(self, now_s: float, data_bytes: int, taken_bytes: int, busy: bool) -> float:
        if data_bytes != self._data_bytes or taken_bytes != self._taken_bytes or busy != self._busy:
            is_first = self._data_bytes < 0
            self._data_bytes, self._taken_bytes, self._busy = data_bytes, taken_bytes, busy
            self._quiet_since_s = now_s
            if is_first and not data_bytes:  # one deadline with what comes before the first byte
                shaken = self._handshake
                self._quiet_since_s -= shaken.for_s(now_s, True) if shaken else self._spent_s
        return now_s - self._quiet_since_s

    def _quiet_timeout_s(self) -> float:
        limits = self._limits
        return limits.idle_timeout_s if self._data_bytes else limits.first_byte_timeout_s

    def _replies_too_slow(
        self, now_s: float, taken_bytes: int, unsent_bytes: int
    ) -> RepliesTooSlow | None:
        rate = self._limits.min_rate_bytes_per_s
        if not (rate and unsent_bytes):
            self._taken_rate = None
            return None
        window = self._taken_rate = self._taken_rate or RateWindow()
        step_bytes = TAKEN_STEP_BYTES
        if not window.is_slow(now_s, taken_bytes, rate, debt=True, step_bytes=step_bytes):
            return None
        return RepliesTooSlow(
            f"the peer took {window.come_bytes} bytes in {window.owed_s:.1f} s while "
            f"{unsent_bytes} waited for it; min_rate_bytes_per_s is {rate}"
        )

    def _input_too_slow(
        self, now_s: float, received_bytes: int, frame_seq: int | None, *, owed: bool
    ) -> InputTooSlow | None:
        rate = self._limits.min_rate_bytes_per_s
        if not rate or frame_seq is None:
            self._frame_rate = None
            return None
        window = self._frame_rate = self._frame_rate or RateWindow()
        if not window.is_slow(now_s, received_bytes, rate, debt=frame_seq, owed=owed):
            return None
        return InputTooSlow(
            f"{window.come_bytes} bytes of a frame came in {window.owed_s:.1f} s; "
            f"min_rate_bytes_per_s is {rate}"
        )

    def _write_stalled(
        self, now_s: float, taken_bytes: int, unsent_bytes: int
    ) -> WriteStalled | None:
        if not unsent_bytes:
            self._taking = None
            return None
        self._taking = self._taking or Unchanged()
        stalled_s = self._taking.for_s(now_s, taken_bytes)
        timeout_s = self._limits.write_stall_timeout_s
        if stalled_s < timeout_s:
            return None
        return WriteStalled(
            f"the peer took none of {unsent_bytes} unsent bytes for {stalled_s:.1f} s; "
            f"write_stall_timeout_s is {timeout_s:g}"
        )

    def _frame_late(self, now_s: float, frame_seq: int | None) -> FrameLate | None:
        if frame_seq is None:
            self._frame = None
            return None
        self._frame = self._frame or Unchanged()
        frame_s = self._frame.for_s(now_s, frame_seq)
        timeout_s = self._limits.frame_timeout_s
        if frame_s < timeout_s:
            return None
        return FrameLate(
            f"a frame was not complete after {frame_s:.1f} s; frame_timeout_s is {timeout_s:g}"
        )

    def _rest_may_come(
        self, received_bytes: int, on_way_bytes: int, held: tuple[int, bool]
    ) -> bool:
        """Return whether the rest of a late frame may be in what had come when it was seen so."""
        held_bytes, ended = held
        come_bytes = received_bytes + held_bytes
        if self._late_bytes is None or come_bytes < self._late_bytes:
            self._late_bytes = come_bytes
        if received_bytes - on_way_bytes >= self._late_bytes:
            # The end of the input completes a line, and is an error of its own within a frame.
            return ended
        # Neither here nor there: TLS made fewer bytes of those that the kernel held.
        return bool(on_way_bytes or held_bytes or ended)

    def _put_off(self, *, opaque: bool) -> bool:
        """Note that the kernel holds input; return whether that puts a deadline off."""
        self._opaque_looks += 1
        return not opaque or self._opaque_looks <= MOST_OPAQUE_LOOKS


_NOTHING = object()
