"""Listening sockets of TCP addresses, and those that the process was given."""

import asyncio
import errno
import logging
import os
import socket
import stat
from typing import Any

from asyncrev.errors import LocalError, SettingsError

__all__ = ["describe", "inherited", "open_tcp", "open_tcp_groups"]

logger = logging.getLogger("asyncrev")


# All interfaces, as asyncio, nginx and systemd write it.
_ALL_INTERFACES = (None, "", "*")

# Addresses that a name has, and that cannot be listened on here: /etc/hosts has ::1 for localhost
# on machines whose interfaces have no IPv6 address, or whose kernel has no IPv6 at all.
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

# A free port of the first address may be another program's on the second.
_FREE_PORT_TRIES = 20

# How long after the start it is said which addresses were left out.
_SAY_AFTER_S = 0.1

_Address = tuple[Any, ...]


async def open_tcp(host: str | None, port: int, backlog: int) -> list[socket.socket]:
    """Return listening sockets for every address of `host`; with port 0 all get the same port.

    None, "" and "*" are all interfaces: a socket for IPv4, and one for IPv6 alone beside it. What
    cannot be listened on, because no interface has it or the kernel not its family, is left out
    with a warning if another address of `host` can. Thread: loop.

    Raises:
        OSError: a name does not resolve, an address is in use, or none can be bound; the message
            names it.
        SettingsError: `host` can be no name, or `port` no port.
    """
    if not 0 <= port <= 65535:
        raise SettingsError(f"port is {port}; it must lie between 0 and 65535")
    addresses = await _resolve(host, port)
    tries = _FREE_PORT_TRIES if port == 0 else 1
    while True:
        tries -= 1
        try:
            sockets, left_out = _listen_on_all(addresses, port, backlog)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not tries:
                raise
        else:
            break
    level = logging.DEBUG if host in _ALL_INTERFACES else logging.WARNING
    for missing in left_out:
        # Behind what the caller says first, such as a start line.
        asyncio.get_running_loop().call_later(
            _SAY_AFTER_S, logger.log, level, "%s; the others are served", missing.strerror
        )
    return sockets


async def open_tcp_groups(
    host: str | None, port: int, backlog: int, number: int
) -> list[list[socket.socket]]:
    """Return what `open_tcp` does `number` times, on the same addresses, by SO_REUSEPORT.

    The kernel spreads connections over the groups; each has queues of its own (socket(7)). Another
    program that listens there already, by SO_REUSEPORT, too, is an error as any. Thread: loop.

    Raises:
        OSError, SettingsError: as from `open_tcp`.
    """
    first = await open_tcp(host, port, backlog)  # nobody may share these, so nobody else is there
    addresses: list[tuple[int, _Address]] = [(one.family, one.getsockname()) for one in first]
    for one in first:
        one.close()
    groups: list[list[socket.socket]] = []
    try:
        for _ in range(number):
            groups.append(_listen_on_all(addresses, addresses[0][1][1], backlog, True)[0])
    except BaseException:
        for group in groups:
            for one in group:
                one.close()
        raise
    return groups


async def _resolve(host: str | None, port: int) -> list[tuple[int, _Address]]:
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(
            None if host in _ALL_INTERFACES else host,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except OSError as error:  # socket.gaierror is one
        raise type(error)(
            error.errno, f"host {host!r} has no address: {error.strerror or error}"
        ) from None
    except ValueError as error:  # UnicodeError is one: an empty label, or one too long
        raise SettingsError(f"host {host!r} is no name: {error}") from None
    return list(dict.fromkeys((info[0], info[4]) for info in infos))


def _listen_on_all(
    addresses: list[tuple[int, _Address]], port: int, backlog: int, reuse_port: bool = False
) -> tuple[list[socket.socket], list[OSError]]:
    """Return the sockets, and errors of the addresses that are not of this machine."""
    sockets: list[socket.socket] = []
    left_out: list[OSError] = []
    try:
        for family, address in addresses:
            if port == 0 and sockets:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                sock = socket.create_server(
                    address, family=family, backlog=backlog, reuse_port=reuse_port
                )
            except OSError as error:
                # Not its own words, which have the address in another form.
                reason = os.strerror(error.errno) if error.errno else str(error)
                told = OSError(error.errno, f"cannot listen on {describe(address)}: {reason}")
                if error.errno not in _NOT_HERE:
                    raise told from None
                left_out.append(told)
                continue
            sockets.append(sock)
            sock.setblocking(False)
        if not sockets:
            raise left_out[0]
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets, left_out


_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe or FIFO",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def inherited(fd: int, name: str = "") -> socket.socket:
    """Return the listening socket that this process was given as descriptor `fd`.

    As by systemd's socket activation (sd_listen_fds(3): the first is 3), or by a parent. `name` is
    that of the descriptor, for messages; "" for none.

    Raises:
        LocalError: it is not open, or no listening stream socket of TCP or UNIX.
    """
    what = f"descriptor {fd}" + (f" ({name!r})" if name else "")
    try:
        sock = socket.socket(fileno=fd)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LocalError(
            f"{what} cannot be listened on: {reason}{_kind(fd)}; pass a listening socket"
        ) from None
    fault = _fault(sock)
    if fault:
        sock.detach()  # it is somebody else's
        raise LocalError(f"{what} is {fault}; pass a listening stream socket")
    sock.set_inheritable(False)
    return sock


def _kind(fd: int) -> str:
    """Return what `fd` is if it is open and no socket, in brackets."""
    try:
        kind = _KINDS.get(stat.S_IFMT(os.fstat(fd).st_mode), "")
    except (OSError, OverflowError):
        return ""
    return f" (it is {kind})" if kind else ""


def _fault(sock: socket.socket) -> str:
    """Return what keeps `sock` from being listened on, or ""."""
    if sock.family not in _FAMILIES:
        return f"a socket of the family {getattr(sock.family, 'name', sock.family)}"
    if sock.type != socket.SOCK_STREAM:
        return f"a socket of the type {getattr(sock.type, 'name', sock.type)}"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "a socket that does not listen"
    return ""


def describe(address: object) -> str:
    """Return an address of a socket as people write it."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(address, bytes):  # in the abstract namespace
        return "unix:@" + os.fsdecode(address[1:])
    return f"unix:{address}"
