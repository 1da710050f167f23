"""The options about where a service listens: the sockets that it was passed, and errors by name."""

import contextlib
import socket
from collections.abc import Iterator

from asyncrev.command.listen_fds import ListenSockets
from asyncrev.errors import LocalError
from asyncrev.server.listen_sockets import inherited

__all__ = ["names_of", "naming", "passed_sockets"]


def passed_sockets(given: ListenSockets) -> list[socket.socket]:
    """Return the sockets to listen on, none if the service has to make its own.

    Raises:
        LocalError: a descriptor is no listening socket.
    """
    if given.fd is not None:
        return [inherited(given.fd)]
    return [inherited(one.fd, one.name) for one in given.activated]


def names_of(given: ListenSockets, uds: str | None, host: str) -> str:
    """Return the options that have asked for the address, for an error message."""
    if given.activated:
        return "LISTEN_FDS"
    if given.fd is not None:
        return "--fd"
    return "--uds" if uds is not None else f"--host {host!r}, --port"


@contextlib.contextmanager
def naming(names: str) -> Iterator[None]:
    """Have an OSError or a LocalError from within begin with `names`."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{names}: {error.strerror or error}") from None
    except LocalError as error:
        raise type(error)(f"{names}: {error}") from None
