"""How somebody receives and sends for a stream past its protocol: for many streams in one call.

Theory of operation. A transport that is served directly (`EpollTransport.serve_directly`) has its
ready input reported to a handler, together with that of others, and says at its gate what may be
done past the protocol at each moment. Whatever the handler does not do itself, such as an end of
input, it hands back to the transport, which does what it does for any stream.
"""

from collections.abc import Callable
from typing import Any, Protocol

from asyncrev.loop.selector import BatchHandler

__all__ = ["DirectHandler", "Gate"]


class Gate(Protocol):
    """What may be done for one stream past its protocol. Thread: loop.

    Attributes:
        reads: whether input may be received: the stream is open, its reading is not paused, and its
            input has not ended. Written by the transport.
        sends: whether bytes may be sent: the stream is open for it, and nothing waits to be sent
            before. Written by the transport.
    """

    reads: bool
    sends: bool


class DirectHandler(BatchHandler, Protocol):
    """Receives and sends for many streams. Thread: loop.

    Of `on_ready_batch` it hands what it does not receive to the transport's `on_direct_event`.
    """

    def attach(
        self,
        fd: int,
        transport: Any,
        gate: Any,
        recv_into: Callable[[memoryview], int],
        send: Callable[[Any], int],
    ) -> None:
        """Begin to serve a stream, as far as its gate allows.

        Args:
            fd: its descriptor, as in the events.
            transport: what has it, an `EpollTransport`.
            gate: its gate.
            recv_into, send: of its socket, which is non-blocking.
        """
        ...

    def detach(self, fd: int) -> None:
        """Serve it no more; comes before the descriptor is closed."""
        ...
