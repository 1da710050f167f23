"""Sends input to a server and writes its reply, both at the same time: `asyncrev send`.

One thread polls the connection, stdin and stdout. What is held is bounded: a piece of input, the
output that stdout has not taken, and what is needed to verify the reply.
"""

import dataclasses
import os
import select
import stat
import time
from collections.abc import Iterator

from asyncrev.command.send_connection import Connection, NoAnswer, poll_once
from asyncrev.command.send_expect import MOST_UNANSWERED_BYTES, Expectation, ReplyDiffers
from asyncrev.command.send_frames import Input, Output
from asyncrev.command.send_progress import Progress
from asyncrev.errors import LocalError, RemoteError

__all__ = ["ClosedEarly", "Exchange", "OutputClosed"]

_PIECE_BYTES = 64 * 1024
_MOST_OUTPUT_BYTES = 256 * 1024
_AT_ONCE_BYTES = select.PIPE_BUF  # a writable pipe takes so many without blocking (pipe(7))


class ClosedEarly(LocalError):
    """The server ended or reset the connection before it should have."""


class OutputClosed(LocalError):
    """Stdout cannot be written."""


@dataclasses.dataclass(slots=True)
class Exchange:
    """One run: input goes out, the reply comes in, until the server ends the connection.

    Attributes:
        connection: to the server; the caller closes it.
        input: makes wire bytes of what is read from stdin, and counts them.
        output: makes output of the reply.
        pieces: the wire bytes to send, or None to read stdin.
        expectation: what the reply must be, or None.
        timeout_s: how long the server may do nothing while it is its turn.
        progress: is told how far it is.
        stdin, stdout: descriptors.
    """

    connection: Connection
    input: Input
    output: Output
    pieces: Iterator[bytes] | None
    expectation: Expectation | None
    timeout_s: float
    progress: Progress
    stdin: int = 0
    stdout: int = 1
    sent_bytes: int = 0
    received_bytes: int = 0
    _to_send: memoryview = dataclasses.field(default_factory=lambda: memoryview(b""))
    _to_write: bytearray = dataclasses.field(default_factory=bytearray)
    _input_ended: bool = False
    _half_closed: bool = False
    _reply_ended: bool = False
    _last_byte: int = 10

    def run(self) -> None:
        """Do all of it. Thread: main.

        Raises:
            ClosedEarly, RemoteError: the connection ended early, or what came cannot be a reply.
            NoAnswer: the server did nothing for `timeout_s`.
            ReplyDiffers: the reply is not what is expected.
            OutputClosed: stdout cannot be written.
            LocalError: the input cannot be sent.
        """
        whole_at_once = _never_blocks(self.stdout)
        last_s = time.monotonic()
        while not (self._reply_ended and not self._to_write):
            self._take_pieces()
            wanted = self._wanted()
            waits_for_peer = self._waits_for_peer()
            now_s = time.monotonic()
            left_s = self.timeout_s - (now_s - last_s)
            if waits_for_peer and left_s <= 0:
                self._give_up()
                last_s = now_s
                continue
            ready = poll_once(wanted, left_s if waits_for_peer else None)
            moved = False
            if self.stdout in ready and self._to_write:
                self._write(len(self._to_write) if whole_at_once else _AT_ONCE_BYTES)
            # With room for output again, TLS may have decrypted bytes that no poll reports.
            if self.connection.fileno() in ready or self.stdout in ready:
                moved = self._send() | self._receive()
            if self.stdin in ready and self.stdin in wanted:
                self._read()
            if moved or not waits_for_peer:
                last_s = time.monotonic()
            self.progress.note(self.sent_bytes, self.received_bytes)
        if self._last_byte != 10 and os.isatty(self.stdout):
            self._to_write += b"\n"  # the prompt gets a line of its own
            self._write(1)

    # -- whose turn it is --------------------------------------------------------------------------

    def _wants_input(self) -> bool:
        unanswered_bytes = 0 if self.expectation is None else self.expectation.unanswered_bytes
        return (
            not self._input_ended
            and not self._to_send
            and not self._reply_ended
            and unanswered_bytes < MOST_UNANSWERED_BYTES
        )

    def _wanted(self) -> dict[int, int]:
        """Return the events to wait for, of each descriptor."""
        wanted = {}
        events = 0
        if not self._reply_ended and len(self._to_write) < _MOST_OUTPUT_BYTES:
            events |= select.POLLIN
        if (self._to_send or self.connection.has_unsent) and not self._reply_ended:
            events |= select.POLLOUT
        if events:  # without any, an error of the socket would be reported again and again
            wanted[self.connection.fileno()] = events
        if self.pieces is None and self._wants_input():
            wanted[self.stdin] = select.POLLIN
        if self._to_write:
            wanted[self.stdout] = select.POLLOUT
        return wanted

    def _waits_for_peer(self) -> bool:
        if self._reply_ended or len(self._to_write) >= _MOST_OUTPUT_BYTES:
            return False
        has_unsent = bool(self._to_send) or self.connection.has_unsent
        return has_unsent or self._input_ended or not self._wants_input()

    def _give_up(self) -> None:
        """Handle that the server did nothing for the time allowed.

        Over TLS the end of the input is not sent before the reply is there; once more is waited
        after that.

        Raises:
            NoAnswer: there is nothing else to try.
        """
        is_quiet = not self._to_send and not self.connection.has_unsent
        if self._input_ended and is_quiet and not self._half_closed:
            self._half_close()
            return
        what = "took no input" if self._to_send else "sent no reply and did not close"
        raise NoAnswer(
            f"the server {what} for {self.timeout_s:g} s (--timeout-s); {self._so_far()}"
        )

    def _so_far(self) -> str:
        return f"{self.sent_bytes} bytes were sent, {self.received_bytes} received"

    # -- input -------------------------------------------------------------------------------------

    def _take_pieces(self) -> None:
        if self.pieces is not None and self._wants_input():
            piece = next(self.pieces, None)
            if piece is None:
                self._end_input(b"")
            else:
                self._queue(piece)
        self._half_close_if_done()

    def _read(self) -> None:
        try:
            data = os.read(self.stdin, _PIECE_BYTES)
        except OSError as error:
            raise LocalError(f"cannot read stdin: {error.strerror}") from None
        if data:
            self._queue(self.input.feed(data))
        else:
            self._end_input(self.input.end())

    def _end_input(self, rest: bytes) -> None:
        self._queue(rest)
        self._input_ended = True
        if self.expectation is not None:
            self.expectation.note_end()

    def _queue(self, wire: bytes) -> None:
        if wire and self.expectation is not None:
            self.expectation.note_sent(wire)
        self._to_send = memoryview(wire)

    def _send(self) -> bool:
        """Send what the socket takes; return whether it took anything."""
        try:
            if not self._to_send:
                return self.connection.flush()
            nbytes = self.connection.send(self._to_send)
        except OSError:
            # What arrived before the reset, and the reset itself, are read next.
            return False
        self.sent_bytes += nbytes
        self._to_send = self._to_send[nbytes:]
        return nbytes > 0

    def _half_close_if_done(self) -> None:
        if self._half_closed or not self._input_ended or self._to_send or self._reply_ended:
            return
        if self.connection.ends_input or self._is_answered():
            self._half_close()

    def _half_close(self) -> None:
        try:
            self._half_closed = self.connection.half_close()
        except OSError:
            self._half_closed = True  # ENOTCONN after a reset, which is read next

    def _is_answered(self) -> bool:
        if self.expectation is not None:
            return self.expectation.is_complete()
        return self.output.units >= self.input.units

    # -- reply -------------------------------------------------------------------------------------

    def _receive(self) -> bool:
        """Take what has arrived; return whether anything had."""
        moved = False
        while not self._reply_ended and len(self._to_write) < _MOST_OUTPUT_BYTES:
            try:
                wire = self.connection.receive(_PIECE_BYTES)
            except OSError as error:
                self._to_write_now()
                raise ClosedEarly(
                    f"the connection failed: {error.strerror}; {self._so_far()}"
                ) from None
            except RemoteError as error:
                self._to_write_now()
                raise ClosedEarly(f"{error}; {self._so_far()}") from None
            if wire is None:
                break
            moved = True
            if wire:
                self._take_reply(wire)
            else:
                self._end_reply()
        return moved

    def _take_reply(self, wire: bytes) -> None:
        self.received_bytes += len(wire)
        try:
            try:
                output = self.output.feed(wire)
            finally:
                if self.expectation is not None:
                    self.expectation.receive(wire)
        except RemoteError as error:
            raise ClosedEarly(f"the reply has no such frames: {error}; check --framing") from None
        except ReplyDiffers:
            self._to_write += wire if self.output.is_wire else b""
            self._to_write_now()
            raise
        self._to_write += output
        if output:
            self._last_byte = output[-1]

    def _end_reply(self) -> None:
        self._reply_ended = True
        if not self._input_ended or self._to_send:
            self._to_write_now()
            raise ClosedEarly(
                f"the server closed the connection before all of the input was sent; "
                f"{self._so_far()}"
            )
        try:
            if self.expectation is not None:
                self.expectation.end()
        except ReplyDiffers:
            self._to_write_now()
            raise
        if self.output.incomplete_bytes():
            raise ClosedEarly(
                f"the reply ends within a frame, of which {self.output.incomplete_bytes()} bytes "
                "came"
            )

    # -- stdout ------------------------------------------------------------------------------------

    def _write(self, most_bytes: int) -> None:
        try:
            nbytes = os.write(self.stdout, self._to_write[:most_bytes])
        except BlockingIOError:
            return  # somebody else's open file description, made non-blocking
        except OSError as error:
            raise OutputClosed(f"cannot write to stdout: {error.strerror}") from None
        del self._to_write[:nbytes]

    def _to_write_now(self) -> None:
        """Write what came before an error, as far as stdout takes it within a second."""
        end_s = time.monotonic() + 1.0
        while self._to_write and time.monotonic() < end_s:
            if poll_once({self.stdout: select.POLLOUT}, end_s - time.monotonic()):
                self._write(_AT_ONCE_BYTES)


def _never_blocks(fd: int) -> bool:
    """Return whether writes to `fd` end by themselves: to a file, or to a device like /dev/null."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(fd))
