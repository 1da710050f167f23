"""Who a transport's peer is, as far as the loop's thread can tell."""

import asyncio
import socket
import struct
from typing import Any

from asyncrev.connection_info import ConnectionInfo, ProxyInfo, UnixCredentials, tls_info_of

__all__ = ["info_of"]

_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid (unix(7))


def info_of(
    transport: asyncio.BaseTransport, accepted_from: Any = None, proxy: ProxyInfo | None = None
) -> ConnectionInfo:
    """Return what is known of the peer of `transport`, which was just connected.

    `accepted_from`: its address as accept(2) told it; the socket tells none after a reset. With
    `proxy`, the client's address, of which the socket knows nothing.
    Thread: the loop's. TLS that a loop speaks is known; that of the worker is added there.
    """
    get = transport.get_extra_info
    session = get("ssl_object")
    local_address = get("sockname")
    return ConnectionInfo(
        # The empty name of a UNIX client that is bound to none is no address.
        peer_address=(None if proxy else get("peername")) or accepted_from or None,
        local_address=local_address or None,
        unix_credentials=None if type(local_address) is tuple else _credentials(get("socket")),
        tls=None if session is None else tls_info_of(session, None),
        proxy=proxy,
    )


def _credentials(sock: socket.socket | None) -> UnixCredentials | None:
    """Return who is at the other end of a UNIX socket; None of another, or if it has gone."""
    if sock is None or sock.family is not socket.AF_UNIX:
        return None
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return None
    return UnixCredentials(*_CREDENTIALS.unpack(found))
