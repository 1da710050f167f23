"""Reading: whether a connection's transport reads, and for which reasons it does not.

The reasons are flags of an `int`, not of an `enum.Flag`: they are tested for each received chunk
and each reply, and the operators of `enum.Flag` are Python calls. docs/modules.md shows them; a
test compares the two.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "INPUT_ENDED",
    "NO_CREDIT",
    "NO_HANDSHAKE_PLACE",
    "PAUSE_REASONS",
    "WRITE_BUFFER_FULL",
    "Reading",
    "names_of",
]

NO_CREDIT = 1
WRITE_BUFFER_FULL = 2
INPUT_ENDED = 4
NO_HANDSHAKE_PLACE = 8

# Each reason's flag, and when it is taken back.
PAUSE_REASONS: Mapping[str, tuple[int, str]] = {
    "NO_CREDIT": (NO_CREDIT, "the bridge gives the lane credit again (I8, I9)"),
    "WRITE_BUFFER_FULL": (WRITE_BUFFER_FULL, "the write buffer falls to the low water mark"),
    "INPUT_ENDED": (INPUT_ENDED, "never: no more input is processed"),
    "NO_HANDSHAKE_PLACE": (NO_HANDSHAKE_PLACE, "the connection gets its place (I25), or its step"),
}


def names_of(pauses: int) -> tuple[str, ...]:
    """Return the names of the reasons whose flags `pauses` has. Thread: any."""
    return tuple(name for name, (flag, _) in PAUSE_REASONS.items() if pauses & flag)


# aiofastnet 1.2.0: after a pause its TLS transport looks at its socket only, so what it had read
# before stays with it until more comes, and is lost if the end comes instead. This method, which
# it calls itself after a handshake, hands on what it has. Nothing else in asyncrev knows of it.
_TLS_HAND_ON = "_retry_ssl_read"


class Reading:
    """Pauses and resumes a transport's reading. All methods: the loop's thread.

    Attributes:
        pauses: the reasons for which reading is paused, as a sum of flags; 0 while the transport
            reads. Written here only; the protocol reads it for each chunk and reply.
        transport: the connection's; None before `attach`.
        is_tls: whether its input comes through TLS, which holds input that no socket shows.
    """

    __slots__ = ("_hand_on_held", "is_tls", "pauses", "transport")

    def __init__(self) -> None:
        self.pauses = 0
        self.transport: Any = None
        self.is_tls = False
        self._hand_on_held: Callable[[], None] | None = None

    def attach(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport of a new connection, which reads. Called once, before all others."""
        self.transport = transport
        self.is_tls = transport.get_extra_info("sslcontext") is not None
        self._hand_on_held = getattr(transport, _TLS_HAND_ON, None)

    def pause(self, reason: int) -> None:
        """Stop reading for `reason`, one of the flags above. Idempotent."""
        if not self.pauses:
            self.transport.pause_reading()
        self.pauses |= reason

    def resume(self, reason: int) -> None:
        """Take `reason` back; reading resumes when none is left. Idempotent.

        Over aiofastnet's TLS it resumes in the next loop iteration, if none has come until then.
        """
        was, self.pauses = self.pauses, self.pauses & ~reason
        if not was or self.pauses:
            return
        if self._hand_on_held is None:
            self.transport.resume_reading()
        else:
            # Not from here, because input would come while the bridge is giving credit.
            asyncio.get_running_loop().call_soon(self._resume_with_held)

    def resume_for_close(self) -> None:
        """Read, whatever the reasons, if the transport cannot close without. Call before `close`.

        aiofastnet closes TLS only once it has read the peer's answer; no input comes.
        """
        if self._hand_on_held is not None:
            self.transport.resume_reading()

    def _resume_with_held(self) -> None:
        if not (self.pauses or self.transport.is_closing()):
            assert self._hand_on_held is not None
            self.transport.resume_reading()
            self._hand_on_held()  # before its next look at the socket, which may show an end
