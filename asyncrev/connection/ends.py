"""How a connection ends: what the log says of it, and what its transport does last.

All functions: the loop's thread.
"""

import asyncio
import logging

from asyncrev.connection.lingering import Lingering
from asyncrev.connection.reading import Reading
from asyncrev.errors import (
    AsyncrevError,
    BridgeStopped,
    FirstByteLate,
    IdleTooLong,
    IncompleteFrame,
    PeerRefused,
    ProcessorError,
    RemoteError,
    ReplyLost,
    TlsHandshakeFailed,
    TlsHandshakeLate,
    TlsTruncated,
    WorkerDied,
)
from asyncrev.loop_errors import report_to_loop

__all__ = ["abort_reason_of", "end_stream", "log_abort", "log_fault", "log_old", "report_error"]

logger = logging.getLogger("asyncrev")

# Clients that keep a connection for later, that close a socket without ending its TLS, scanners of
# ports, and peers that a processor does not want do this every day.
_EVERYDAY = (
    FirstByteLate,
    IdleTooLong,
    PeerRefused,
    TlsTruncated,
    TlsHandshakeFailed,
    TlsHandshakeLate,
)


def log_abort(peer: str, reason: str, error: AsyncrevError | None) -> None:
    """Log that this side ended the connection to `peer` at once; `error` says more of `reason`."""
    text = error if error is not None else reason
    extra = {"reason": f"aborted: {reason}", "peer": peer, "end": reason}
    logger.warning("%s: aborted: %s", peer, text, extra=extra)


def abort_reason_of(error: BaseException, *, peer_ended: bool) -> str | None:
    """Return why a connection is closed that `error` ended, for statistics; None: nobody's fault.

    Args:
        error: what the bridge says, or what the processor raised.
        peer_ended: whether it was the peer who ended the input. When a drain did, an unfinished
            frame is nobody's fault.
    """
    if isinstance(error, (BridgeStopped, WorkerDied)):
        return "bridge ended"
    if isinstance(error, RemoteError):
        return error.reason if peer_ended or not isinstance(error, IncompleteFrame) else None
    return error.reason if isinstance(error, ProcessorError) else ProcessorError.reason


def report_error(
    error: BaseException,
    peer: str,
    transport: asyncio.BaseTransport,
    protocol: asyncio.BaseProtocol,
) -> None:
    """Report what ended the connection to `peer`: a line in the log, or the loop's handler.

    A peer's fault is logged. What a processor raised is reported to the running loop's exception
    handler. The bridge itself reports its worker's death, once for all connections.
    """
    if isinstance(error, RemoteError | ReplyLost):
        log_fault(peer, error)
    elif not isinstance(error, (BridgeStopped, WorkerDied)):
        report_to_loop(
            asyncio.get_running_loop(),
            "a processor failed; its connection is closed",
            error,
            transport=transport,
            protocol=protocol,
        )


def log_fault(peer: str, error: RemoteError | ReplyLost) -> None:
    """Log that the connection to `peer` is closed because of what the peer did, or did not do.

    Or because a reply does not come, which the engine that lost it reports itself.
    """
    level = logging.INFO if isinstance(error, _EVERYDAY) else logging.WARNING
    extra = {"reason": f"closed: {error.reason}", "peer": peer, "end": error.reason}
    logger.log(level, "%s: closed: %s", peer, error, extra=extra)


def log_old(peer: str, most_s: float) -> None:
    """Log that the connection to `peer` is drained for its age."""
    logger.info(
        "%s: closing: it is old, max_connection_age_s is %g; what has arrived is answered",
        peer,
        most_s,
        extra={"reason": "closing: connection age"},
    )


def end_stream(
    protocol: asyncio.BaseProtocol,
    reading: Reading,
    *,
    peer_ended: bool,
    linger_timeout_s: float,
) -> None:
    """Send what is written, then an end of stream; late input is dropped. Idempotent.

    A socket that is closed with unread input answers it with a reset, which takes the last
    replies from the peer (RFC 1122, 4.2.2.13), so a peer that may still send is lingered for.

    Args:
        protocol: of the connection; its `connection_lost` is called at the end, whatever protocol
            the transport has until then.
        reading: has the transport.
        peer_ended: whether the peer's end of stream was received, so that it sends no more.
        linger_timeout_s: how long to wait for the peer's end of stream.
    """
    transport = reading.transport
    if transport.is_closing():
        # Once more would do nothing, but a TLS transport of asyncio's raises from then on at
        # `get_write_buffer_size`: it gives up its protocol (asyncio.sslproto, 3.11 to 3.13).
        return
    if peer_ended or not transport.can_write_eof():
        reading.resume_for_close()
        transport.close()
        return
    try:
        transport.write_eof()
    except OSError:  # reset meanwhile; asyncio's transport lets the error of shutdown(2) out
        transport.abort()
        return
    transport.set_protocol(Lingering(protocol, transport, linger_timeout_s))
    transport.resume_reading()
