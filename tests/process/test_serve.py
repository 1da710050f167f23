"""The server as a process: replies, start line, UNIX sockets, taps, idle cost."""

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.processors import EVERY_LOOP, FLIP, HERE
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    flipped,
    pattern,
    ping_pong,
    receive_all,
    receive_exactly,
    run_asyncrev,
    send_until_stuck,
    serving,
    wait_until,
)

pytestmark = pytest.mark.process


@pytest.fixture(params=EVERY_LOOP)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server on each of the loops."""
    with serving("--loop", request.param) as server:
        yield server


def test_half_closed_client_is_answered_then_closed(server: ServerProcess) -> None:
    """`printf hello | nc -N` prints olleh; by hand here, so that it runs without nc too."""
    with server.connect() as sock:
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b"olleh"
    assert server.terminate()[0] == 0


@pytest.mark.skipif(shutil.which("nc") is None, reason="there is no nc here")
def test_nc_prints_olleh() -> None:
    """The README's first example, word for word."""
    with serving() as server:
        command = f"printf hello | nc -N 127.0.0.1 {server.port}"
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, timeout=DEADLINE_S, check=False
        )
        assert done.stdout == b"olleh", done.stderr


def test_fifty_clients_get_their_own_replies(server: ServerProcess) -> None:
    """Each sends, verifies, sends the next, 200 times, all at once."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.connect()) for _ in range(50)]
        verified = ping_pong(
            socks,
            lambda client, number: f"<{client} says {number}>".encode() * 3,
            lambda message: message[::-1],
            rounds=200,
        )
    assert verified == 50 * 200
    code, stderr = server.terminate()
    assert code == 0
    assert "50 connections" in stderr
    assert "aborted none" in stderr


def test_start_line_tells_what_runs() -> None:
    """Address with the real port, loop, processor, limits, memory bound; on stderr, one line."""
    with serving("--slots", "32", "--slot-bytes", "4096", "--max-connections", "9") as server:
        line = server.start_line
        assert server.port > 0
        assert f"serving on 127.0.0.1:{server.port} loop=epoll processor=asyncrev:Reverse" in line
        for part in (
            "slots=32 slot_bytes=4096 entries=128 max_connections=9 high_water_bytes=65536",
            "write_stall_timeout_s=60 drain_timeout_s=10",
            f"(ring {32 * 4096 + 128 * (4096 + 64)} + 9 x ",
        ):
            assert part in line
        assert server.memory_bound_bytes >= server.ring_bytes + 9 * server.connection_bytes
        with server.connect() as sock:
            assert ask(sock, b"abc") == b"cba"


def test_ipv6_address_in_brackets() -> None:
    """The start line writes it as people do."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
        if probe.connect_ex(("::1", 1)) not in (111,):
            pytest.skip("no IPv6 loopback")
    with serving("--host", "::1") as server:
        match = re.search(r"serving on \[::1\]:(\d+) ", server.start_line)
        assert match
        with socket.create_connection(("::1", int(match[1])), DEADLINE_S) as sock:
            assert ask(sock, b"abc") == b"cba"


# -- UNIX sockets ---------------------------------------------------------------------------


def connect_unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE_S)
    sock.connect(str(path))
    return sock


def test_unix_socket_works_and_is_removed_at_the_end(tmp_path: Path) -> None:
    """--uds: the start line names it, the end takes it away."""
    path = tmp_path / "s"
    with serving("--uds", str(path)) as server:
        assert f"serving on unix:{path} " in server.start_line
        with connect_unix(path) as sock:
            assert ask(sock, b"abc") == b"cba"
        assert server.terminate()[0] == 0
    assert not path.exists()


def test_unix_socket_of_a_dead_server_is_taken_over(tmp_path: Path) -> None:
    """A server that was killed leaves its socket behind; nobody must clean up by hand."""
    path = tmp_path / "s"
    with serving("--uds", str(path)) as server:
        server.process.kill()
        server.wait()
    assert path.is_socket()
    with serving("--uds", str(path)), connect_unix(path) as sock:
        assert ask(sock, b"abc") == b"cba"


def test_unix_socket_of_a_live_server_is_refused(tmp_path: Path) -> None:
    """One line, exit 1, and the live server does not notice."""
    path = tmp_path / "s"
    with serving("--uds", str(path)):
        done = run_asyncrev("serve", "--uds", str(path))
        assert done.returncode == 1
        assert done.stderr == (
            f"asyncrev: error: --uds: {str(path)!r} is in use by another server; name another "
            "path\n"
        )
        with connect_unix(path) as sock:
            assert ask(sock, b"abc") == b"cba"


def test_of_servers_started_at_once_on_a_dead_path_one_serves(tmp_path: Path) -> None:
    """Real processes: the others end with 1 and say why; the socket has the mode asked for."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    command = [sys.executable, "-m", "asyncrev", "serve", "--uds", str(path), "--uds-mode", "0660"]
    servers = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, umask=0o077) for _ in range(4)
    ]
    try:
        wait_until(lambda: sum(s.poll() is not None for s in servers) == 3, "three have ended")
        (winner,) = [server for server in servers if server.poll() is None]
        for loser in servers:
            if loser is not winner:
                assert loser.stderr is not None
                assert "is in use by another server; name another path" in loser.stderr.read()
                assert loser.returncode == 1
        assert path.stat().st_mode & 0o777 == 0o660
        with connect_unix(path) as sock:
            assert ask(sock, b"abc") == b"cba"
        winner.terminate()
        assert winner.wait(DEADLINE_S) == 0
        assert not path.exists()
    finally:
        for server in servers:
            server.kill()
            server.communicate()


# -- a proxy's header --------------------------------------------------------------------------


@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_proxy_header_is_data_and_warned_of_once(loop: str) -> None:
    """Each connection of such a proxy begins with one; the replies are of the bytes as they are."""
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
    with serving("--loop", loop, "--framing", "line") as server:
        for _ in range(3):
            with server.connect() as sock:
                assert ask(sock, header[:-2] + b"\n") == header[-3::-1] + b"\n"
        with server.connect() as sock:
            assert ask(sock, b"abc\n") == b"cba\n"
        code, stderr = server.terminate()
    assert code == 0
    assert stderr.count("a connection began with a PROXY header (version 1)") == 1


# -- memory -----------------------------------------------------------------------------------


def test_bound_above_the_machines_memory_is_a_warning_behind_the_start_line() -> None:
    """Whoever starts it reads the first line."""
    with serving("--max-connections", "4", "--in-flight-bytes", "16T") as server:
        bound_bytes = server.memory_bound_bytes
        _, stderr = server.terminate()
    (line,) = [line for line in stderr.splitlines() if "WARNING" in line]
    assert f"hold {bound_bytes / 2**20:,.0f} MiB (memory_bound_bytes), but " in line


# -- stop word and tee -----------------------------------------------------------------------


def test_stop_word_ends_the_server() -> None:
    """Who asks for it gets the original's behaviour; the word itself is answered."""
    with serving("--stop-word", "exit") as server, server.connect() as sock:
        sock.sendall(b"exit")
        assert receive_all(sock) == b"tixe"
        assert server.wait() == 0


def test_tee_to_a_file_has_the_bytes_received_in_order(tmp_path: Path) -> None:
    """It appends, and replies are what they are without it."""
    path = tmp_path / "tee"
    path.write_bytes(b"before|")
    data = pattern(300_000)
    with serving(*FLIP, "--tee", str(path), **HERE) as server:
        with server.connect() as sock:
            writer = threading.Thread(target=sock.sendall, args=(data,))
            writer.start()
            assert receive_exactly(sock, len(data)) == flipped(data)
            writer.join()
        assert server.terminate()[0] == 0
    assert path.read_bytes() == b"before|" + data


def test_tee_to_stdout() -> None:
    """--tee - writes to stdout, which has nothing else on it."""
    with serving("--tee", "-", stdout=subprocess.PIPE) as server:
        with server.connect() as sock:
            assert ask(sock, b"abc") == b"cba"
            assert ask(sock, b"defg") == b"gfed"
        server.signal(signal.SIGTERM)
        assert server.process.stdout is not None
        assert server.process.stdout.read() == b"abcdefg"
        assert server.wait() == 0


def test_tee_to_a_full_pipe_does_not_stop_the_loop() -> None:
    """The worker waits for the pipe's reader; the loop accepts meanwhile; nothing gets lost."""
    data = pattern(64_256)
    with serving(*FLIP, "--tee", "-", stdout=subprocess.PIPE, **HERE) as server:
        pipe = server.process.stdout
        assert pipe is not None
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        with server.connect() as sock:
            sent = send_until_stuck(sock, data)
            assert sent > 4096
            descriptors = server.descriptors()
            with server.connect() as other:
                wait_until(lambda: server.descriptors() > descriptors, "the loop accepted")
                other.sendall(b"x")
                expected = (data * (sent // len(data) + 1))[:sent]
                # Both at once: who leaves its replies unread is, rightly, not read on.
                written, replies = receive_both(pipe.fileno(), sent + 1, sock, sent)
                assert written.replace(b"x", b"") == expected.replace(b"x", b"")
                assert replies == flipped(expected)
                assert receive_exactly(other, 1) == flipped(b"x")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def receive_both(
    pipe: int, pipe_bytes: int, sock: socket.socket, sock_bytes: int
) -> tuple[bytes, bytes]:
    """Return so many bytes of each, whichever comes first."""
    got = {pipe: bytearray(), sock.fileno(): bytearray()}
    left = {pipe: pipe_bytes, sock.fileno(): sock_bytes}
    while left:
        ready = select.select(list(left), [], [], DEADLINE_S)[0]
        assert ready, f"nothing came for {DEADLINE_S} s, these were missing: {left}"
        for fd in ready:
            part = os.read(fd, left[fd])
            assert part, f"ended with these missing: {left}"
            got[fd] += part
            left[fd] -= len(part)
            if not left[fd]:
                del left[fd]
    return bytes(got[pipe]), bytes(got[sock.fileno()])


def test_tee_that_fails_is_given_up_with_one_line() -> None:
    """A full disk costs the copy, not the service."""
    with serving("--tee", "/dev/full") as server:
        with server.connect() as sock:
            for _ in range(3):
                assert ask(sock, b"abc") == b"cba"
        code, stderr = server.terminate()
    assert code == 0
    assert stderr.count("No space left on device") == 1
    assert "tee to /dev/full stopped after 0 bytes" in stderr


def test_tee_to_a_fifo_without_reader_is_an_error(tmp_path: Path) -> None:
    """Opening it used to wait for a reader, deaf to signals."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = run_asyncrev("serve", "--port", "0", "--tee", str(fifo))
    assert done.returncode == 1
    said = f"--tee {str(fifo)!r} is a FIFO without a reader; start its reader first"
    assert done.stderr == f"asyncrev: error: {said}\n"


# -- what waiting costs -----------------------------------------------------------------------


def busy_states(stack: contextlib.ExitStack, *loop: str) -> dict[str, ServerProcess]:
    """Start servers that each have nothing to do, for another reason."""

    def start(*args: str) -> ServerProcess:
        return stack.enter_context(serving(*loop, *args, **HERE))

    servers = {
        "idle": start(),
        "half-closed": start("--drain-timeout-s", "30"),
        "paused and blocked": start(*FLIP),
        "worker hangs, ring full": start(
            "--processor", "tests.process.processors:Hung", "--slots", "2"
        ),
        "limit reached": start("--max-connections", "1"),
    }
    for server in servers.values():
        for _ in range(20):
            stack.enter_context(server.connect())
    for _ in range(3):
        sock = stack.enter_context(servers["half-closed"].connect())
        send_until_stuck(sock, pattern(64_256))
        sock.shutdown(socket.SHUT_WR)
        send_until_stuck(
            stack.enter_context(servers["paused and blocked"].connect()), pattern(64_256)
        )
        sock = stack.enter_context(servers["worker hangs, ring full"].connect())
        send_until_stuck(sock, pattern(1000))
    return servers


def shares(servers: dict[str, ServerProcess], span_s: float) -> dict[str, float]:
    before = {name: server.cpu_s() for name, server in servers.items()}
    threading.Event().wait(span_s)  # the measurement's length, nothing waits for anything
    return {name: (server.cpu_s() - before[name]) / span_s for name, server in servers.items()}


def test_waiting_takes_no_processor_time() -> None:
    """Nothing spins: idle, half-closed, paused, blocked, ring full, limit reached."""
    with contextlib.ExitStack() as stack:
        found = shares(busy_states(stack), 2.0)
    assert max(found.values()) < 0.03, found


@pytest.mark.slow
@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_waiting_takes_less_than_a_hundredth(loop: str) -> None:
    """The same on every loop, for longer and with the bound that the documentation gives."""
    with contextlib.ExitStack() as stack:
        found = shares(busy_states(stack, "--loop", loop), 8.0)
    assert max(found.values()) < 0.01, found


def test_tee_to_a_stdout_left_non_blocking_waits_for_its_reader() -> None:
    """Otherwise a full pipe would end the tee."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with serving("--tee", "-", stdout=writer):
            assert os.get_blocking(writer)
    finally:
        os.close(reader)
        os.close(writer)
