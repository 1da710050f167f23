"""Connects `asyncrev send` to an address, over TLS if it is asked for."""

import os
import socket
import ssl
from collections.abc import Iterator

from asyncrev.command.send_address import SendAddress
from asyncrev.command.send_connection import CannotConnect, Connection, NoAnswer
from asyncrev.command.send_tls import TlsConnection, shake_hands
from asyncrev.errors import SettingsError

__all__ = ["connect"]


def connect(
    address: SendAddress,
    timeout_s: float,
    *,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> Connection:
    """Connect, to each address of a name in turn; blocks for up to `timeout_s` for each.

    `server_hostname`: the host that the certificate must have, by default the address's.

    Raises:
        CannotConnect: none of them accepts, or the TLS handshake fails.
        NoAnswer: one of them does not answer in time.
        SettingsError: no certificate can have this host.
    """
    sock = _connected(address, timeout_s)
    sock.setblocking(False)
    if tls is None:
        return Connection(sock)
    name = server_hostname or address.host or None
    try:
        connection = TlsConnection(sock, tls, name)
        shake_hands(connection, timeout_s)
    except ValueError as error:
        sock.close()
        raise SettingsError(f"--server-hostname {name!r} cannot be used: {error}") from None
    except BaseException:
        sock.close()
        raise
    return connection


def _connected(address: SendAddress, timeout_s: float) -> socket.socket:
    error: OSError | None = None
    for family, target in _targets(address):
        sock = socket.socket(family)
        try:
            sock.settimeout(timeout_s)
            sock.connect(target)
        except TimeoutError:
            sock.close()
            raise NoAnswer(
                f"{address} did not accept the connection within {timeout_s:g} s (--timeout-s)"
            ) from None
        except OSError as failure:
            sock.close()
            error = failure
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    what = str(error) if error is None or error.strerror is None else error.strerror
    hint = ""
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        hint = "; is the server running?"
    raise CannotConnect(f"cannot connect to {address}: {what}{hint}")


def _targets(address: SendAddress) -> Iterator[tuple[int, bytes | tuple[str, int]]]:
    if address.path is not None:
        yield socket.AF_UNIX, os.fsencode(address.path)
        return
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        what = getattr(error, "strerror", None) or error
        raise CannotConnect(f"cannot connect to {address}: {what}") from None
    for family, _, _, _, target in found:
        yield family, (str(target[0]), int(target[1]))
