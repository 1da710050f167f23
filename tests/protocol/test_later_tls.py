"""protocol: what a TLS peer gets of replies that come later when it breaks the protocol."""

import asyncio
import socket

import pytest

import asyncrev
from asyncrev import Limits
from tests.framed import framed
from tests.support import DEADLINE_S
from tests.tls_pair import Peer, client_context, server_context

LIMITS = Limits(
    slots=8,
    slot_bytes=4096,
    in_flight_bytes=8192,
    max_frame_bytes=3000,
    pool_bytes=65536,
    pending_per_connection=1,
)


async def slow(frame: bytes) -> bytes:
    """Answer so late that what was sent behind it has been received long before."""
    await asyncio.sleep(0.1)
    return frame.upper()


def exchange(address: tuple[str, int], version: str, frames: list[bytes]) -> Peer:
    """Send a record per frame and a bad one, all at once; return the peer at the end."""
    peer = Peer(client_context(version))
    with socket.create_connection(address, DEADLINE_S) as sock:
        sock.sendall(peer.take())
        while not peer.is_established:
            sock.sendall(peer.take(sock.recv(65536)))
        wire = b"".join(peer.write(framed("line", frame)) for frame in frames)
        bad = bytearray(peer.write(framed("line", b"bad")))
        bad[-1] ^= 1
        sock.sendall(wire + bytes(bad))
        while data := sock.recv(65536):
            peer.take(data)
    return peer


@pytest.mark.asyncio(loop_factories=["asyncio", "epoll", "uvloop"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_with_one_request_at_a_time_no_reply_before_a_bad_record_is_lost(
    version: str,
) -> None:
    """The record behind a request is not decrypted before its reply was encrypted."""
    frames = [b"one", b"two", b"three"]
    async with await asyncrev.serve(
        "127.0.0.1", 0, processor=slow, framing="line", limits=LIMITS, ssl=server_context(version)
    ) as server:
        peer = await asyncio.to_thread(exchange, server.addresses[0], version, frames)
        assert server.statistics().pending is not None
    assert peer.received == b"".join(framed("line", frame.upper()) for frame in frames)
    assert "bad record mac" in str(peer.error)
