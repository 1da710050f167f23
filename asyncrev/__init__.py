"""asyncrev: work on the bytes an asyncio program receives, in order, off the loop, bounded."""

from asyncrev.channel import Channel
from asyncrev.errors import AsyncrevError
from asyncrev.limits import Limits
from asyncrev.loop import EpollEventLoop, run
from asyncrev.version import __version__

__all__ = [
    "AsyncrevError",
    "Channel",
    "EpollEventLoop",
    "Limits",
    "__version__",
    "run",
]
