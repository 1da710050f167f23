"""What bad input and bad luck get: one connection's trouble stays its own."""

import contextlib
import datetime
import re
import resource
import select
import socket

import pytest

from tests.process.processors import FLIP, FRAGILE, HERE, LOOPS, NOTHING
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    flipped,
    pattern,
    receive_all,
    receive_exactly,
    reset,
    run_asyncrev,
    send_until_stuck,
    serving,
    wait_until,
)

pytestmark = pytest.mark.process


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    """The name of each loop there is."""
    return request.param


def test_processor_that_raises_closes_its_client_only(loop: str) -> None:
    """The replies before arrive, the error is on stderr, everybody else is served."""
    with (
        serving("--loop", loop, *FRAGILE, **HERE) as server,
        server.connect() as other,
    ):
        with server.connect() as sock:
            assert ask(sock, b"abc") == flipped(b"abc")
            sock.sendall(b"\0")
            assert receive_all(sock) == b""
        assert ask(other, b"abc") == flipped(b"abc")
        other.close()
        code, stderr = server.terminate()
    assert code == 0
    assert stderr.count("a processor failed; its connection is closed") == 1
    assert "ValueError: this processor does not like zeros" in stderr
    assert "'processor error': 1" in stderr


def test_factory_that_makes_no_processor_closes_every_client() -> None:
    """Only calling it tells; then stderr does, and the server lives."""
    with serving(*NOTHING, **HERE) as server:
        for _ in range(2):
            with server.connect() as sock:
                sock.sendall(b"abc")
                assert receive_all(sock) == b""
        code, stderr = server.terminate()
    assert code == 0
    assert "returned an object of type dict, which lacks process() and eof()" in stderr


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("tests.process.processors:Arguments", "is a class that needs arguments (index)"),
        ("tests.process.processors:undecorated", "without functools.wraps"),
        ("hashlib:sha256", "lambda data: hashlib.sha256(data).digest()"),
    ],
)
def test_processor_that_cannot_work_is_refused_at_the_start(name: str, cause: str) -> None:
    """One line, and the exit code of wrong usage; no socket was opened for it."""
    run = run_asyncrev("serve", "--port", "0", "--processor", name, **HERE)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert cause in run.stderr


def test_reply_of_two_lines_ends_its_connection_after_those_before(loop: str) -> None:
    """No later answer is shifted; everybody else is served."""
    halving = ("--processor", "tests.process.processors:halved", "--framing", "line")
    with serving("--loop", loop, *halving, **HERE) as server, server.connect() as other:
        assert ask(other, b"abc\n") == b"abc\n"
        with server.connect() as sock:
            sock.sendall(b"one\ntwo!halves\nthree\n")
            assert receive_all(sock) == b"one\n"
        assert ask(other, b"abc\n") == b"abc\n"
        other.close()
        code, stderr = server.terminate()
    assert code == 0
    assert "a reply to one line contains a line end, at byte 3 of 10" in stderr
    assert "'processor error': 1" in stderr


def test_peer_that_never_reads_is_aborted_after_the_stall_timeout(loop: str) -> None:
    """It costs its own connection only, without a traceback."""
    with serving("--loop", loop, *FLIP, "--write-stall-timeout-s", "0.2", **HERE) as server:
        base = server.descriptors_without_clients()
        with server.connect(receive_buffer_bytes=4096) as sock, server.connect() as other:
            send_until_stuck_or_aborted(sock)
            other.sendall(b"abc")
            assert receive_exactly(other, 3) == flipped(b"abc")
            wait_until(lambda: server.descriptors() == base + 1, "the stalled one is aborted")
            assert ask(other, b"abc") == flipped(b"abc")
        code, stderr = server.terminate()
    assert code == 0
    assert re.search(r"aborted: the peer took none of \d+ unsent bytes for 0\.\d s", stderr)
    assert "Traceback" not in stderr


def send_until_stuck_or_aborted(sock: socket.socket) -> None:
    try:
        send_until_stuck(sock, pattern(64_256))
    except ConnectionError:
        pass


def test_peer_that_is_reset_while_paused_is_noticed(loop: str) -> None:
    """Reading is paused, so no read tells that it has gone; its descriptor comes back anyway."""
    with serving("--loop", loop, *FLIP, **HERE) as server:
        base = server.descriptors_without_clients()
        sock = server.connect(receive_buffer_bytes=4096)
        send_until_stuck(sock, pattern(64_256))
        reset(sock)
        wait_until(lambda: server.descriptors() == base, "it is gone")
        code, stderr = server.terminate()
    assert code == 0
    assert "Traceback" not in stderr


def test_resets_in_every_state_leave_no_trace(loop: str) -> None:
    """Before any byte, after some, after a half-close, with replies unread."""
    with serving("--loop", loop) as server:
        base = server.descriptors_without_clients()
        for turn in range(40):
            sock = server.connect()
            if turn % 4 >= 1:
                sock.sendall(b"x" * 1000)
            if turn % 4 == 2:
                sock.shutdown(socket.SHUT_WR)
            if turn % 4 == 3:
                assert receive_exactly(sock, 500) == b"x" * 500
            reset(sock)
        wait_until(lambda: server.descriptors() == base, "all are gone")
        with server.connect() as sock:
            assert ask(sock, b"abc") == b"cba"
        code, stderr = server.terminate()
    assert code == 0
    assert "Traceback" not in stderr


def test_connections_beyond_the_limit_wait(loop: str) -> None:
    """The kernel holds them; whoever goes makes room."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("--loop", loop, "--max-connections", "2"))
        first, second, third, fourth = (stack.enter_context(server.connect()) for _ in range(4))
        for sock in (third, fourth):
            sock.sendall(b"hello")
        descriptors = None
        for _ in range(20):  # time enough to accept more, were it so
            assert ask(first, b"abc") == b"cba"
            assert ask(second, b"abc") == b"cba"
            assert descriptors in (None, server.descriptors())
            descriptors = server.descriptors()
        assert not select.select([third, fourth], [], [], 0)[0]
        first.close()
        assert receive_exactly(third, 5) == b"olleh"
        assert not select.select([fourth], [], [], 0)[0]
        second.close()
        assert receive_exactly(fourth, 5) == b"olleh"


def test_out_of_descriptors_serves_who_is_there_and_recovers(loop: str) -> None:
    """EMFILE: existing clients go on, at most a log line per second, no spinning, then recovery."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("--loop", loop))
        hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
        inside = stack.enter_context(server.connect())
        assert ask(inside, b"abc") == b"cba"
        # No descriptor above those that are open now; the lowest free one is the next.
        used = server.descriptors()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, hard))
        outside = [stack.enter_context(server.connect()) for _ in range(3)]
        for sock in outside:
            sock.sendall(b"hello")
        cpu_s = server.cpu_s()
        lines = [complaint(server), complaint(server)]
        assert server.cpu_s() - cpu_s < 0.2
        assert lines[1] - lines[0] >= datetime.timedelta(seconds=0.95)
        assert ask(inside, b"abc") == b"cba"
        assert not select.select(outside, [], [], 0)[0]
        inside.close()  # one comes back, and is used for all of them in turn
        for _ in range(3):
            ready = select.select(outside, [], [], DEADLINE_S)[0]
            assert ready, "nobody got in after a descriptor came back"
            assert receive_exactly(ready[0], 5) == b"olleh"
            ready[0].close()
            outside.remove(ready[0])
        code, stderr = server.terminate()
        assert code == 0
        assert "Traceback" not in stderr


def complaint(server: ServerProcess) -> datetime.datetime:
    """Return when the next log line that accepting fails was written."""
    assert server.process.stderr is not None
    while True:
        assert select.select([server.process.stderr], [], [], DEADLINE_S)[0], "no line came"
        line = server.process.stderr.readline().decode()
        if "cannot accept" in line:
            assert "Too many open files" in line
            return datetime.datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f")
