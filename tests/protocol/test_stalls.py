"""A loop that a callback blocks for longer than its deadlines, with hundreds of peers ready."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

import asyncrev
from asyncrev import Limits, Server
from tests.protocol.served import connect, in_thread, tcp_only
from tests.support import receive_all, receive_exactly, until

pytestmark = tcp_only  # time is the same over all connections
on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])

TIMEOUT_S = 2.0
PEERS = 300


class Blocker:
    """Blocks the loop until `over` is set: once, or in every iteration for a while."""

    def __init__(self, *, callback_s: float | None) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._callback_s = callback_s
        self._loop.call_soon(self._block)

    def _block(self) -> None:
        self.begun.set()
        if self._callback_s is None:
            assert self.over.wait(30)
        elif not self.over.is_set():
            time.sleep(self._callback_s)
            self._loop.call_soon(self._block)


def talk(blocker: Blocker, quiet: list[socket.socket], late: list[socket.socket]) -> None:
    """Send while the loop is blocked, longer than the deadlines; all that was sent is answered."""
    assert blocker.begun.wait(30)
    start_s = time.monotonic()
    for number, sock in enumerate(quiet):
        sock.sendall(b"%06d" % number)
    time.sleep(max(0.0, start_s + 1.3 * TIMEOUT_S - time.monotonic()))
    if blocker._callback_s is None:
        blocker.over.set()
    for number, sock in enumerate(quiet):
        assert receive_exactly(sock, 6) == b"%06d" % number
    blocker.over.set()
    for sock in quiet:
        sock.close()
    for sock in late:
        assert receive_all(sock) == b""


async def block_the_loop(callback_s: float | None) -> None:
    """Serve `PEERS` that send while it is blocked, half before their first byte, and ten silent."""
    limits = Limits(first_byte_timeout_s=TIMEOUT_S, idle_timeout_s=TIMEOUT_S)
    async with await asyncrev.serve("127.0.0.1", 0, processor=bytes.lower, limits=limits) as server:
        with contextlib.ExitStack() as stack:
            late = [stack.enter_context(connect(server)) for _ in range(10)]
            quiet = [stack.enter_context(connect(server)) for _ in range(PEERS)]
            for sock in quiet[: PEERS // 2]:
                sock.sendall(b"a")
            await until(lambda: _all_answered(server), "half of them are answered")
            for sock in quiet[: PEERS // 2]:
                assert receive_exactly(sock, 1) == b"a"
            lanes = server.bridges[0].parts.lanes
            await until(lambda: all(lane.look_at_s for lane in lanes), "a sweep has seen them")
            await in_thread(talk, Blocker(callback_s=callback_s), quiet, late)
            await until(lambda: not server.statistics().connections, "all have gone")
        assert server.statistics().aborted == {"first byte deadline": 10}


def _all_answered(server: Server) -> bool:
    statistics = server.statistics()
    return statistics.accepted == PEERS + 10 and statistics.replied_bytes == PEERS // 2


@on_epoll
async def test_callback_that_blocks_the_loop_costs_nobody_a_connection() -> None:
    """One iteration takes 128 events, then the timers run; who sent nothing is aborted later."""
    await block_the_loop(None)


@on_all
@pytest.mark.slow
@pytest.mark.parametrize("callback_s", [None, 0.8])
async def test_callbacks_that_block_every_loop_cost_nobody_a_connection(
    callback_s: float | None,
) -> None:
    """Also one that comes again in every iteration, so that each sweep is late."""
    await block_the_loop(callback_s)
