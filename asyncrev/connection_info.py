"""Who is at the other end of a connection: addresses, credentials, what TLS has negotiated.

Immutable, so any thread may read it. It is collected in `connection.peer_info` and, what TLS adds,
in `work.tls_work`.
"""

import contextvars
import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:  # `asyncrev` is imported without OpenSSL
    import ssl as ssl_module

__all__ = [
    "CURRENT",
    "Address",
    "ConnectionInfo",
    "ProxiedTls",
    "ProxyInfo",
    "TlsInfo",
    "UnixCredentials",
    "current_connection_info",
    "tls_info_of",
]

# As `socket.getpeername` returns it: (host, port), for IPv6 (host, port, flow, scope), for UNIX
# sockets the path, bytes for one in the abstract namespace.
Address: TypeAlias = tuple[Any, ...] | str | bytes


class UnixCredentials(NamedTuple):
    """The process behind a UNIX socket, as of its connect (unix(7), SO_PEERCRED).

    `pid` is 0 if it is in another PID namespace.
    """

    pid: int
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TlsInfo:
    """What a TLS handshake has negotiated.

    Attributes:
        version: such as "TLSv1.3".
        cipher: OpenSSL's name of the cipher suite.
        alpn: the application protocol, or None if none was negotiated (RFC 7301).
        server_name: the host that the client has asked for (SNI, RFC 6066), in printable ASCII;
            None if there is none, or if the client's first message is longer than 16 KiB.
        peer_certificate: the peer's certificate as `ssl.SSLSocket.getpeercert` decodes it; None if
            there is none, or if the context does not verify it.
        peer_certificate_der: the same certificate as it came, verified or not.
    """

    version: str
    cipher: str
    alpn: str | None = None
    server_name: str | None = None
    peer_certificate: dict[str, Any] | None = dataclasses.field(default=None, hash=False)
    peer_certificate_der: bytes | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProxiedTls:
    """What a PROXY header of version 2 says of TLS between a client and the proxy.

    Text is None where the header has none, or none that is UTF-8.

    Attributes:
        is_used: whether the client speaks TLS with the proxy.
        has_certificate: whether the client has one, given now or in the session before.
        is_verified: whether the proxy has verified it.
        version, cipher: as OpenSSL calls them, such as "TLSv1.3".
        common_name: of the subject of the certificate; worth something if it `is_verified`.
    """

    is_used: bool
    has_certificate: bool = False
    is_verified: bool = False
    version: str | None = None
    cipher: str | None = None
    common_name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProxyInfo:
    """What a PROXY header has said of a connection (proxy-protocol.txt of HAProxy).

    Attributes:
        proxy_address: of the proxy, as the socket has it.
        version: of the header, 1 or 2.
        is_local: whether the connection is the proxy's own, such as a health check. Of version 1
            a header with UNKNOWN, which names no client either, is taken for that.
        destination_address: to which the client has connected; None if the header does not say.
        authority: the host that the client has asked for (SNI); None without, or if not UTF-8.
        alpn: the protocol that the proxy has agreed on with the client.
        unique_id: the proxy's own name for the connection, up to 128 bytes.
        tls: between client and proxy.
        tlvs: all type-length-value vectors of version 2 in their order, as (type, value); the
            fields above are decoded from them.
    """

    proxy_address: Address | None
    version: int
    is_local: bool = False
    destination_address: Address | None = None
    authority: str | None = None
    alpn: bytes | None = None
    unique_id: bytes | None = None
    tls: ProxiedTls | None = None
    tlvs: tuple[tuple[int, bytes], ...] = dataclasses.field(default=(), repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """Who is at the other end of a connection.

    Attributes:
        peer_address, local_address: as the socket has them, or None where a transport has none. A
            `Server` also knows the address of a TCP peer that has reset its connection already;
            a `BridgeProtocol` that a loop's own server made does not. Behind a proxy that has told
            it with a PROXY header, `peer_address` is the client's, and `proxy.proxy_address` that
            of the socket.
        unix_credentials: of the peer over a UNIX socket.
        tls: what TLS has negotiated; None without TLS, and until its handshake is complete.
        proxy: what a PROXY header has said; None without one.
    """

    peer_address: Address | None = None
    local_address: Address | None = None
    unix_credentials: UnixCredentials | None = None
    tls: TlsInfo | None = None
    proxy: ProxyInfo | None = None


def tls_info_of(
    session: "ssl_module.SSLObject | ssl_module.SSLSocket", server_name: str | None
) -> TlsInfo:
    """Return what `session`, whose handshake is complete, has negotiated.

    Thread: the one that uses `session`, or any while no other does.
    """
    cipher = session.cipher()
    return TlsInfo(
        version=session.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=session.selected_alpn_protocol(),
        server_name=server_name,
        peer_certificate=session.getpeercert() or None,
        peer_certificate_der=session.getpeercert(binary_form=True),
    )


CURRENT: contextvars.ContextVar[ConnectionInfo | None] = contextvars.ContextVar(
    "asyncrev.connection_info"
)


def current_connection_info() -> ConnectionInfo:
    """Return who the peer is whose frame the calling coroutine answers.

    Thread: the loop's, in a processor that is a coroutine function, and in what it calls.

    Raises:
        LookupError: this is no such coroutine, or its connection has no peer.
    """
    info = CURRENT.get(None)
    if info is None:
        raise LookupError(
            "current_connection_info() was called outside an asynchronous processor of a connection"
        )
    return info
