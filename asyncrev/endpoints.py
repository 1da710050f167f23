"""Listening sockets of TCP addresses, and those that the process was given."""

import asyncio
import socket

from asyncrev.errors import LocalError

__all__ = ["describe", "inherited", "open_tcp"]


async def open_tcp(host: str | None, port: int, backlog: int) -> list[socket.socket]:
    """Return listening sockets for every address of `host`; with port 0 all get the same port.

    Raises:
        OSError: a name does not resolve or an address cannot be bound.
    """
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((info[0], info[4]) for info in infos):
            if port == 0 and sockets:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sock = socket.create_server(address, family=family, backlog=backlog)
            sockets.append(sock)
            sock.setblocking(False)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def inherited(fd: int) -> socket.socket:
    """Return the listening socket that this process was given as descriptor `fd`.

    As by systemd's socket activation (sd_listen_fds(3): the first is 3), or by a parent.

    Raises:
        LocalError: it is not open, or no listening stream socket.
    """
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise LocalError(
            f"descriptor {fd} cannot be listened on: {error.strerror}; pass a listening socket"
        ) from None
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.type != socket.SOCK_STREAM or not listens:
        sock.detach()  # it is somebody else's
        raise LocalError(
            f"descriptor {fd} is a socket that does not listen; pass a listening stream socket"
        )
    sock.set_inheritable(False)
    return sock


def describe(address: object) -> str:
    """Return an address of a socket as people write it."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"unix:{address}"
