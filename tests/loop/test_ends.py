"""loop: what is forgotten is reclaimed as on asyncio's own loop, and what loops take and leave."""

import asyncio
import gc
import os
import selectors
import socket
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from asyncrev.errors import LocalError
from asyncrev.loop.selector import READABLE, WatchingSelector
from tests.wires import Plain, iterations, small_pair

OURS_AND_STOCK = [EpollEventLoop, asyncio.SelectorEventLoop]


@pytest.fixture(params=OURS_AND_STOCK)
def loop(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each of the two loops, closed at the end."""
    made = request.param()
    yield made
    made.close()


async def connect(mine: socket.socket, keep_open: bool = False) -> Any:
    """Return a transport of the running loop on a socket."""
    mine.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: Plain(keep_open), sock=mine)
    await iterations(2)
    return transport


def reclaimed(peer: socket.socket) -> list[str]:
    """Collect garbage; return the warnings about it if `peer` has seen its end."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    try:
        while peer.recv(1 << 20):
            pass
    except BlockingIOError:
        return []
    texts = [str(warning.message) for warning in caught if warning.category is ResourceWarning]
    return [text for text in texts if "unclosed transport" in text]  # its socket warns, too


# -- a loop that was closed ------------------------------------------------------------------------


def test_connection_of_a_closed_loop_is_reclaimed(loop: Any) -> None:
    """Nobody can close it any more; its peer would wait for as long as the loop object lives."""
    mine, peer = socket.socketpair()
    peer.setblocking(False)
    transport = loop.run_until_complete(connect(mine))
    loop.close()
    del transport, mine
    assert len(reclaimed(peer)) == 1
    peer.close()


def test_transport_of_a_closed_loop_says_so(loop: Any) -> None:
    """Also when it cannot send; then it is reclaimed as any other."""
    mine, peer = small_pair()
    peer.setblocking(False)
    transport = loop.run_until_complete(connect(mine))
    transport.pause_reading()
    loop.close()
    with pytest.raises(RuntimeError, match="loop is closed"):
        transport.resume_reading()
    with pytest.raises(RuntimeError, match="loop is closed"):
        transport.write(bytes(1_000_000))
    with pytest.raises(RuntimeError, match="loop is closed"):
        transport.close()
    del transport, mine
    assert len(reclaimed(peer)) == 1
    peer.close()


def test_closed_loop_holds_nothing_and_its_hooks_are_called_no_more() -> None:
    """The selector, too, if it is kept."""
    selector = WatchingSelector()
    loop = EpollEventLoop(selector)
    one, other = socket.socketpair()
    loop.watch(one.fileno(), READABLE, print)
    loop.close()
    loop.unwatch(one.fileno())
    assert not selector.watches
    assert selector.before_poll is None
    assert selector.after_poll is None
    for act in (loop.watch, loop.rewatch):
        with pytest.raises(RuntimeError, match="loop is closed"):
            act(one.fileno(), *(READABLE, print)[: 1 + (act == loop.watch)])
    one.close()
    other.close()


# -- a connection that its program has dropped -----------------------------------------------------


def test_paused_connection_that_is_dropped_is_reclaimed(loop: Any) -> None:
    """Nobody could resume it; its descriptor is not watched any more."""
    mine, peer = socket.socketpair()
    peer.setblocking(False)
    peer.send(b"unread")
    transport = loop.run_until_complete(connect(mine))
    for _ in range(2):
        transport.pause_reading()
        transport.resume_reading()
    transport.pause_reading()
    loop.run_until_complete(iterations(3))
    del transport, mine
    assert len(reclaimed(peer)) == 1
    assert not getattr(loop._selector, "watches", None)
    peer.close()


def test_half_closed_connection_that_is_dropped_is_reclaimed(loop: Any) -> None:
    """Its input has ended, and it has nothing to send."""
    mine, peer = socket.socketpair()
    peer.setblocking(False)
    transport = loop.run_until_complete(connect(mine, keep_open=True))
    peer.shutdown(socket.SHUT_WR)
    loop.run_until_complete(iterations(3))
    assert "eof" in transport.get_protocol().calls
    del transport, mine
    assert len(reclaimed(peer)) == 1
    peer.close()


def test_paused_connection_that_is_dropped_sends_its_write_buffer_first(loop: Any) -> None:
    """The loop keeps it until then, paused before the write and after it."""
    for pause_first in (True, False):
        mine, peer = small_pair()
        peer.setblocking(False)
        transport = loop.run_until_complete(connect(mine))
        if pause_first:
            transport.pause_reading()
        transport.write(bytes(100_000))
        transport.pause_reading()
        del transport, mine
        gc.collect()
        received = 0
        while received < 100_000:
            received += len(loop.run_until_complete(loop.sock_recv(peer, 65536)))
        loop.run_until_complete(iterations(3))
        assert len(reclaimed(peer)) == 1
        peer.close()


def test_reading_connection_that_is_dropped_is_kept(loop: Any) -> None:
    """Resumed ones, too: the loop goes on serving them."""
    mine, peer = socket.socketpair()
    peer.setblocking(False)
    transport = loop.run_until_complete(connect(mine))
    protocol = transport.get_protocol()
    transport.pause_reading()
    transport.resume_reading()
    del transport, mine
    protocol.transport = None
    assert reclaimed(peer) == []
    peer.send(b"hello")
    loop.run_until_complete(iterations(3))
    assert protocol.data == b"hello"
    peer.close()
    loop.run_until_complete(iterations(3))
    assert "lost" in protocol.calls


# -- the selector of a loop ------------------------------------------------------------------------


def test_loop_takes_a_watching_selector() -> None:
    """And closes it, as asyncio's does."""
    selector = WatchingSelector()
    loop = EpollEventLoop(selector=selector)
    assert loop._selector is selector
    assert loop.run_until_complete(asyncio.sleep(0, "result")) == "result"
    loop.close()
    with pytest.raises(OSError, match="Bad file"):
        selector.wake()


def test_selector_of_another_kind_is_refused_and_stays_open() -> None:
    """In words, with what was given and what to do."""
    with selectors.EpollSelector() as foreign:
        with pytest.raises(LocalError, match=r"EpollSelector.*WatchingSelector.*leave"):
            EpollEventLoop(foreign)  # type: ignore[arg-type]
        assert foreign.fileno() > 0


def test_selector_of_another_loop_is_refused_and_serves_that_on() -> None:
    """Two loops cannot share one."""
    selector = WatchingSelector()
    loop = EpollEventLoop(selector)
    with pytest.raises(LocalError, match="another loop"):
        EpollEventLoop(selector)
    assert loop.run_until_complete(asyncio.sleep(0, "result")) == "result"
    loop.close()


def test_loop_that_cannot_be_made_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there are too many open files."""

    def fail() -> None:
        raise OSError("Too many open files")

    monkeypatch.setattr(socket, "socketpair", fail)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="Too many"):
        EpollEventLoop()
    assert len(os.listdir("/proc/self/fd")) == len(before)
