"""asyncrev: work on the bytes an asyncio program receives, in order, off the loop, bounded.

Each public name is imported from its module when it is first used, so that `import asyncrev` is
quick and a program pays for what it uses (PEP 562).
"""

from importlib import import_module

TYPE_CHECKING = False  # for type checkers it is true; `typing` would be most of the import's time
if TYPE_CHECKING:
    from asyncrev.bridge.bridge import Bridge
    from asyncrev.connection.bridge_protocol import BridgeProtocol
    from asyncrev.connection_info import (
        ConnectionInfo,
        ProxyInfo,
        TlsInfo,
        current_connection_info,
    )
    from asyncrev.errors import AsyncrevError, PeerRefused
    from asyncrev.executors.executor_processor import ExecutorProcessor
    from asyncrev.frames.grammar import Grammar, Scan
    from asyncrev.limits import Limits
    from asyncrev.loop.eventloop import EpollEventLoop, run
    from asyncrev.processors import Processor
    from asyncrev.ring.channel import Channel
    from asyncrev.server.proxy_protocol import ProxyProtocol
    from asyncrev.server.serve import serve
    from asyncrev.server.server import Server
    from asyncrev.version import __version__
    from asyncrev.work.reverse import Reverse
    from asyncrev.work.tls_parameters import StartTls

__all__ = [
    "AsyncrevError",
    "Bridge",
    "BridgeProtocol",
    "Channel",
    "ConnectionInfo",
    "EpollEventLoop",
    "ExecutorProcessor",
    "Grammar",
    "Limits",
    "PeerRefused",
    "Processor",
    "ProxyInfo",
    "ProxyProtocol",
    "Reverse",
    "Scan",
    "Server",
    "StartTls",
    "TlsInfo",
    "__version__",
    "current_connection_info",
    "run",
    "serve",
]

_MODULE_OF = {
    "AsyncrevError": "errors",
    "Bridge": "bridge.bridge",
    "BridgeProtocol": "connection.bridge_protocol",
    "Channel": "ring.channel",
    "ConnectionInfo": "connection_info",
    "EpollEventLoop": "loop.eventloop",
    "ExecutorProcessor": "executors.executor_processor",
    "Grammar": "frames.grammar",
    "Limits": "limits",
    "PeerRefused": "errors",
    "Processor": "processors",
    "ProxyInfo": "connection_info",
    "ProxyProtocol": "server.proxy_protocol",
    "Reverse": "work.reverse",
    "Scan": "frames.grammar",
    "Server": "server.server",
    "StartTls": "work.tls_parameters",
    "TlsInfo": "connection_info",
    "__version__": "version",
    "current_connection_info": "connection_info",
    "run": "loop.eventloop",
    "serve": "server.serve",
}

if not TYPE_CHECKING:  # a type checker would take every misspelt name for one of these

    def __getattr__(name):
        """Import a public name, or a module, at its first use."""
        if name in _MODULE_OF:
            value = getattr(import_module(f"asyncrev.{_MODULE_OF[name]}"), name)
            globals()[name] = value
            return value
        if not name.startswith("_"):
            try:
                return import_module(f"asyncrev.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"asyncrev.{name}":
                    raise
        raise AttributeError(f"module 'asyncrev' has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
