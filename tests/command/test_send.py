"""send: peers that reset, close early, never read, never answer; other people's servers."""

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.command.test_send_cli import send
from tests.support import DEADLINE_S, receive_all, reset, wait_until

pytestmark = pytest.mark.process


@contextlib.contextmanager
def peer(what: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run `what` with the first connection; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(3 * DEADLINE_S)

        def run() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(3 * DEADLINE_S)
                what(sock)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(4 * DEADLINE_S)
        assert not thread.is_alive()


LONG = bytes(20 * 2**20)


def test_reset_by_the_server() -> None:
    """Exit code 1, and what came before is written."""

    def what(sock: socket.socket) -> None:
        sock.recv(5, socket.MSG_WAITALL)
        sock.sendall(b"part")
        wait_until(lambda: ended.is_set(), "the part is written")
        reset(sock)

    ended = threading.Event()
    with peer(what) as address:
        client = subprocess.Popen(
            [sys.executable, "-m", "asyncrev", "send", address, "hello"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        with client:
            assert client.stdout is not None
            assert client.stderr is not None
            assert client.stdout.read(4) == b"part"
            ended.set()
            assert client.wait(DEADLINE_S) == 1
            text = client.stderr.read()
    assert text == (
        b"asyncrev: error: the connection failed: Connection reset by peer; 5 bytes were sent, "
        b"4 received\n"
    )


def test_server_that_closes_before_the_end_of_the_input() -> None:
    """Exit code 1; the reply is written."""

    def what(sock: socket.socket) -> None:
        sock.recv(1)
        sock.sendall(b"no")
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            receive_all(sock)

    with peer(what) as address:
        run = send(address, data=LONG)
    assert (run.returncode, run.stdout) == (1, b"no")
    assert b"closed the connection before all of the input was sent" in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False])
def test_server_that_never_answers(*, reads: bool) -> None:
    """Exit code 3 after the timeout, whether or not it reads."""
    done = threading.Event()

    def what(sock: socket.socket) -> None:
        if reads:
            receive_all(sock)
        assert done.wait(3 * DEADLINE_S)

    with peer(what) as address:
        began_s = time.monotonic()
        run = send(address, "--timeout-s", "2", data=LONG)
        assert time.monotonic() - began_s >= 2
        done.set()
    assert run.returncode == 3
    assert (b"sent no reply and did not close" if reads else b"took no input") in run.stderr


@pytest.mark.slow
def test_slow_stdin_is_not_a_timeout() -> None:
    """The time counts only while the server has something to do."""
    with (
        peer(lambda sock: sock.sendall(receive_all(sock))) as address,
        subprocess.Popen(
            [sys.executable, "-m", "asyncrev", "send", address, "--timeout-s", "2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as client,
    ):
        assert client.stdin is not None
        assert client.stdout is not None
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(4)
        client.stdin.write(b"late")
        client.stdin.close()
        assert client.stdout.read() == b"late"
        assert client.wait(DEADLINE_S) == 0


def test_server_that_replies_before_it_reads_on() -> None:
    """Neither side can wait for the other: more than all buffers goes both ways."""

    def what(sock: socket.socket) -> None:
        while data := sock.recv(65536):
            sock.sendall(data * 3)

    with peer(what) as address:
        run = send(address, data=LONG)
    assert (run.returncode, len(run.stdout)) == (0, 3 * len(LONG))


def test_wrong_frames_and_half_frames() -> None:
    """Exit code 1, with what to check."""
    with peer(lambda sock: sock.sendall(receive_all(sock)[4:])) as address:
        run = send(address, "hello", "--framing", "len32")
    assert run.returncode == 1
    assert b"check --framing" in run.stderr
    with peer(lambda sock: sock.sendall(receive_all(sock)[:6])) as address:
        run = send(address, "hello", "--framing", "len32")
    assert run.returncode == 1
    assert b"ends within a frame, of which 6 bytes came" in run.stderr


@pytest.mark.slow
def test_stdout_that_waits_does_not_end_the_timeout_or_the_interrupt() -> None:
    """A reader of stdout that is slow is no fault of the server."""
    with (
        peer(lambda sock: sock.sendall(receive_all(sock))) as address,
        subprocess.Popen(
            [sys.executable, "-m", "asyncrev", "send", address, "--timeout-s", "2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as client,
    ):
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(LONG)
        client.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(4)
        assert client.stdout.read() == LONG
        assert client.wait(DEADLINE_S) == 0


def test_socat_as_a_server() -> None:
    """It echoes, and the half-close ends it."""
    path = shutil.which("socat")
    if path is None:
        pytest.skip("socat is not installed")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    data = b"".join(b"%d\n" % i for i in range(100_000))
    listen = f"TCP-LISTEN:{address.rpartition(':')[2]},bind=127.0.0.1,reuseaddr"
    with subprocess.Popen([path, listen, "EXEC:cat"], stderr=subprocess.DEVNULL) as server:
        try:
            ends = (
                run.returncode == 0 and run
                for run in iter(lambda: send(address, "--expect", "echo", data=data), None)
            )
            run = wait_until(lambda: next(ends), "socat listens and echoes")
            assert run.stdout == data
        finally:
            server.kill()
