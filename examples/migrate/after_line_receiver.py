"""asyncrev beside Twisted, on one event loop."""

import asyncio

import asyncrev
from twisted.internet import asyncioreactor, defer

from signing import sign

loop = asyncrev.EpollEventLoop()
asyncio.set_event_loop(loop)
asyncioreactor.install(loop)
from twisted.internet import reactor  # noqa: E402


async def start():
    server = await asyncrev.serve(
        "127.0.0.1",
        0,
        processor=sign,
        framing="line",
        threads=2,
    )
    reactor.addSystemEventTrigger(
        "before", "shutdown", stop, server
    )
    print(server.port, flush=True)


def stop(server):
    draining = loop.create_task(server.drain())
    return defer.Deferred.fromFuture(draining)


starting = loop.create_task(start())
reactor.run()
