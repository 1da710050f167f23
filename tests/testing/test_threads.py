"""threads: a server beside a blocking test."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from asyncrev import Limits
from asyncrev.errors import SettingsError, WorkerDied
from asyncrev.testing.peers import HalfClose, Send, play
from asyncrev.testing.threads import ServerThread
from asyncrev.work.raw_work import RawWork
from tests.conftest import LOOPS
from tests.support import ask, end_of, receive_all, send_until_stuck, wait_until


class Failing:
    """Raises at the word "fail"."""

    def process(self, chunk: memoryview) -> bytes:
        """Answer with the chunk."""
        if bytes(chunk) == b"fail":
            raise ZeroDivisionError("fail")
        return bytes(chunk)

    def eof(self) -> None:
        """Answer nothing."""


def let_it_fail(server: ServerThread) -> None:
    """Have a `Failing` processor raise; its connection ends."""
    with server.connect() as client:
        client.sendall(b"fail")
        assert receive_all(client) == b""


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_server_answers_on_any_loop(loop: str) -> None:
    """Address, port, a connection, and what was counted."""
    with ServerThread(bytes.upper, framing="line", loop_factory=LOOPS[loop]) as server:
        assert server.address == ("127.0.0.1", server.port)
        with server.connect() as client:
            assert ask(client, b"abc\n") == b"ABC\n"
            statistics = server.statistics()
        assert (statistics.accepted, statistics.received_bytes) == (1, 4)
    with socket.socket() as probe:
        assert probe.connect_ex(server.address) != 0


def test_server_drains_at_the_end_of_the_block() -> None:
    """What had arrived is answered, though nobody had read it yet."""
    limits = Limits(slots=2, linger_timeout_s=0.05)
    with ServerThread(
        bytes.upper,
        limits=limits,
    ) as server:
        client = server.connect(receive_buffer_bytes=4096)
        client.sendall(b"abc")
        wait_until(lambda: server.statistics().received_bytes == 3, "it has arrived")
    with client:
        assert receive_all(client) == b"ABC"


def test_settings_reach_the_server() -> None:
    """Limits and threads."""
    limits = Limits(slots=2, slot_bytes=64, max_frame_bytes=3)
    with ServerThread(bytes.upper, framing="line", limits=limits, threads=2) as server:
        assert server.server.limits is limits
        assert len(server.statistics().bridges) == 2
        assert play([Send(b"abc\nabcd\n"), HalfClose()], server.address).received == b"ABC\n"
        wait_until(lambda: not server.statistics().connections, "it has gone")
        assert server.statistics().aborted == {"frame too large": 1}


def test_call_runs_on_the_servers_loop() -> None:
    """With arguments; it returns and raises what the coroutine does."""

    async def where(name: str, *, fail: bool = False) -> tuple[str, Any]:
        if fail:
            raise KeyError(name)
        return threading.current_thread().name, asyncio.get_running_loop()

    with ServerThread() as server:
        assert server.call(where, "x") == ("asyncrev-server-thread", server._thread.loop)
        with pytest.raises(KeyError, match="x"):
            server.call(where, "x", fail=True)
        assert server.call(server.server.drain, 1.0) is True  # and the block ends all the same


def test_call_that_takes_too_long_is_cancelled() -> None:
    """The caller gets a TimeoutError, and the loop keeps no task of it."""
    cancelled = threading.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with ServerThread(deadline_s=0.2) as server:
        with pytest.raises(TimeoutError):
            server.call(never)
        assert cancelled.wait(10)


@pytest.mark.parametrize(("times", "kind"), [(1, ZeroDivisionError), (2, BaseExceptionGroup)])
def test_what_a_processor_raises_comes_out_of_the_block(times: int, kind: Any) -> None:
    """Itself if it is one, and in a group if there are more."""

    def block() -> None:
        with ServerThread(Failing) as server:
            for _ in range(times):
                let_it_fail(server)

    with pytest.raises(kind) as caught:
        block()
    errors = getattr(caught.value, "exceptions", (caught.value,))
    assert [type(error) for error in errors] == [ZeroDivisionError] * times


def test_expected_errors_are_looked_at_and_cleared() -> None:
    """Then the block ends in peace."""
    with ServerThread(Failing) as server:
        let_it_fail(server)
        (context,) = server.errors
        assert type(context["exception"]) is ZeroDivisionError
        server.errors.clear()


def test_block_that_raises_keeps_its_error_and_gets_notes() -> None:
    """The test's own failure is what is wanted first."""

    def block() -> None:
        with ServerThread(Failing) as server:
            let_it_fail(server)
            raise KeyError("own")

    with pytest.raises(KeyError) as caught:
        block()
    assert caught.value.__notes__ == ["in the server's thread: ZeroDivisionError('fail')"]


def test_worker_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of asyncrev itself, so to say."""

    def die(*_: Any) -> None:
        raise RuntimeError("a defect")

    def block() -> None:
        with ServerThread() as server:
            with server.connect() as client:
                client.sendall(b"x")
                assert end_of(client) in ("FIN", "RST")
            wait_until(lambda: not server._thread.is_alive(), "the server has ended by itself")

    monkeypatch.setattr(RawWork, "do", die)
    with pytest.raises(WorkerDied):  # once, though serve_forever and the loop's handler both tell
        block()


@pytest.mark.parametrize(
    ("settings", "kind"),
    [({"framing": "lines"}, SettingsError), ({"uds": "/nowhere/at/all"}, OSError)],
    ids=["settings", "address"],
)
def test_server_that_cannot_start_says_why(settings: dict[str, Any], kind: Any) -> None:
    """In the test's thread; nothing is left of it."""
    with pytest.raises(kind), ServerThread(**settings):
        pytest.fail("it has started")


def test_drain_that_does_not_end_is_aborted_and_reported() -> None:
    """A peer that takes nothing of what it is owed."""
    clients = []

    def block() -> None:
        with ServerThread(bytes.upper, deadline_s=1.0) as server:
            clients.append(server.connect(receive_buffer_bytes=4096))
            assert send_until_stuck(clients[0], bytes(1 << 20)) > 1 << 20

    with pytest.raises(TimeoutError, match=r"drain.*drain deadline"):
        block()
    clients[0].close()
