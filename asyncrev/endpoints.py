"""Listening sockets: made, and for UNIX paths taken over and removed with care."""

import asyncio
import errno
import os
import socket
import stat

from asyncrev.errors import LocalError

__all__ = ["UnixPath", "describe", "inherited", "open_tcp"]


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


class UnixPath:
    """A path that a server listens on: a live server's is not taken, a dead one's is.

    asyncio removes whatever socket it finds (github.com/python/cpython/issues/121252); here a
    connect tells first whether somebody listens, and at the end only our own inode is removed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None

    def open(self, backlog: int) -> socket.socket:
        """Return the listening socket.

        Raises:
            LocalError: something else is there, a live server or no socket at all; or no path.
            OSError: the path cannot be bound.
        """
        if "\0" in self.path:
            raise LocalError(f"{self.path!r} is an abstract name; name a path in the file system")
        self._remove_if_dead()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(self.path)
            found = os.stat(self.path)
            self._identity = (found.st_dev, found.st_ino)
            sock.listen(backlog)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return sock

    def remove(self) -> None:
        """Remove the path if it still is what `open` made."""
        try:
            found = os.stat(self.path)
            if (found.st_dev, found.st_ino) == self._identity:
                os.unlink(self.path)
        except FileNotFoundError:
            pass

    def _remove_if_dead(self) -> None:
        try:
            mode = os.stat(self.path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise LocalError(f"{self.path!r} exists and is not a socket; name another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            code = probe.connect_ex(self.path)
        if code != errno.ECONNREFUSED:
            raise LocalError(f"{self.path!r} is in use by another server; name another path")
        os.unlink(self.path)


def describe(address: object) -> str:
    """Return an address of a socket as people write it."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"unix:{address}"
