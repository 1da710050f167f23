"""Reads the PROXY header of an accepted socket, and not a byte more than the header."""

import asyncio
import socket
from typing import Any

from asyncrev.bridge.running_time import running_timeout
from asyncrev.errors import ProxyHeaderInvalid, ProxyHeaderLate, SettingsError
from asyncrev.server.proxy_header import MOST_BYTES, ProxyHeader, header_end, parse
from asyncrev.server.proxy_protocol import ProxyProtocol

__all__ = ["ProxyReader"]


class ProxyReader:
    """Reads PROXY headers for one server. All methods: the loop's thread."""

    def __init__(self, settings: ProxyProtocol) -> None:
        """Prepare to read headers as `settings` say.

        Raises:
            SettingsError: it is something else.
        """
        if not isinstance(settings, ProxyProtocol):
            raise SettingsError(f"proxy is {settings!r}; it must be an asyncrev.ProxyProtocol")
        self._settings = settings
        self._waiting: set[asyncio.Future[None]] = set()
        self._waits_no_more = False

    def trusts(self, address: Any) -> bool:
        """Return whether the peer at `address` has to begin with a header."""
        return self._settings.trusts(address)

    def wait_no_more(self) -> None:
        """Have every `read` end at once, now and from now on: with what has come."""
        self._waits_no_more = True
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def read(self, sock: socket.socket, address: Any) -> ProxyHeader | None:
        """Return the header that a connection from the proxy at `address` begins with.

        None if the peer goes before it has sent a byte, as a check does that only connects, or if
        the header is not complete and `wait_no_more` was called. What follows the header is left
        to be received.

        Raises:
            ProxyHeaderMissing, ProxyHeaderInvalid, ProxyHeaderLate: what the proxy did wrong.
        """
        taken = _Taken(sock, self._settings.version)
        if not taken.take():  # mostly it has come with the connection
            await self._wait_for(taken)
        return None if taken.header is None else parse(taken.header, address or None)

    async def _wait_for(self, taken: "_Taken") -> None:
        timeout_s = self._settings.timeout_s
        try:
            async with running_timeout(timeout_s):
                while not self._waits_no_more:
                    await self._wait_readable(taken.sock.fileno())
                    if taken.take():
                        return
        except TimeoutError:
            if not taken.take():  # it may have come at the last moment
                raise ProxyHeaderLate(
                    f"a PROXY header was not complete within {timeout_s:g} s; "
                    f"{len(taken.begun)} bytes of it were received"
                ) from None

    async def _wait_readable(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.add(future)
        loop.add_reader(fd, _wake, future)
        try:
            await future
        finally:
            loop.remove_reader(fd)
            self._waiting.discard(future)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class _Taken:
    """What was taken out of a socket of the header that it begins with.

    Attributes:
        sock: a non-blocking socket.
        begun: what was taken.
        header: the same, once it is complete.
    """

    def __init__(self, sock: socket.socket, version: str) -> None:
        self.sock = sock
        self.begun = b""
        self.header: bytes | None = None
        self._version = version

    def take(self) -> bool:
        """Take what the kernel has of the header; return whether nothing has to be waited for.

        Everything that was seen is taken, if it is of the header: what stayed would make the socket
        readable for ever.
        """
        while True:
            try:
                seen = self.sock.recv(MOST_BYTES, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                return self._end(f"a PROXY header broke off: {error.strerror}")
            if not seen:
                return self._end("the input ended within a PROXY header")
            if self._take_of(seen):
                return True

    def _take_of(self, seen: bytes) -> bool:
        end = header_end(self.begun + seen, self._version)
        nbytes = len(seen) if end is None else min(len(seen), end - len(self.begun))
        self.begun += self.sock.recv(nbytes)
        if len(self.begun) == end:
            self.header = self.begun
        return self.header is not None

    def _end(self, why: str) -> bool:
        if self.begun:
            raise ProxyHeaderInvalid(f"{why}, after {len(self.begun)} bytes")
        return True
