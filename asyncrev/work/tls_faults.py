"""What a peer does wrong over TLS, in words for the log."""

import ssl

from asyncrev.errors import RemoteError, TlsError, TlsHandshakeFailed

__all__ = ["fault_of", "handshake_failed"]


def fault_of(error: ssl.SSLError, *, is_established: bool) -> RemoteError:
    """Return the peer's fault that OpenSSL has found. Thread: any.

    `is_established`: whether the handshake was complete before.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        text = error.verify_message
    elif isinstance(error, ssl.SSLWantReadError):
        text = "the peer began a renegotiation, which is not supported"
    elif isinstance(error, ssl.SSLZeroReturnError):
        text = "the peer ended its stream within it"
    else:
        text = (error.reason or error.strerror or str(error)).partition(" (_ssl.c")[0]
        text = text.replace("_", " ").lower()
    return TlsError(f"TLS: {text}") if is_established else handshake_failed(text)


def handshake_failed(why: str) -> TlsHandshakeFailed:
    """Return the peer's fault of which a handshake has failed. Thread: any."""
    return TlsHandshakeFailed(f"TLS handshake failed: {why}")
