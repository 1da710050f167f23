"""What a peer does wrong over TLS, in words for the log."""

import ssl

from asyncrev.errors import RemoteError, TlsCertificateRefused, TlsError, TlsHandshakeFailed

__all__ = ["fault_of", "handshake_failed"]

_NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"  # OpenSSL, ssl/statem/statem_srvr.c


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
    if is_established:
        return TlsError(f"TLS: {text}")
    if isinstance(error, ssl.SSLCertVerificationError) or _NO_CERTIFICATE in str(error):
        return TlsCertificateRefused(_failed(text))
    return handshake_failed(text)


def handshake_failed(why: str) -> TlsHandshakeFailed:
    """Return the peer's fault of which a handshake has failed. Thread: any."""
    return TlsHandshakeFailed(_failed(why))


def _failed(why: str) -> str:
    return f"TLS handshake failed: {why}"
