"""protocol: how many frames a connection had, however they came and whoever answered them."""

import random
import socket
from typing import Any

import pytest

from asyncrev import Limits, Reverse
from asyncrev.statistics import ClosedConnection
from tests.framed import NAMES, framed
from tests.protocol.served import connect, half_closes, in_thread, serve
from tests.support import receive_all, until

pytestmark = [pytest.mark.asyncio, half_closes]
SMALL = Limits(slots=16, slot_bytes=2048, in_flight_bytes=8192, max_frame_bytes=1000)


class OneByOne:
    def process(self, payload: memoryview) -> memoryview:
        return payload

    def eof(self) -> None: ...


class Many(OneByOne):
    """Takes many frames at once, in Python."""

    keeps_line_ends = True

    def process_lines(self, lines: memoryview) -> bytes:
        return bytes(lines)

    def process_prefixed(self, frames: memoryview, runs: Any, prefix_bytes: int) -> bytes:
        return bytes(frames)


async def later(payload: bytes) -> bytes:
    return payload


def talk(sock: socket.socket, wire: bytes, dice: random.Random) -> None:
    """Send in pieces, end the stream, read to the end."""
    with sock:
        while wire:
            nbytes = dice.choice((1, 3, 10, 100, 1500, 5000))
            sock.sendall(wire[:nbytes])
            wire = wire[nbytes:]
        sock.shutdown(socket.SHUT_WR)
        receive_all(sock)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "processor", [Reverse, OneByOne, Many, bytes.upper, later], ids=lambda one: one.__name__
)
async def test_each_frame_counts_once(processor: Any, name: str) -> None:
    """Whatever the segmentation: partial frames, many in a chunk, lone ones, an open last line."""
    dice = random.Random(name)
    closed: list[ClosedConnection] = []
    async with await serve(processor, framing=name, limits=SMALL) as server:
        server.on_connection_closed(closed.append)
        for _ in range(8):
            payloads = [
                dice.randbytes(dice.choice((0, 1, 5, 64, 900))).translate(None, b"\r\n")
                for _ in range(dice.choice((0, 1, 2, 40, 200)))
            ]
            wire = b"".join(framed(name, payload) for payload in payloads)
            number = len(payloads)
            if name == "line" and dice.random() < 0.5:
                wire += b"open"
                number += 1
            await in_thread(talk, connect(server), wire, dice)
            await until(lambda: closed, "the connection has ended")
            assert closed.pop().frames == number


async def test_frames_before_a_bad_one_count() -> None:
    """The bad one does not."""
    closed: list[ClosedConnection] = []
    async with await serve(OneByOne, framing="len32", limits=SMALL) as server:
        server.on_connection_closed(closed.append)
        sock = connect(server)
        with sock:
            sock.sendall(framed("len32", b"a") * 3 + b"\xff\xff\xff\xff")
            assert await in_thread(receive_all, sock) == framed("len32", b"a") * 3
        await until(lambda: closed, "the connection has ended")
        assert closed.pop().frames == 3


async def test_open_connections_tell_theirs_and_raw_ones_have_none() -> None:
    """Chunks are as the network split them."""
    async with (
        await serve(Reverse, framing="line", limits=SMALL) as framed_server,
        await serve(Reverse, limits=SMALL) as raw,
    ):
        for server, expected in ((framed_server, 2), (raw, None)):
            with connect(server) as sock:
                sock.sendall(b"a\nb\n")
                assert len(await in_thread(sock.recv, 1)) == 1
                await until(
                    lambda server=server, expected=expected: (
                        [one.frames for one in server.connection_statistics()] == [expected]
                    ),
                    "they are counted",
                )
