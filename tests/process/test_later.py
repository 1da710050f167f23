"""Replies that come later, from the command line: coroutines and executors, with taps."""

import socket
from pathlib import Path

import pytest

from tests.executors.jobs import LOCAL_KINDS
from tests.support import ROOT, ask, receive_all, serving, wait_until

pytestmark = pytest.mark.process

MODULE = "tests.process.processors"


def ask_to_the_end(sock: socket.socket, data: bytes) -> bytes:
    """Send, end the stream, return everything."""
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    return receive_all(sock)


@pytest.mark.parametrize("framing", ["line", "raw"])
def test_coroutine_answers_and_taps_see_its_input(tmp_path: Path, framing: str) -> None:
    """The stop word ends the server when all is answered."""
    tee = tmp_path / "tee"
    args = ("--processor", f"{MODULE}:coroutine", "--framing", framing, "--tee", str(tee))
    with serving(*args, "--stop-word", "halt", cwd=ROOT) as server:
        with server.connect() as sock:
            assert ask_to_the_end(sock, b"a\nb\n") == b"A\nB\n"
        with server.connect() as sock:
            assert ask_to_the_end(sock, b"c\nhalt\n") == b"C\nHALT\n"
        assert server.wait() == 0
    assert tee.read_bytes() == b"a\nb\nc\nhalt\n"


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_executor_answers_until_the_drain(kind: str) -> None:
    """A worker that dies ends the connection of its frame; the next one is served."""
    args = ("--processor", f"{MODULE}:upper", "--framing", "line", "--executor", kind)
    with serving(*args, "--executor-workers", "1", cwd=ROOT) as server:
        with server.connect() as sock:
            assert ask_to_the_end(sock, b"a\nb\n" * 100) == b"A\nB\n" * 100
        if kind == "processes":
            with server.connect() as sock:
                assert ask_to_the_end(sock, b"die\n") == b""
            with server.connect() as sock:
                assert ask(sock, b"again\n") == b"AGAIN\n"
        code, stderr = server.terminate()
        assert code == 0
        assert ("executor lost" in stderr) == (kind == "processes")


@pytest.mark.parametrize("kind", [kind for kind in LOCAL_KINDS if kind != "processes"])
def test_hung_thread_costs_its_connection_and_no_drain(kind: str) -> None:
    """It is logged with its stack, replaced, and left behind; the process ends all the same."""
    args = (
        "--processor", "tests.executors.work:obey", "--framing", "line", "--executor", kind,
        "--executor-workers", "1", "--executor-timeout-s", "2",
    )  # fmt: skip
    with serving(*args, cwd=ROOT) as server:
        with server.connect() as sock:
            assert ask_to_the_end(sock, b"hang\n") == b""
        with server.connect() as sock:
            assert ask(sock, b"again\n") == b"AGAIN\n"
        code, stderr = server.terminate()
    assert code == 0
    assert "1 of at most 10 hang now" in stderr
    assert ("time.sleep(3600)" in stderr) == (kind == "threads")
    assert "still hang: 1" in stderr


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_worker_that_hangs_keeps_no_drain_beyond_its_deadline(kind: str, tmp_path: Path) -> None:
    """What it has is not answered, which the exit code says."""
    args = (
        "--processor", "tests.executors.work:obey", "--framing", "line", "--executor", kind,
        "--executor-workers", "1", "--drain-timeout-s", "0.5",
    )  # fmt: skip
    with serving(*args, cwd=ROOT) as server, server.connect() as sock:
        assert ask(sock, b"a\n") == b"A\n"
        hangs = tmp_path / "hangs"
        sock.sendall(b"hang %s\n" % bytes(hangs))
        wait_until(hangs.exists, "a worker has it")
        code, stderr = server.terminate()
    assert code == 3
    assert "Traceback" not in stderr


def test_executor_that_cannot_work_is_refused() -> None:
    """A lambda, and a kind that there is not."""
    for args, words in (
        (("--executor", "magic"), "give one of processes, threads"),
        (("--executor-workers", "2"), "--executor"),
    ):
        with pytest.raises(AssertionError, match=words), serving(*args):
            wait_until(lambda: False, "it has ended", 1)
