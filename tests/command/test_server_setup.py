"""server_setup: a server of settings, and errors that name the options."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from asyncrev import Reverse, Server
from asyncrev.command import server_setup
from asyncrev.command.listen_fds import ListenSockets, PassedSocket
from asyncrev.command.server_setup import listen, make_server, tapped
from asyncrev.command.stopping import Stops, start_unless_stopped
from asyncrev.errors import LocalError, SettingsError
from asyncrev.states import ServerState
from tests.command.test_serving import options

on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


@on_epoll
@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory")])
async def test_rings_that_find_no_memory_name_their_options(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(server_setup, "Server", refuse)
    with pytest.raises(LocalError, match=r"^--slots, .* bytes of rings: Cannot allocate memory$"):
        make_server(options(), Reverse)


@on_epoll
async def test_server_listens_where_the_settings_say(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with make_server(options(), Reverse) as server:
        assert await start_unless_stopped(listen(server, options(uds=path)), Stops())
        assert server.addresses == [path]


@on_epoll
@pytest.mark.parametrize("given", [{}, {"uds": "/no/such/directory/s"}])
async def test_server_that_is_handed_its_connections_listens_on_nothing(
    given: dict[str, Any],
) -> None:
    """Whatever address the settings have: it is that of the supervisor."""
    async with make_server(options(), Reverse) as server:
        listening = listen(server, options(**given), listens=False)
        assert await start_unless_stopped(listening, Stops())
        assert server.addresses == []
        assert server.state is ServerState.SERVING


@on_epoll
async def test_sockets_that_somebody_else_has_too_keep_their_queue() -> None:
    """A drain does not accept what is in it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        passed = PassedSocket(listening.dup().detach())
        settings = options(inherited=ListenSockets(activated=(passed,)))
        server = make_server(settings, Reverse)
        assert await start_unless_stopped(listen(server, settings), Stops())
        server._listeners.pause()
        with socket.create_connection(listening.getsockname()):
            assert await server.drain()
            listening.accept()[0].close()


@on_epoll
async def test_stop_comes_first(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "asyncrev")
    stops = Stops()
    stops.requested.set()
    server = Server()

    async def start_for_ever(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    server.start = start_for_ever  # type: ignore[method-assign]
    assert not await start_unless_stopped(listen(server, options()), stops)
    assert "stopped before it listened" in caplog.text
    await server.close()


def test_stop_word_that_no_frame_can_be_is_refused() -> None:
    with pytest.raises(SettingsError, match="so no line can be equal to it"):
        tapped(options(framing="line", stop_word=b"a\nb"), None, lambda: None)
