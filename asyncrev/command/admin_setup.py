"""The admin endpoint of `asyncrev serve`: made when --admin asks for it, and nothing else."""

import asyncio
import importlib
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncrev.command.admin_address import AdminAddress
from asyncrev.command.settings import ServeSettings
from asyncrev.errors import LocalError, SettingsError
from asyncrev.server.listen_sockets import describe, open_tcp
from asyncrev.server.server import Server
from asyncrev.server.unix_path import UnixPath

if TYPE_CHECKING:  # h11 and prometheus_client are imported when they are asked for
    from asyncrev.admin.answers import Answers
    from asyncrev.admin.endpoint import Endpoint

__all__ = ["ADMIN_DESCRIPTORS", "Admin", "AdminDoor"]

logger = logging.getLogger("asyncrev")

BACKLOG = 1024  # a burst of peers that ask nothing fits beside probes
ADMIN_DESCRIPTORS = 72  # its connections, its listening sockets, and those of its loop


class AdminDoor:
    """Where an endpoint listens, and its life; without an address it does nothing. Thread: loop."""

    def __init__(self, address: AdminAddress | None) -> None:
        """Prepare to listen on `address`, which --admin gives."""
        self._address = address
        self._endpoint: Endpoint | None = None
        self._path: UnixPath | None = None
        self._addresses: list[Any] = []

    async def open(self) -> None:
        """Listen; whoever connects is answered after `start`.

        Raises:
            SettingsError: a package of the extra `ops` is missing.
            OSError: the address cannot be bound.
            LocalError: the path is somebody else's.
        """
        if self._address is None:
            return
        require_packages()
        from asyncrev.admin.guard import own_names

        sockets = await self._listen(self._address)
        self._addresses = [sock.getsockname() for sock in sockets]
        self._endpoint = self._make_endpoint(sockets, own_names(self._address.host))

    def _make_endpoint(self, sockets: list[socket.socket], names: frozenset[str]) -> "Endpoint":
        """Return an endpoint for listening sockets; `names` are those of their host."""
        raise NotImplementedError

    def start(self) -> None:
        """Serve, and say where.

        Raises:
            LocalError: the system gives no thread.
        """
        if self._endpoint is None:
            return
        try:
            self._endpoint.start()
        except RuntimeError as error:
            raise LocalError(
                f"--admin: {error}; see ulimit -u, and pids.max of the cgroup"
            ) from None
        where = ", ".join(describe(address) for address in self._addresses)
        logger.info("admin endpoint on %s", where)
        if any(_is_reachable(address) for address in self._addresses):
            logger.warning(
                "the admin endpoint has no password: whoever reaches %s sees statistics and peers",
                where,
            )

    async def close(self) -> None:
        """End it; what fails at that is logged. Idempotent."""
        path, self._path = self._path, None
        if path is not None:
            try:
                await path.remove()  # while its socket is open; see `UnixPath.remove`
            except (LocalError, OSError) as error:
                logger.warning("cannot remove the socket %r: %s", path.path, error)
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            await endpoint.close()

    async def _listen(self, address: AdminAddress) -> list[socket.socket]:
        try:
            if address.path is None:
                return await open_tcp(address.host, address.port, BACKLOG)
            path = UnixPath(address.path)
            sock = await path.open(BACKLOG)
        except OSError as error:
            raise OSError(error.errno, f"--admin {address}: {error.strerror or error}") from None
        except LocalError as error:
            raise type(error)(f"--admin {address}: {error}") from None
        self._path = path
        return [sock]


class Admin(AdminDoor):
    """The endpoint of one process; without --admin it does nothing. Thread: loop."""

    def __init__(
        self, settings: ServeSettings, server: Server, request_drain: Callable[[], object]
    ) -> None:
        """Prepare an endpoint for `server`.

        `request_drain` is called on the endpoint's thread, and must not wait.
        """
        super().__init__(settings.admin)
        self._config = settings.config
        self._server = server
        self._request_drain = request_drain
        self._answers: Answers | None = None

    def note_stop(self) -> None:
        """Have it say that the process is not ready any more."""
        if self._answers is not None:
            self._answers.is_stopping = True

    def _make_endpoint(self, sockets: list[socket.socket], names: frozenset[str]) -> "Endpoint":
        from asyncrev.admin.answers import Answers
        from asyncrev.admin.endpoint import Endpoint
        from asyncrev.admin.sources import LocalSource

        self._answers = Answers(self._server)
        return Endpoint(
            [LocalSource(self._answers, asyncio.get_running_loop())],
            sockets,
            config=self._config,
            drain=self._request_drain,
            own_names=names,
        )


def require_packages() -> None:
    """Import what the endpoint needs beside asyncrev.

    Raises:
        SettingsError: a package is missing; says what to install.
    """
    for name in ("h11", "prometheus_client"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise SettingsError(
                f"--admin: {name} is not installed; pip install 'asyncrev[ops]'"
            ) from None


def _is_reachable(address: Any) -> bool:
    """Return whether other machines may reach an address."""
    if not isinstance(address, tuple):
        return False
    import ipaddress  # for those who ask for an endpoint only

    return not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback
