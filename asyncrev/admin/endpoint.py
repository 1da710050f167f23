"""The admin endpoint's thread, from its start to its end.

It is a thread of its own, so that it answers while the server's loop is stuck, and whatever is sent
to it costs the server no more than a little CPU time.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from asyncrev.admin.door import Door
from asyncrev.admin.gathering import Gathering, Sources
from asyncrev.admin.pages import Config, Pages
from asyncrev.admin.supervision import NOT_SUPERVISED, Supervision
from asyncrev.server.liveness import STUCK_AFTER_S

__all__ = ["Endpoint"]

logger = logging.getLogger("asyncrev")

_END_TIMEOUT_S = 1.0


class Endpoint:
    """Serves on listening sockets, from `start` to `close`. Thread: the server's loop's."""

    def __init__(
        self,
        sources: Sources,
        sockets: Sequence[socket.socket],
        *,
        config: Config,
        drain: Callable[[], object],
        own_names: frozenset[str] = frozenset(),
        stuck_after_s: float = STUCK_AFTER_S,
        supervision: Supervision = NOT_SUPERVISED,
    ) -> None:
        """Prepare to serve on `sockets`, which are the endpoint's from now on.

        Args:
            sources: whom it asks; see `Gathering`.
            sockets: listening ones.
            config, drain, own_names, supervision: see `Pages`. Their functions are called on the
                endpoint's thread.
            stuck_after_s: see `Liveness`.
        """
        self._sources = sources
        self._sockets = sockets
        self._config = config
        self._drain = drain
        self._own_names = own_names
        self._stuck_after_s = stuck_after_s
        self._supervision = supervision
        self._callers = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        # Made here, so that it can be asked to stop before it runs.
        self._loop = asyncio.SelectorEventLoop()
        self._stop = asyncio.Event()  # of `_loop`
        self._thread = threading.Thread(target=self._run, name="asyncrev-admin", daemon=True)

    def start(self) -> None:
        """Serve from now on.

        Raises:
            RuntimeError: the system gives no thread; everything is closed.
        """
        try:
            self._thread.start()
        except BaseException:
            self._loop.close()
            self._close_sockets()
            raise

    async def close(self) -> None:
        """End all connections, and the thread. Idempotent."""
        if self._thread.ident is None:
            self._loop.close()
            self._close_sockets()
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # its loop has just been closed
                self._loop.call_soon_threadsafe(self._stop.set)
            try:
                async with asyncio.timeout(_END_TIMEOUT_S):
                    await self._ended.wait()
            except TimeoutError:
                logger.warning("the admin endpoint did not end in %g s", _END_TIMEOUT_S)
                return
            self._thread.join(_END_TIMEOUT_S)
            await asyncio.sleep(0)  # an answer that nobody waits for any more is cancelled

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:
            logger.error("the admin endpoint has ended: %r", error)
        finally:
            self._close_sockets()
            with contextlib.suppress(RuntimeError):  # the server's loop is closed
                self._callers.call_soon_threadsafe(self._ended.set)

    async def _serve(self) -> None:
        self._loop.set_exception_handler(_log_failure)
        gathering = Gathering(
            self._sources,
            stuck_after_s=self._stuck_after_s,
            is_stopping=lambda: self._supervision.is_stopping,
        )
        pages = Pages(
            gathering,
            config=self._config,
            drain=self._drain,
            own_names=self._own_names,
            supervision=self._supervision,
        )
        watching = [
            self._loop.create_task(gathering.watch()),
            self._loop.create_task(pages.live.watch()),
        ]
        door = Door(self._sockets, pages.respond)
        door.open()
        try:
            await self._stop.wait()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await door.close()
            await pages.close()
            await gathering.close()

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()


def _log_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logger.error("admin endpoint: %s: %r", context.get("message"), context.get("exception"))
