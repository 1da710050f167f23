"""notify: what is sent, when, and that nothing of it harms a server."""

import asyncio
import contextlib
import logging
import os
import pathlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

import asyncrev
from asyncrev.command import notify
from asyncrev.command.notify import Notifier, NotifyTarget, take_notify_target
from asyncrev.limits import Limits
from tests.support import DEADLINE_S, until

on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])

SMALL = Limits(slots=8, slot_bytes=4096, max_connections=4)


@pytest.mark.parametrize(
    ("environ", "target"),
    [
        ({}, NotifyTarget()),
        ({"WATCHDOG_USEC": "1000000"}, NotifyTarget()),
        ({"NOTIFY_SOCKET": "/run/x"}, NotifyTarget("/run/x")),
        ({"NOTIFY_SOCKET": "@x/y"}, NotifyTarget("\0x/y")),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1500000"}, NotifyTarget("/x", 1.5)),
        (
            {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5", "WATCHDOG_PID": str(os.getpid())},
            NotifyTarget("/x", 5e-6),
        ),
        (
            {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"},
            NotifyTarget("/x"),
        ),
    ],
)
def test_target_is_taken_from_the_environment(
    environ: dict[str, str], target: NotifyTarget
) -> None:
    environ["OTHER"] = "1"
    assert take_notify_target(environ) == target
    assert environ == {"OTHER": "1"}


@pytest.mark.parametrize(
    ("environ", "part"),
    [
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, "NOTIFY_SOCKET is 'vsock:2:1234'"),
        ({"NOTIFY_SOCKET": "@"}, "NOTIFY_SOCKET is '@'"),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC is 'soon'"),
        ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"}, "WATCHDOG_USEC is '0'"),
    ],
)
def test_value_that_cannot_be_used_is_a_warning(environ: dict[str, str], part: str) -> None:
    target = take_notify_target(environ)
    (warning,) = target.warnings
    assert part in warning
    assert target.watchdog_s is None
    assert environ == {}


class Bench:
    """A server, its notifier, and the socket that gets the messages."""

    def __init__(self, path: pathlib.Path, watchdog_s: float | None = None) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.server = asyncrev.Server(bytes.upper, limits=SMALL)
        self.notifier = Notifier(NotifyTarget(str(path), watchdog_s), self.server)
        self._kept: list[str] = []

    def listen(self) -> None:
        self.socket.bind(str(self.path))

    def messages(self) -> list[str]:
        """Return what has arrived since the last call."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return found


@contextlib.asynccontextmanager
async def serving(
    folder: pathlib.Path, watchdog_s: float | None = None, *, listens: bool = True
) -> AsyncIterator[Bench]:
    """Run a server whose notifier has sent nothing yet."""
    bench = Bench(folder / "notify", watchdog_s)
    if listens:
        bench.listen()
    await bench.server.start(port=0)
    try:
        yield bench
    finally:
        bench.notifier.close()
        await bench.server.close()
        bench.socket.close()


@on_epoll
async def test_without_target_nothing_is_made(tmp_path: pathlib.Path) -> None:
    """Neither a socket nor a timer."""
    async with await asyncrev.serve(port=0, limits=SMALL) as server:
        notifier = Notifier(NotifyTarget(), server)
        fds = len(os.listdir("/proc/self/fd"))
        notifier.ready()
        with notifier.reloading():
            pass
        notifier.stopping(1.0)
        assert len(os.listdir("/proc/self/fd")) == fds
        assert notifier._timer is None
        notifier.close()


@on_epoll
async def test_reloads_that_overlap_end_once(tmp_path: pathlib.Path) -> None:
    """The second may begin before the first has ended, each on a thread of its own."""
    async with serving(tmp_path) as bench:
        bench.notifier.ready()
        bench.messages()
        first, second = bench.notifier.reloading(), bench.notifier.reloading()
        first.__enter__()
        await asyncio.to_thread(second.__enter__)
        await asyncio.to_thread(first.__exit__, None, None, None)
        lines = [message.splitlines()[0] for message in bench.messages()]
        assert lines == ["RELOADING=1", "RELOADING=1"]
        second.__exit__(None, None, None)
        assert bench.messages() == ["READY=1"]


@on_epoll
async def test_reload_that_fails_or_outlives_the_service(
    tmp_path: pathlib.Path,
) -> None:
    """READY after an error, too; nothing of a reload before `ready` and after `stopping`."""
    async with serving(tmp_path) as bench:
        with bench.notifier.reloading():
            pass
        bench.notifier.ready()
        assert bench.messages() == ["READY=1", "STATUS=0 connections, accepting"]
        with pytest.raises(ZeroDivisionError), bench.notifier.reloading():
            raise ZeroDivisionError
        assert bench.messages()[-1] == "READY=1"
        with bench.notifier.reloading():
            bench.messages()
            bench.notifier.stopping(float("inf"))
        assert bench.messages() == ["STOPPING=1", "STATUS=stopping, 0 connections"]


@on_epoll
async def test_what_could_not_be_sent_is_sent_once_it_can_be(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A start would time out without READY. There is one warning for all failures."""
    async with serving(tmp_path, listens=False) as bench:
        monkeypatch.setattr(notify, "STATUS_S", 0.01)
        caplog.set_level(logging.WARNING, "asyncrev")
        bench.notifier.ready()
        assert caplog.text.count("systemd is not notified") == 1
        bench.listen()
        messages: list[str] = []
        await until(
            lambda: messages.extend(bench.messages()) or "READY=1" in messages, "READY is sent"
        )
        assert caplog.text.count("systemd is not notified") == 1


@on_epoll
async def test_status_is_sent_when_it_changes_and_not_too_often(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as bench:
        monkeypatch.setattr(notify, "STATUS_S", 0.05)
        bench.notifier.ready()
        assert bench.messages() == ["READY=1", "STATUS=0 connections, accepting"]
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.server.port)
        messages: list[str] = []
        await until(lambda: messages.extend(bench.messages()) or messages, "the status has changed")
        assert messages == ["STATUS=1 connection, accepting"]
        writer.close()
        await until(lambda: messages.extend(bench.messages()) or len(messages) > 1, "and again")
        assert messages[1:] == ["STATUS=0 connections, accepting"]
        assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""


@on_epoll
async def test_pings_are_sent_at_half_the_time(tmp_path: pathlib.Path) -> None:
    """The first one at once."""
    async with serving(tmp_path, 0.1) as bench:
        loop = asyncio.get_running_loop()
        planned: list[float] = []
        call_later = loop.call_later

        def noting(delay_s: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
            if callback == bench.notifier._tick:
                planned.append(delay_s)
            return call_later(delay_s, callback, *args)

        loop.call_later = noting  # type: ignore[method-assign,assignment]
        bench.notifier.ready()
        pings: list[str] = []

        def five() -> bool:
            pings.extend(one for one in bench.messages() if "WATCHDOG=1" in one)
            return len(pings) >= 5

        await until(five, "five pings")
        assert set(planned) == {0.05}
