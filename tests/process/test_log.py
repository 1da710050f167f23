"""What the process logs: start line, levels, forged lines, unwritable stderr, number and memory."""

import contextlib
import fcntl
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.processors import FLIP, HERE, LOOPS
from tests.process.users import USERS, connect_to, sleeps, started, user_module
from tests.support import DEADLINE_S, ask, end_of, flipped, receive_all, serving, wait_until

pytestmark = pytest.mark.process

RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
TOO_LARGE = b"\xff\xff\xff\xff"
FRAMES = ("--framing", "len32", "--max-frame-bytes", "1000")


# -- levels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
def test_start_line_is_a_record_and_the_first(loop: str) -> None:
    """With time and level, like all that follows."""
    with serving("--loop", loop, *FLIP, **HERE) as server:
        assert re.match(RECORD.pattern + r"asyncrev \S+ serving on ", server.start_line)
        code, stderr = server.terminate()
    assert code == 0
    assert all(map(RECORD.match, stderr.splitlines()))


def test_quiet_server_says_nothing_of_an_ordinary_life(tmp_path: Path) -> None:
    """No start line at `warning`, and none of a peer that is idle or sends nothing."""
    path = tmp_path / "s"
    with started(
        *("--uds", str(path), "--log-level", "warning", "--idle-timeout-s", "0.2"),
        *("--first-byte-timeout-s", "0.2"),
        stderr=subprocess.PIPE,
    ) as process:
        with connect_to(path) as silent, connect_to(path) as idle:
            assert ask(idle, b"abc") == b"cba"
            assert receive_all(silent) == receive_all(idle) == b""
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=DEADLINE_S)[1] == b""
    assert process.returncode == 0


def test_idle_peers_are_told_at_info() -> None:
    """They are no reason for an alarm; one that breaks the framing is."""
    args = ("--idle-timeout-s", "0.2", "--first-byte-timeout-s", "0.2")
    with serving(*FRAMES, *args) as server:
        with server.connect() as silent, server.connect() as idle, server.connect() as rude:
            rude.sendall(TOO_LARGE)
            assert ask(idle, b"\0\0\0\1a") == b"\0\0\0\1a"
            for sock in (silent, idle, rude):
                end_of(sock)
        _, stderr = server.terminate()
    levels = {
        what: set(re.findall(rf"(\w+) \S+: closed: .*{what}", stderr))
        for what in ("first_byte_timeout_s", "idle_timeout_s", "max_frame_bytes")
    }
    assert levels == {
        "first_byte_timeout_s": {"INFO"},
        "idle_timeout_s": {"INFO"},
        "max_frame_bytes": {"WARNING"},
    }


def test_peer_that_speaks_no_tls_is_named(tmp_path: Path) -> None:
    """Or nobody could be asked to stop it."""
    trustme = pytest.importorskip("trustme")
    pem = tmp_path / "pem"
    issued = trustme.CA().issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(pem)
    with serving("--ssl-certfile", str(pem)) as server:
        with server.connect() as probe:
            name = "{}:{}".format(*probe.getsockname())
            probe.sendall(b"GET / HTTP/1.0\r\n\r\n")
            end_of(probe)
        with server.connect() as leaver:
            left = "{}:{}".format(*leaver.getsockname())
            leaver.sendall(b"\x16\x03\x01")
            leaver.shutdown(socket.SHUT_WR)
            end_of(leaver)
        with server.connect() as checker:  # a health check: it sends nothing
            checked = "{}:{}".format(*checker.getsockname())
            checker.shutdown(socket.SHUT_WR)
            end_of(checker)
        _, stderr = server.terminate()
    assert f" INFO {name}: closed: TLS handshake failed: http request" in stderr
    assert f" INFO {left}: closed: TLS handshake failed: " in stderr
    assert checked not in stderr


# -- what peers and processors put into lines --------------------------------------------------

FORGED = "2026-11-26 00:00:00,000 CRITICAL forged"


@pytest.mark.parametrize("loop", LOOPS)
def test_peer_cannot_forge_a_line_by_its_name(tmp_path: Path, loop: str) -> None:
    """A UNIX socket's name may be any bytes."""
    path = tmp_path / "s"
    settings: dict[str, Any] = {"cwd": tmp_path, "stderr": subprocess.PIPE}
    arguments = ("--loop", loop, "--uds", str(path), "--log-level", "debug", *FRAMES)
    with started(*arguments, **settings) as process:
        here = Path.cwd()
        os.chdir(tmp_path)  # a name of 108 bytes has no room for the folder
        try:
            name = f"x\n{FORGED}\r\x1b[31m\x85\u2028"
            with connect_to(path, name) as sock:
                sock.sendall(TOO_LARGE)
                end_of(sock)
        finally:
            os.chdir(here)
        process.send_signal(signal.SIGTERM)
        stderr = process.communicate(timeout=DEADLINE_S)[1].decode()
    lines = stderr.split("\n")[:-1]
    assert all(RECORD.match(line) or line.startswith("    ") for line in lines)
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines if line.startswith(FORGED)]
    assert rf"unix:'x\n{FORGED}\r\x1b[31m\x85\u2028': closed: " in stderr


@pytest.mark.parametrize("loop", LOOPS)
def test_peer_cannot_forge_a_line_by_what_it_sends(tmp_path: Path, loop: str) -> None:
    """A processor may put it into the text of an error."""
    text = "def work(data): raise ValueError(bytes(data).decode())"
    args = ("--loop", loop, "--processor", "users_module:work")
    with serving(*args, **user_module(tmp_path, text)) as server:
        with server.connect() as sock:
            sock.sendall(f"x\n{FORGED}\x1b[2J".encode())
            assert receive_all(sock) == b""
        _, stderr = server.terminate()
    assert f"\n    {FORGED}\\x1b[2J\n" in stderr
    assert "\n    ValueError: x\n" in stderr
    assert all(RECORD.match(line) or line.startswith("    ") for line in stderr.splitlines())


# -- how many lines, and how much memory ---------------------------------------------------------


def test_lines_of_one_reason_are_ten_a_second_and_a_number() -> None:
    """Every connection is in one of them."""
    begin_s = time.monotonic()
    with serving(*FRAMES) as server:
        for _ in range(200):
            with server.connect() as sock:
                sock.sendall(TOO_LARGE)
                end_of(sock)
        _, stderr = server.terminate()
    lasted_s = time.monotonic() - begin_s
    lines = stderr.count(": closed: a frame of 4294967295 bytes")
    told = re.findall(r"WARNING (\d+) more lines like this .*: closed: frame too large\n", stderr)
    assert 10 <= lines <= 10 * (lasted_s + 1)
    assert lines + sum(map(int, told)) == 200


def test_errors_that_nobody_reads_fill_no_memory(tmp_path: Path) -> None:
    """Each holds four times what a peer sent, in its text and its frames, and cannot be written."""
    text = "def work(line): raise ValueError(f'{bytes(line)!r} is no number')"
    args = ("--framing", "line", "--slots", "16", "--processor", "users_module:work")
    with serving(*args, **user_module(tmp_path, text)) as server:
        fcntl.fcntl(server.process.stderr.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        line = b"\0" * 1_000_000 + b"\n"
        idle_bytes = server.rss_bytes()
        for _ in range(50):
            with server.connect() as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(line)
                end_of(sock)
        assert server.rss_bytes() - idle_bytes < 60 << 20
        server.process.terminate()
        assert server.process.wait(DEADLINE_S) == 0


# -- modules that configure logging ------------------------------------------------------------

CONFIGURES = {
    "implicit": "import logging; logging.warning('loaded')",
    "basicConfig": "import logging; logging.basicConfig(level='CRITICAL', force=True)",
    "dictConfig": "import logging.config; logging.config.dictConfig({'version': 1, 'root': "
    "{'level': 'CRITICAL', 'handlers': ['h']}, 'handlers': {'h': {'class': "
    "'logging.StreamHandler'}}})",
    "disable": "import logging; logging.disable(logging.CRITICAL)",
    "dictConfig in a call": "import logging.config\n"
    "def in_call(): logging.config.dictConfig({'version': 1})",
}
RAISES = """
def work(data):
    in_call()
    if data == b"raise": raise ValueError("deliberate")
    return data
"""


@pytest.mark.parametrize("how", CONFIGURES)
def test_module_that_configures_logging_leaves_the_servers_as_it_is(
    tmp_path: Path, how: str
) -> None:
    """Level, format, processor errors and the thread: a stderr that nobody reads stops nobody."""
    path = tmp_path / "s"
    arguments = (*USERS, str(path), "--framing", "len32", "--max-frame-bytes", "1000")
    settings = user_module(tmp_path, "in_call = int\n" + CONFIGURES[how] + RAISES)
    with started(*arguments, stderr=subprocess.PIPE, **settings) as process:
        fcntl.fcntl(process.stderr.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        with connect_to(path) as sock:
            sock.sendall(b"\0\0\0\5raise")
            assert receive_all(sock) == b""
        for _ in range(100):
            with connect_to(path) as sock:
                sock.sendall(TOO_LARGE)
                end_of(sock)
        with connect_to(path) as sock:
            assert ask(sock, b"\0\0\0\3abc") == b"\0\0\0\3abc"
        process.send_signal(signal.SIGTERM)
        stderr = process.communicate(timeout=DEADLINE_S)[1].decode()
    assert process.returncode == 0
    assert len(re.findall(r"INFO asyncrev \S+ serving on", stderr)) == 1
    assert len(re.findall(r"ERROR a processor failed; its connection is closed", stderr)) == 1
    assert stderr.count("    ValueError: deliberate\n") == 1
    assert len(re.findall(r"INFO stopped: 102 connections", stderr)) == 1


# -- stderr that cannot be written to ------------------------------------------------------------


@contextlib.contextmanager
def full_disk() -> Iterator[int]:
    """Give a descriptor that refuses every byte."""
    with open("/dev/full", "wb", buffering=0) as full:
        yield full.fileno()


@contextlib.contextmanager
def nobody_reads() -> Iterator[int]:
    """Give a pipe's end whose other end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextlib.contextmanager
def full_and_non_blocking() -> Iterator[int]:
    """Give a full pipe's end; the other one is open, and nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    yield writing
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("unwritable", [full_disk, nobody_reads, full_and_non_blocking])
@pytest.mark.parametrize("loop", LOOPS)
def test_stderr_that_cannot_be_written_to_stops_nothing(
    tmp_path: Path, loop: str, unwritable: Any
) -> None:
    """Neither the start nor the service nor the end, and the exit code is the drain's."""
    path = tmp_path / "s"
    with (
        unwritable() as stderr,
        started("--loop", loop, "--uds", str(path), *FLIP, stderr=stderr, **HERE) as process,
    ):
        for _ in range(3):
            with connect_to(path) as sock:
                assert ask(sock, b"abc") == flipped(b"abc")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("unwritable", [full_disk, nobody_reads])
def test_module_that_logs_to_an_unwritable_stderr_stops_nothing(
    tmp_path: Path, unwritable: Any
) -> None:
    """What its handler still holds for stderr must not fail the start when that is moved."""
    path = tmp_path / "s"
    settings = user_module(tmp_path, CONFIGURES["implicit"])
    with (
        unwritable() as stderr,
        started(*USERS, str(path), stderr=stderr, **settings) as process,
    ):
        with connect_to(path) as sock:
            assert ask(sock, b"abc") == b"abc"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("unwritable", [full_disk, nobody_reads])
def test_mistake_that_cannot_be_told_is_in_the_exit_code(unwritable: Any) -> None:
    """Not 1 for a traceback, nor the interpreter's 120 for a failed flush."""
    with unwritable() as stderr:
        command = [sys.executable, "-m", "asyncrev", "serve", "--slots", "0"]
        done = subprocess.run(command, stderr=stderr, timeout=DEADLINE_S, check=False)
    assert done.returncode == 2


def test_stdout_that_is_full_is_an_error_in_one_line() -> None:
    """As of every tool: what was asked for could not be printed."""
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "asyncrev", "--version"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"asyncrev: error: cannot write to stdout: No space left on device\n"


def test_lines_that_a_full_disk_refused_are_counted_when_there_is_room(tmp_path: Path) -> None:
    """A small file system would need root; a limit of the file's size refuses writes as well."""
    path, log = tmp_path / "s", tmp_path / "log"
    log.write_bytes(b"x" * 1000)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    with log.open("ab") as stderr:
        settings: dict[str, Any] = {"stderr": stderr, "preexec_fn": limit}
        with started("--uds", str(path), *FRAMES, **settings) as process:
            with connect_to(path) as sock:
                sock.sendall(TOO_LARGE)
                end_of(sock)
            wait_until(lambda: sleeps(process.pid), "it has tried to write")
            log.write_bytes(b"")  # as logrotate's copytruncate does
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
    lines = log.read_text().splitlines()
    assert re.search(r"WARNING [23] log lines could not be written: \[Errno 27\]", lines[0])
    assert "stopped: 1 connections" in lines[-1]
