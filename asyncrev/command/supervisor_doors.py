"""The listening sockets that a supervisor's options ask for."""

import socket
from collections.abc import Callable
from typing import Any

from asyncrev.command.listen_options import names_of, naming, passed_sockets
from asyncrev.command.supervisor_settings import SupervisorSettings
from asyncrev.server.listen_sockets import open_tcp_groups
from asyncrev.server.listeners import Listeners
from asyncrev.supervisor.doors import SharedDoors, SlotDoors
from asyncrev.supervisor.supervisor import Doors

__all__ = ["open_doors"]

OnAccept = Callable[[socket.socket, Any], None]


async def open_doors(settings: SupervisorSettings, on_accept: OnAccept) -> Doors:
    """Listen, without accepting yet; `on_accept` takes what the supervisor accepts. Thread: loop.

    Raises:
        OSError: an address cannot be bound; names the options.
        LocalError: the UNIX path, or a descriptor, is not one to listen on; it names them, too.
    """
    given = settings.inherited
    with naming(names_of(given, settings.uds, settings.host)):
        if settings.balance == "kernel":
            return await _open_slots(settings, on_accept)
        listeners = _listeners(settings, on_accept)
        try:
            await listeners.open(
                settings.host,
                settings.port,
                uds=settings.uds,
                uds_mode=settings.uds_mode,
                sock=passed_sockets(given) or None,
                leave_queue=bool(given.activated),
            )
        except BaseException:
            await listeners.close()
            raise
    return SharedDoors(listeners, settings.workers)


async def _open_slots(settings: SupervisorSettings, on_accept: OnAccept) -> SlotDoors:
    backlog = settings.limits.backlog
    groups = await open_tcp_groups(settings.host, settings.port, backlog, settings.workers)
    slots = []
    for group in groups:
        listeners = _listeners(settings, on_accept)
        await listeners.open(None, 0, uds=None, uds_mode=settings.uds_mode, sock=group)
        slots.append(listeners)
    return SlotDoors(slots, [[sock.fileno() for sock in group] for group in groups])


def _listeners(settings: SupervisorSettings, on_accept: OnAccept) -> Listeners:
    limits = settings.limits
    return Listeners(on_accept, backlog=limits.backlog, retry_s=limits.accept_retry_s)
