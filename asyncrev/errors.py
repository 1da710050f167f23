"""Every error that asyncrev raises or reports, split by who is to blame.

`LocalError` is a mistake of this program (its caller, its processor, its settings);
`RemoteError` is something a peer did. Messages carry the actual and the allowed value.
"""

__all__ = [
    "AsyncrevError",
    "BridgeStopped",
    "ChannelClosed",
    "DeadlinePassed",
    "ExecutorLost",
    "FirstByteLate",
    "FrameLate",
    "FrameTooLarge",
    "IdleTooLong",
    "IncompleteFrame",
    "InputTooSlow",
    "LocalError",
    "PeerRefused",
    "ProcessorError",
    "ProcessorTimeout",
    "ProxyHeaderInvalid",
    "ProxyHeaderLate",
    "ProxyHeaderMissing",
    "RemoteError",
    "RepliesTooSlow",
    "ReplyLost",
    "SettingsError",
    "TlsCertificateRefused",
    "TlsError",
    "TlsHandshakeFailed",
    "TlsHandshakeLate",
    "TlsTruncated",
    "TooManyFromAddress",
    "WorkerDied",
    "WorkerHung",
    "WriteStalled",
]


class AsyncrevError(Exception):
    """Base of all errors of this package."""


class LocalError(AsyncrevError):
    """This program used asyncrev wrongly."""


class RemoteError(AsyncrevError):
    """A peer did something that ends its connection.

    Attributes:
        reason: under which such connections are counted (`ServerStatistics.aborted`).
    """

    reason = "peer's fault"


class SettingsError(LocalError, ValueError):
    """A setting is out of range; the message names it, its value and what is allowed."""


class ChannelClosed(LocalError):
    """The channel is closed: nothing more can be put in, or everything has been taken out."""


class BridgeStopped(LocalError):
    """The bridge has been stopped, or was never started."""


class ProcessorError(LocalError):
    """A processor raised, or returned something that is not bytes; its connection is closed.

    Attributes:
        reason: under which such connections are counted (`ServerStatistics.aborted`).
    """

    reason = "processor error"


class ReplyLost(ProcessorError):
    """A reply that was to come later does not come; its connection is closed, with a log line."""


class ProcessorTimeout(ReplyLost):
    """A coroutine has not answered within `Limits.processor_timeout_s`."""

    reason = "processor timeout"


class ExecutorLost(ReplyLost):
    """A frame was lost with the worker of an executor that had it."""

    reason = "executor lost"


class WorkerDied(AsyncrevError):
    """The worker thread ended by an error outside any processor; its cause is chained."""


class WorkerHung(AsyncrevError):
    """The worker thread did not end in time: a processor does not return."""


class FrameTooLarge(RemoteError):
    """A peer announced, or sent, a longer frame than `Limits.max_frame_bytes`."""

    reason = "frame too large"


class IncompleteFrame(RemoteError):
    """A peer ended its input within a frame."""

    reason = "incomplete frame"


class PeerRefused(RemoteError):
    """A processor refuses its peer, from `connected` or later: raise it with the reason in words.

    The connection is closed after the replies before it; the reason is a line in the log.

    Attributes:
        reply: goes to the peer last, with framing as a frame; empty for nothing.
    """

    reason = "refused"

    def __init__(self, why: str, *, reply: bytes = b"") -> None:
        super().__init__(why)  # alone, so that the error can be copied and pickled
        self.reply = reply

    def __str__(self) -> str:
        return f"refused: {self.args[0]}"


class ProxyHeaderMissing(RemoteError):
    """A listed proxy did not begin a connection with a PROXY header of an allowed version."""

    reason = "PROXY header missing"


class ProxyHeaderInvalid(RemoteError):
    """A listed proxy sent a PROXY header that is against its specification, or a part of one."""

    reason = "PROXY header invalid"


class TlsError(RemoteError):
    """A peer broke the TLS protocol; the message is OpenSSL's."""

    reason = "TLS error"


class TlsHandshakeFailed(TlsError):
    """A peer does not speak TLS, has no version or cipher in common, or no valid certificate."""

    reason = "TLS handshake failed"


class TlsCertificateRefused(TlsHandshakeFailed):
    """A peer's certificate is not valid here, or it has none and must have one."""

    reason = "TLS certificate"


class TlsTruncated(RemoteError):
    """A peer ended its stream without close_notify, so it may be truncated (RFC 8446, 6.1)."""

    reason = "TLS truncated"


class TooManyFromAddress(RemoteError):
    """A peer's address has `Limits.max_connections_per_ip` connections already."""

    reason = "too many of an address"


class DeadlinePassed(RemoteError):
    """A peer was too slow; the message names the deadline and its setting."""

    reason = "deadline"


class ProxyHeaderLate(DeadlinePassed):
    """A listed proxy's PROXY header was not complete in time."""

    reason = "PROXY header deadline"


class TlsHandshakeLate(DeadlinePassed):
    """A TLS handshake was not complete within `Limits.tls_handshake_timeout_s` of the accept."""

    reason = "TLS handshake deadline"


class FirstByteLate(DeadlinePassed):
    """A peer connected and sent nothing for `Limits.first_byte_timeout_s`."""

    reason = "first byte deadline"


class IdleTooLong(DeadlinePassed):
    """A peer that was owed nothing sent nothing for `Limits.idle_timeout_s`."""

    reason = "idle deadline"


class FrameLate(DeadlinePassed):
    """A peer did not finish a frame within `Limits.frame_timeout_s` of its beginning."""

    reason = "frame deadline"


class WriteStalled(DeadlinePassed):
    """A peer took no byte of its replies for the write-stall timeout."""

    reason = "write stall"


class InputTooSlow(DeadlinePassed):
    """A peer sent a frame more slowly than `Limits.min_rate_bytes_per_s`."""

    reason = "input rate"


class RepliesTooSlow(DeadlinePassed):
    """A peer took its replies more slowly than `Limits.min_rate_bytes_per_s`."""

    reason = "reply rate"
