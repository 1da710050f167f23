"""supervisor_doors: one set of sockets, or one per slot; errors name the options."""

import os
import pathlib
import socket
from typing import Any

import pytest

from asyncrev.command.listen_fds import ListenSockets, PassedSocket
from asyncrev.command.supervisor_doors import open_doors
from asyncrev.errors import LocalError
from asyncrev.supervisor.doors import SharedDoors, SlotDoors
from tests.command.test_supervisor_settings import settings

on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])


def refuse(_: socket.socket, __: Any) -> None:
    raise AssertionError("nobody has connected")


@on_asyncio
async def test_exact_has_one_set() -> None:
    doors = await open_doors(settings(workers=2, port=0), refuse)
    assert isinstance(doors, SharedDoors)
    assert doors.listening == [(), ()]
    await doors.close(accept_queued=False)


@on_asyncio
async def test_kernel_has_one_per_slot_on_the_same_port() -> None:
    doors = await open_doors(settings(workers=3, port=0, balance="kernel"), refuse)
    assert isinstance(doors, SlotDoors)
    ports = set()
    for (fd,) in doors.listening:
        with socket.socket(fileno=os.dup(fd)) as sock:
            ports.add(sock.getsockname()[1])
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    assert len(doors.listening) == 3
    assert len(ports) == 1
    await doors.close(accept_queued=False)


@on_asyncio
async def test_passed_sockets_are_listened_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        given = ListenSockets(activated=(PassedSocket(os.dup(one.fileno()), "name"),))
        doors = await open_doors(settings(given, workers=2), refuse)
        doors.start()
        assert doors.addresses == [one.getsockname()]
        await doors.close(accept_queued=True)


@on_asyncio
async def test_errors_name_the_options(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        for balance in ("exact", "kernel"):
            with pytest.raises(OSError, match=r"--host '127.0.0.1', --port: .* in use"):
                await open_doors(settings(workers=2, port=port, balance=balance), refuse)
    (tmp_path / "s").write_text("")
    with pytest.raises(LocalError, match="--uds: "):
        await open_doors(settings(workers=2, uds=str(tmp_path / "s")), refuse)
    with pytest.raises(LocalError, match="--fd: descriptor 987654"):
        await open_doors(settings(ListenSockets(fd=987654), workers=2), refuse)
