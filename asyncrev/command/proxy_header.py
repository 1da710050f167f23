"""A warning about an unexpected PROXY header, which is recognized by its first bytes.

Proxies can be configured to send a header before the bytes of a connection, as text or in binary
(versions 1 and 2, www.haproxy.org/download/3.0/doc/proxy-protocol.txt, 2.1 and 2.2). No client
begins with either. The specification demands that the header is sent in one piece.
"""

import logging

__all__ = ["LOOKED_AT_BYTES", "ProxyHeaderWarning", "proxy_header_version"]

logger = logging.getLogger("asyncrev")

_VERSION_1 = (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN")
_VERSION_2 = b"\r\n\r\n\0\r\nQUIT\n"

_OFF = (
    "--proxy-protocol is off; give it together with --proxy-from and the proxy's address, or "
    "remove send-proxy (HAProxy) or proxy_protocol (nginx, load balancers) from the proxy's "
    "configuration"
)
_NOT_LISTED = (
    "its sender is not in --proxy-from, or it is a second header; add the sender's address if it "
    "is a proxy of yours"
)

# Bytes that suffice to recognize one.
LOOKED_AT_BYTES = 13


def proxy_header_version(first: bytes) -> int | None:
    """Return the version of the PROXY header that `first` begins with, or None."""
    if first.startswith(_VERSION_1):
        return 1
    return 2 if first.startswith(_VERSION_2) else None


class ProxyHeaderWarning:
    """Warns about the first PROXY header only. Thread: loop."""

    def __init__(self, reads_headers: bool = False) -> None:
        """Prepare to warn; `reads_headers`: whether the server reads those of listed proxies."""
        self.given = False
        self._why = _NOT_LISTED if reads_headers else _OFF

    def __call__(self, first: memoryview) -> bool:
        """Check a connection's first bytes; return whether to check the next connection's."""
        version = proxy_header_version(bytes(first[:LOOKED_AT_BYTES]))
        if version is None or self.given:
            return not self.given
        self.given = True
        logger.warning(
            "a connection began with a PROXY header (version %d), which is processed as data, "
            "because %s. Further headers are not reported",
            version,
            self._why,
        )
        return False
