"""Packets come whole, in order, with their descriptors, and the end of the other side is seen."""

import array
import asyncio
import functools
import os
import resource
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from asyncrev.supervisor.channel import LONGEST_PACKET_BYTES, Channel
from tests.support import until


class End:
    """One end, with what came there."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.packets: list[dict[str, Any]] = []
        self.descriptors: list[int] = []
        self.ends = 0
        self.channel = Channel(sock, self.take, self.note_end)

    def take(self, packet: dict[str, Any], descriptors: list[int]) -> None:
        self.packets.append(packet)
        self.descriptors += descriptors

    def note_end(self) -> None:
        self.ends += 1


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield one, other
    one.close()
    other.close()


@pytest.mark.asyncio
async def test_packets_come_in_order_with_descriptors(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    one, other = map(End, pair)
    reading, writing = os.pipe()
    one.channel.send({"kind": "first"})
    one.channel.send({"kind": "second"}, [writing])
    os.close(writing)  # the kernel has it
    await until(lambda: len(other.packets) == 2, "the packets or the end")
    assert other.packets == [{"kind": "first"}, {"kind": "second"}]
    (received,) = other.descriptors
    assert not os.get_inheritable(received)
    os.write(received, b"x")
    assert os.read(reading, 9) == b"x"
    for fd in (reading, received):
        os.close(fd)
    one.channel.close()
    other.channel.close()


@pytest.mark.asyncio
async def test_what_the_kernel_does_not_take_waits_its_turn(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Many more than a socket's buffer holds, before the other end reads at all."""
    one = End(pair[0])
    sent: list[int] = []
    for number in range(2000):
        one.channel.send({"n": number}, then=functools.partial(sent.append, number))
    assert 0 < one.channel.queued < 2000
    assert len(sent) == 2000 - one.channel.queued
    other = End(pair[1])
    await until(lambda: len(other.packets) == 2000, "the packets or the end")
    assert [packet["n"] for packet in other.packets] == list(range(2000)) == sent
    one.channel.close()
    other.channel.close()


@pytest.mark.asyncio
async def test_the_end_comes_once_and_behind_the_last_packet(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    one, other = map(End, pair)
    one.channel.send({"kind": "failed"})
    one.channel.close()
    await until(lambda: other.ends == 1, "the packets or the end")
    assert other.packets == [{"kind": "failed"}]
    other.channel.send({"kind": "late"})
    assert not other.channel.is_open
    await asyncio.sleep(0)
    assert other.ends == 1
    other.channel.close()


@pytest.mark.asyncio
async def test_who_sends_to_one_that_is_gone_still_reads_its_last_packet(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    pair[1].send(b'{"kind":"last"}')
    pair[1].close()
    one = End(pair[0])
    one.channel.send({"kind": "beat"})
    await until(lambda: one.ends == 1, "the packets or the end")
    assert one.packets == [{"kind": "last"}]
    one.channel.close()


@pytest.mark.asyncio
async def test_descriptors_without_room_are_missing_and_said(
    pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    one = End(pair[0])
    other = End(pair[1])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    one.channel.send({"kind": "connection"}, [0])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(map(int, os.listdir("/proc/self/fd"))), hard))
    try:
        other.channel._read()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert other.packets == [{"kind": "connection"}]
    assert other.descriptors == []
    assert "ulimit -n" in caplog.text
    one.channel.close()
    other.channel.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("data", [b"{", b"[1]", b"\xff", b"1" * (LONGEST_PACKET_BYTES + 1)])
async def test_what_is_no_packet_is_left_out(
    pair: tuple[socket.socket, socket.socket], data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    other = End(pair[1])
    pair[0].send(data)
    pair[0].send(b'{"kind":"good"}')
    await until(lambda: bool(other.packets), "the packets or the end")
    assert other.packets == [{"kind": "good"}]
    assert "cannot be read" in caplog.text
    other.channel.close()


@pytest.mark.asyncio
async def test_too_much_for_one_packet_is_refused(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    one = End(pair[0])
    with pytest.raises(ValueError, match=f"at most {LONGEST_PACKET_BYTES}"):
        one.channel.send({"text": "x" * LONGEST_PACKET_BYTES})
    with pytest.raises(ValueError, match="5 descriptors; at most 4"):
        one.channel.send({}, [0] * 5)
    one.channel.close()


@pytest.mark.asyncio
async def test_what_was_sent_before_an_end_comes_also_if_something_was_left_unread(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """The kernel tells of that first (ECONNRESET), as after a kill of the other process."""
    one, other = pair
    end = End(other)
    reading, writing = os.pipe()
    end.channel.send({"kind": "unread"})
    array_of_fd = array.array("i", [reading])
    one.sendmsg([b'{"kind":"last"}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array_of_fd)])
    one.close()
    await until(lambda: end.ends == 1, "the end is seen")
    assert end.packets == [{"kind": "last"}]
    assert len(end.descriptors) == 1
    for fd in (reading, writing, *end.descriptors):
        os.close(fd)
    end.channel.close()
