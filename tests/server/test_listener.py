"""listener: bounded, patient out of descriptors, and never a busy loop."""

import asyncio
import errno
import itertools
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from asyncrev.server.listener import (
    ACCEPTS_PER_ITERATION,
    TLS_ACCEPTS_PER_ITERATION,
    Listener,
)
from tests.support import until
from tests.wires import iterations

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


class Faulty(socket.socket):
    """A listening socket whose accept raises what is in `errors` first."""

    def __init__(self) -> None:
        super().__init__()
        self.bind(("127.0.0.1", 0))
        self.listen(256)
        self.setblocking(False)
        self.errors: list[int] = []
        self.accepts = 0

    def accept(self) -> Any:
        self.accepts += 1
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, os.strerror(code))
        return super().accept()


class Bench:
    """A listener, what it accepted, and its clients."""

    def __init__(self) -> None:
        self.sock = Faulty()
        self.accepted: list[socket.socket] = []
        self.clients: list[socket.socket] = []
        self.listener: Any = None

    def listen(self, retry_s: float = 0.01, **settings: int) -> Any:
        self.listener = Listener(self.sock, self.accept, retry_s=retry_s, **settings)
        return self.listener

    def accept(self, sock: socket.socket, address: Any) -> None:
        assert not sock.getblocking()
        assert address[0] == "127.0.0.1"
        self.accepted.append(sock)

    def dial(self, count: int = 1) -> None:
        for _ in range(count):
            self.clients.append(socket.create_connection(self.sock.getsockname()))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench, everything closed at the end."""
    made = Bench()
    yield made
    for sock in (*made.accepted, *made.clients, made.sock):
        sock.close()


@on_all
async def test_listener_accepts_between_resume_and_pause(bench: Bench) -> None:
    """While it pauses the kernel keeps what comes."""
    listener = bench.listen()
    bench.dial()
    await iterations(5)
    assert not bench.accepted
    assert not listener.accepting
    listener.resume()
    listener.resume()
    assert listener.accepting
    await until(lambda: len(bench.accepted) == 1, "it was accepted")
    listener.pause()
    listener.pause()
    bench.dial()
    await iterations(5)
    assert len(bench.accepted) == 1
    listener.resume()
    await until(lambda: len(bench.accepted) == 2, "the second was accepted")
    listener.close()
    listener.close()
    listener.resume()
    listener.accept_queued()
    assert not listener.accepting


@on_epoll
@pytest.mark.parametrize("most", [ACCEPTS_PER_ITERATION, TLS_ACCEPTS_PER_ITERATION])
async def test_listener_accepts_a_bounded_number_per_iteration(bench: Bench, most: int) -> None:
    """The rest comes in the next iterations."""
    listener = bench.listen(most_accepts=most)
    bench.dial(most + 9)
    listener.resume()
    seen = []
    while len(bench.accepted) < len(bench.clients):
        await iterations(1)
        seen.append(len(bench.accepted))
    assert most in seen
    assert max(after - before for before, after in itertools.pairwise([0, *seen])) == most
    assert seen[-1] == most + 9
    listener.close()


@on_epoll
async def test_pause_inside_on_accept_stops_the_same_iteration(bench: Bench) -> None:
    """As a server at its limit of connections does."""
    listener = bench.listen()
    accept = bench.accept

    def accept_and_pause(sock: socket.socket, address: Any) -> None:
        accept(sock, address)
        listener.pause()

    listener._on_accept = accept_and_pause
    bench.dial(3)
    listener.resume()
    await until(lambda: bench.accepted, "one was accepted")
    await iterations(5)
    assert len(bench.accepted) == 1
    listener.close()


@on_all
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_shortage_backs_off_and_recovers(
    bench: Bench, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One try each retry time, one log line a second at most, and then all are accepted."""
    listener = bench.listen(retry_s=30)
    bench.sock.errors = [code] * 3
    bench.dial(2)
    with caplog.at_level(logging.ERROR, "asyncrev"):
        listener.resume()
        for failures in (1, 2, 3):
            await until(lambda n=failures: listener.errors == n, "it failed")
            listener.resume()
            assert not listener.accepting
            listener._next_log_s = float("inf")  # the second is not over yet, however slow we are
            listener._retry.cancel()
            listener._try_again()
        await until(lambda: len(bench.accepted) == 2, "both were accepted")
    assert bench.sock.accepts <= 6
    assert len(caplog.records) == 1
    assert os.strerror(code) in caplog.text
    listener.close()


@on_epoll
async def test_shortage_is_logged_again_after_a_second(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In virtual time."""
    listener = bench.listen(retry_s=30)
    now_s = [0.0]
    monkeypatch.setattr(listener._loop, "time", lambda: now_s[0])
    for now_s[0] in (1000.0, 1000.9, 1001.0, 1001.5, 1002.1):
        bench.sock.errors = [errno.EMFILE]
        listener.accept_queued()
    monkeypatch.undo()
    assert len(caplog.records) == 3
    listener.close()


@on_epoll
async def test_pause_during_a_shortage_is_kept_after_it(bench: Bench) -> None:
    """The retry does not resume what somebody else has paused."""
    listener = bench.listen(retry_s=30)
    bench.sock.errors = [errno.EMFILE]
    bench.dial()
    listener.resume()
    await until(lambda: listener.errors, "it failed")
    listener.pause()
    listener._retry.cancel()
    listener._try_again()  # the retry time is over
    await iterations(5)
    assert not listener.accepting
    assert not bench.accepted
    listener.close()


@on_epoll
@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.EHOSTUNREACH])
async def test_peer_that_gave_up_is_counted_and_the_next_accepted(bench: Bench, code: int) -> None:
    """In the same iteration, without a line in the log."""
    listener = bench.listen()
    bench.sock.errors = [code, code]
    bench.dial()
    listener.resume()
    await until(lambda: bench.accepted, "it was accepted")
    assert listener.errors == 2
    assert listener.errors_by_name == {errno.errorcode[code]: 2}
    assert listener.accepting
    listener.close()


@on_epoll
async def test_accept_queued_takes_all_that_the_kernel_has(bench: Bench) -> None:
    """Also while it pauses, and more than an iteration's share."""
    listener = bench.listen()
    bench.dial(ACCEPTS_PER_ITERATION * 2)
    listener.accept_queued()
    assert len(bench.accepted) == ACCEPTS_PER_ITERATION * 2
    listener.close()


@on_epoll
async def test_error_that_nobody_expects_backs_off_and_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a busy loop nor the end of a drain; the log has its name."""
    listener = bench.listen()
    bench.sock.errors = [errno.EPERM]
    bench.dial()
    listener.resume()
    await until(lambda: len(bench.accepted) == 1, "it was accepted after the pause")
    assert "Operation not permitted" in caplog.text
    assert listener.errors == 1
    listener.close()


@on_epoll
async def test_close_during_a_shortage_forgets_the_retry(bench: Bench) -> None:
    """No timer is left behind."""
    listener = bench.listen(retry_s=30)
    bench.sock.errors = [errno.EMFILE]
    listener.accept_queued()
    listener.close()
    await asyncio.sleep(0)
    assert listener._retry is None
