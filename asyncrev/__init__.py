"""asyncrev: work on the bytes an asyncio program receives, in order, off the loop, bounded."""

from asyncrev.bridge import Bridge
from asyncrev.channel import Channel
from asyncrev.errors import AsyncrevError
from asyncrev.limits import Limits
from asyncrev.loop import EpollEventLoop, run
from asyncrev.processors import Processor
from asyncrev.protocol import BridgeProtocol
from asyncrev.reverse import Reverse
from asyncrev.server import Server, serve
from asyncrev.version import __version__

__all__ = [
    "AsyncrevError",
    "Bridge",
    "BridgeProtocol",
    "Channel",
    "EpollEventLoop",
    "Limits",
    "Processor",
    "Reverse",
    "Server",
    "__version__",
    "run",
    "serve",
]
