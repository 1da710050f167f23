"""Asks an admin endpoint, over a UNIX socket or TCP, for its JSON."""

import http.client
import json
import os
import socket
from typing import Any

from asyncrev.command.admin_address import AdminAddress
from asyncrev.errors import LocalError

__all__ = ["TIMEOUT_S", "NoEndpoint", "TopSource"]

TIMEOUT_S = 3.0  # for each step; an endpoint whose server is stuck answers in 0.5 s
_MOST_BYTES = 16 * 2**20  # a thousand connections of each of ten workers take 3 MB

_EVERY_ADDRESS = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class NoEndpoint(LocalError):
    """The endpoint cannot be asked, or answers with something else; the message says what to do."""


class TopSource:
    """Asks one endpoint. Thread: any, one at a time."""

    def __init__(self, address: AdminAddress, timeout_s: float = TIMEOUT_S) -> None:
        """Ask at `address`, as --admin of the server names it.

        Raises:
            NoEndpoint: it names no port.
        """
        if address.path is None and address.port == 0:
            raise NoEndpoint(
                f"--admin {address}: port 0 is no endpoint; the server's log says which port it has"
            )
        self._address = address
        self._timeout_s = timeout_s

    def workers(self, path: str) -> list[dict[str, Any]]:
        """Return the list `workers` of what is at `path`.

        Raises:
            NoEndpoint: there is none.
        """
        where = f"--admin {self._address}"
        try:
            status, body = self._get(path)
        except OSError as error:
            raise NoEndpoint(f"{where}: {_said(error)}") from None
        except http.client.HTTPException:
            raise NoEndpoint(
                f"{where} answers with something that is not HTTP; is it the endpoint's address?"
            ) from None
        if status != 200:
            said = body[:200].decode("utf-8", "replace").strip()
            raise NoEndpoint(f"{where}: {path} is answered with {status}: {said}")
        try:
            workers = json.loads(body)["workers"]
            if all(isinstance(one["worker"], str) for one in workers):
                return list(workers)
        except (ValueError, TypeError, KeyError):
            pass
        raise NoEndpoint(f"{where}: {path} is not what asyncrev answers; is it another program?")

    def _get(self, path: str) -> tuple[int, bytes]:
        client = _Connection(self._address, self._timeout_s)
        try:
            client.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
            response = client.getresponse()
            body = response.read(_MOST_BYTES + 1)
            if len(body) > _MOST_BYTES:
                raise http.client.HTTPException("too long")
            return response.status, body
        finally:
            client.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, address: AdminAddress, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._address = address

    def connect(self) -> None:
        address = self._address
        if address.path is None:
            host = _EVERY_ADDRESS.get(address.host, address.host)
            self.sock = socket.create_connection((host, address.port), self.timeout)
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fsencode(address.path))


def _said(error: OSError) -> str:
    """Return what an error means here."""
    if isinstance(error, TimeoutError):
        return "there is no answer in time"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return "no server listens there; is it running, with --admin?"
    if isinstance(error, PermissionError):
        return "permission denied; only the server's user and root may connect to its socket"
    return error.strerror or str(error)
