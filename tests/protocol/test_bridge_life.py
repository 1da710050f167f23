"""protocol: a bridge belongs to one loop: elsewhere, and later, it says so and never hangs."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from asyncrev import Bridge, BridgeProtocol
from asyncrev.errors import LocalError
from asyncrev.states import ConnectionState
from tests.conftest import LOOPS
from tests.protocol.served import (
    SMALL,
    Swapcase,
    connect,
    in_thread,
    letters,
    listening,
    serve,
    served,
    tcp_only,
)
from tests.support import ask, receive_all, wait_until

pytestmark = tcp_only
on_all = pytest.mark.asyncio
every_loop = pytest.mark.parametrize("make_loop", LOOPS.values(), ids=LOOPS)

MakeLoop = Callable[[], asyncio.AbstractEventLoop]


def run(make_loop: MakeLoop, main: Coroutine[Any, Any, Any]) -> Any:
    """Run `main` on a loop of its own, as asyncio.run does."""
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(main)


async def started() -> Bridge:
    """Return a bridge that runs, and that nobody closes."""
    bridge = Bridge(SMALL)
    bridge.start()
    return bridge


async def start(bridge: Bridge) -> None:
    """Begin it again."""
    bridge.start()


async def take_a_connection(bridge: Bridge) -> None:
    """Open what a connection opens."""
    bridge.open(None, Swapcase, views_allowed=False)  # type: ignore[arg-type]


USES = {
    "start": start,
    "open": take_a_connection,
    "submit": lambda bridge: bridge.submit(b"abc"),
    "close": lambda bridge: bridge.close(),
    "wait_ended": lambda bridge: bridge.wait_ended(),
}


@every_loop
@pytest.mark.parametrize("use", USES)
def test_bridge_whose_loop_has_ended_refuses_every_use_and_its_thread_ends(
    make_loop: MakeLoop, use: str
) -> None:
    """asyncio.run returned without a close; the next run is told what to do, and is not kept."""
    bridge = run(make_loop, started())
    assert bridge.parts.worker.is_alive()
    with pytest.raises(LocalError) as refused:
        run(make_loop, USES[use](bridge))
    assert str(refused.value) == (
        "the loop of this bridge was closed; make a bridge on each loop, and close it there: "
        "async with Bridge()"
    )
    del refused  # its traceback keeps the bridge
    wait_until(lambda: not bridge.parts.worker.is_alive(), "its thread has ended")


@every_loop
def test_connection_on_a_bridge_whose_loop_has_ended_is_refused(
    make_loop: MakeLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer sees the end, the log says why, and the thread ends."""
    bridge = run(make_loop, started())

    async def again() -> bytes:
        loop = asyncio.get_running_loop()
        sock = listening()
        address = sock.getsockname()
        server = await loop.create_server(lambda: BridgeProtocol(bridge), sock=sock)
        answer: bytes = await in_thread(see_the_end, address)
        server.close()
        await server.wait_closed()
        return answer

    assert run(make_loop, again()) == b""
    assert "connection refused: the loop of this bridge was closed" in caplog.text
    caplog.clear()  # the error in the record keeps the bridge alive
    wait_until(lambda: not bridge.parts.worker.is_alive(), "its thread has ended")


@every_loop
def test_bridge_that_was_closed_says_so_on_the_next_loop(make_loop: MakeLoop) -> None:
    """Its end was in order: closing it once more is nothing, starting it is refused."""

    async def closed() -> Bridge:
        async with Bridge(SMALL) as bridge:
            assert await bridge.submit(b"abc") == b"cba"
        return bridge

    bridge = run(make_loop, closed())
    run(make_loop, bridge.close())
    run(make_loop, bridge.wait_ended())
    with pytest.raises(LocalError, match="started before; make another one"):
        run(make_loop, start(bridge))
    with pytest.raises(LocalError, match="is stopped"):
        run(make_loop, bridge.submit(b"abc"))


def see_the_end(address: Any) -> bytes:
    """Connect, and return what comes before the end."""
    with socket.create_connection(address) as client:
        client.settimeout(10)
        try:
            return receive_all(client)
        except ConnectionResetError:
            return b""


@on_all
async def test_connection_on_a_bridge_of_another_loop_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server of a thread with a loop of its own, by mistake on our bridge, which goes on."""

    async def by_mistake(bridge: Bridge) -> bytes:
        loop = asyncio.get_running_loop()
        sock = listening()
        address = sock.getsockname()
        server = await loop.create_server(lambda: BridgeProtocol(bridge), sock=sock)
        answer: bytes = await in_thread(see_the_end, address)
        server.close()
        await server.wait_closed()
        with pytest.raises(LocalError) as refused:
            await bridge.close()
        assert str(refused.value) == (
            "this bridge was started on another loop, which is still open; make one on each loop, "
            "and end one from elsewhere with stop()"
        )
        return answer

    def other_thread(bridge: Bridge) -> bytes:
        return asyncio.run(by_mistake(bridge))

    async with served() as server:
        with server.connect() as client:
            assert await in_thread(ask, client, b"abc") == b"ABC"
            assert await in_thread(other_thread, server.bridge) == b""
            assert "connection refused: this bridge was started on another loop" in caplog.text
            caplog.clear()
            assert await in_thread(ask, client, letters(9000)) == letters(9000).swapcase()
            assert server.connections[0].state is ConnectionState.OPEN


@every_loop
def test_threads_with_loops_and_bridges_of_their_own_do_not_meet(make_loop: MakeLoop) -> None:
    """Three servers in one process, each with its loop, its thread and its worker."""
    processors: list[Any] = [Swapcase, bytes.upper, lambda data: bytes(data)]
    answers: dict[int, bytes] = {}
    all_up = threading.Barrier(len(processors))

    async def main(number: int) -> bytes:
        async with await serve(processors[number], limits=SMALL) as server:
            await in_thread(all_up.wait, 10)
            with connect(server) as client:
                data = letters(20_000, number)[:-1] + b"Z"
                return await in_thread(ask, client, data)

    def thread(number: int) -> None:
        answers[number] = run(make_loop, main(number))

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    sent = [letters(20_000, number)[:-1] + b"Z" for number in range(3)]
    assert answers == {0: sent[0].swapcase(), 1: sent[1].upper(), 2: sent[2]}
