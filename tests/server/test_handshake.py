"""handshake: when a TLS handshake's task is cancelled, and when it is let be."""

import asyncio
import socket

import pytest

from asyncrev.server.handshake import HandshakeDeadline

pytestmark = pytest.mark.asyncio

TICK_S = 0.002


async def shake_hands(sock: socket.socket, timeout_s: float) -> tuple[HandshakeDeadline, float]:
    """Wait until the deadline cancels this; return it, and when that was."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    deadline = HandshakeDeadline(sock, timeout_s)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    return deadline, loop.time() - start_s


async def test_handshake_of_a_silent_peer_is_cancelled_at_its_time() -> None:
    """And told to be late, with the setting that says so."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        deadline, took_s = await asyncio.create_task(shake_hands(ours, 0.1))
    assert took_s >= 0.1 - TICK_S
    assert deadline.has_passed
    assert str(deadline).endswith("tls_handshake_timeout_s is 0.1")
    deadline.cancel()
    deadline.cancel()


async def test_handshake_with_input_that_is_not_read_gets_four_quarters_more() -> None:
    """No fifth: what lies there may mean nothing."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"\x16")
        deadline, took_s = await asyncio.create_task(shake_hands(ours, 0.1))
    assert took_s >= 0.2 - 5 * TICK_S
    assert deadline.has_passed


async def test_handshake_that_is_done_is_let_be() -> None:
    """Also when its descriptor has gone by then."""
    ours, theirs = socket.socketpair()

    async def shake() -> HandshakeDeadline:
        deadline = HandshakeDeadline(ours, 0.01)
        deadline.cancel()
        ours.close()
        await asyncio.sleep(0.05)
        return deadline

    deadline = await asyncio.create_task(shake())
    theirs.close()
    assert not deadline.has_passed


async def test_handshake_whose_socket_was_closed_under_it_is_cancelled() -> None:
    """There is nothing to look at any more."""
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    deadline, _ = await asyncio.create_task(shake_hands(ours, 0.01))
    assert deadline.has_passed
