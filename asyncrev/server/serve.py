"""`asyncrev.serve`: make a server and start it, in one call."""

import socket
import ssl as ssl_module
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asyncrev.bridge.bridge import Bridge
from asyncrev.frames.grammar import Grammar
from asyncrev.limits import Limits
from asyncrev.server.server import Server
from asyncrev.server.unix_path import DEFAULT_MODE
from asyncrev.work.reverse import Reverse

if TYPE_CHECKING:
    from asyncrev.executors.settings import ExecutorSettings
    from asyncrev.server.proxy_protocol import ProxyProtocol

__all__ = ["serve"]


async def serve(
    host: str | None = "127.0.0.1",
    port: int = 9090,
    *,
    uds: str | None = None,
    uds_mode: int = DEFAULT_MODE,
    sock: socket.socket | Sequence[socket.socket] | None = None,
    leave_queue: bool = False,
    processor: Any = Reverse,
    framing: str | Grammar = "raw",
    limits: Limits | None = None,
    bridge: Bridge | None = None,
    threads: int = 1,
    ssl: ssl_module.SSLContext | None = None,
    proxy: "ProxyProtocol | None" = None,
    executor: Any = None,
    executor_settings: "ExecutorSettings | None" = None,
) -> Server:
    """Return a server that listens: `async with await asyncrev.serve(...) as server`.

    See `Server` and `Server.start` for the arguments and for what is raised. Thread: loop.
    """
    server = Server(
        processor,
        framing=framing,
        limits=limits,
        bridge=bridge,
        threads=threads,
        ssl=ssl,
        proxy=proxy,
        executor=executor,
        executor_settings=executor_settings,
    )
    await server.start(host, port, uds=uds, uds_mode=uds_mode, sock=sock, leave_queue=leave_queue)
    return server
