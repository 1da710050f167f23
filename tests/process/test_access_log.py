"""A process with an access log: a line per connection, rotated files, a file that takes nothing."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.framed import framed
from tests.process.processors import FLIP, HERE, LOOPS
from tests.support import ServerProcess, ask, end_of, receive_all, reset, serving, wait_until

pytestmark = pytest.mark.process

JSON = ("--log-format", "json")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the records of an access log in JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def talk(server: ServerProcess) -> str:
    """Have three bytes answered; return the client's name."""
    with server.connect() as sock:
        name = "{}:{}".format(*sock.getsockname())
        assert ask(sock, b"abc")
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b""
    return name


@pytest.mark.parametrize("loop", LOOPS)
def test_each_connection_has_a_line_with_its_end(tmp_path: Path, loop: str) -> None:
    """Those of peers, of this side, and those that a drain ends."""
    path = tmp_path / "log"
    args = ("--loop", loop, "--access-log", str(path), *JSON)
    with serving(*args, "--framing", "len32", "--max-frame-bytes", "1000") as server:
        expected: list[tuple[str, str, int]] = []
        for act, word in ((socket.socket.close, "closed by peer"), (reset, "reset by peer")):
            with server.connect() as sock:
                name = "{}:{}".format(*sock.getsockname())
                assert ask(sock, framed("len32", b"abc")) == framed("len32", b"cba")
                act(sock)
            expected.append((name, word, 7))
            wait_until(lambda: len(lines_of(path)) == len(expected), "it has a line")
        with server.connect() as sock:
            expected.append(("{}:{}".format(*sock.getsockname()), "frame too large", 4))
            sock.sendall(b"\xff\xff\xff\xff")
            end_of(sock)
        wait_until(lambda: len(lines_of(path)) == 3, "it has a line")
        with server.connect() as sock:
            expected.append(("{}:{}".format(*sock.getsockname()), "drained", 7))
            assert ask(sock, framed("len32", b"abc")) == framed("len32", b"cba")
            server.signal(signal.SIGTERM)
            assert receive_all(sock) == b""
        assert server.wait() == 0
    records = lines_of(path)
    assert [(one["peer"], one["end"], one["received_bytes"]) for one in records] == expected
    assert [one["frames"] for one in records] == [1, 1, 0, 1]
    assert {one["local"] for one in records} == {"{}:{}".format(*server.address)}
    assert path.stat().st_mode & 0o777 == 0o640


def test_tls_of_a_connection_is_in_its_line(tmp_path: Path, certificate: tuple[str, str]) -> None:
    """Version, protocol and host."""
    path = tmp_path / "log"
    context = ssl.create_default_context(cafile=certificate[1])
    context.set_alpn_protocols(["b"])
    args = ("--ssl-certfile", certificate[0], "--ssl-alpn", "a,b", "--access-log", str(path))
    with serving(*args) as server:
        with context.wrap_socket(server.connect(), server_hostname="localhost") as sock:
            assert ask(sock, b"abc") == b"cba"
        wait_until(path.read_bytes, "it has a line")
        assert server.terminate()[0] == 0
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z peer=127\.0\.0\.1:\d+ local=127\.0\.0\.1:\d+ "
        r"duration_s=[\d.]+ received_bytes=\d+ replied_bytes=\d+ tls=TLSv1\.3 alpn=b "
        r'sni=localhost end="[^"]+"\n',
        path.read_text(),
    )


def test_stdout_takes_it_too() -> None:
    """In a container, beside the log on stderr."""
    with serving("--access-log", "-", stdout=subprocess.PIPE) as server:
        name = talk(server)
        server.signal(signal.SIGTERM)
        stdout, _ = server.process.communicate(timeout=30)
    assert f" peer={name} ".encode() in stdout
    assert stdout.count(b"\n") == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_files_are_rotated_without_a_lost_byte(tmp_path: Path, loop: str) -> None:
    """Renamed, made again by somebody else, reopened: every connection is in one of the files."""
    log, tee = tmp_path / "log", tmp_path / "tee"
    args = ("--loop", loop, "--access-log", str(log), "--tee", str(tee), *FLIP, *JSON)
    names = []
    with serving(*args, **HERE) as server:
        for turn in range(5):
            names += [talk(server) for _ in range(5)]
            for path in (log, tee):
                path.rename(path.with_suffix(f".{turn}"))
                if turn % 2:
                    path.touch(0o600)
            server.signal(signal.SIGHUP)
            line = json.loads(server.process.stderr.readline())
            said = f"SIGHUP: reopened --tee {str(tee)!r} and --access-log {str(log)!r}"
            assert (line["level"], line["message"]) == ("INFO", said)
        names += [talk(server) for _ in range(5)]
        assert server.terminate()[0] == 0
    files = [log.with_suffix(f".{turn}") for turn in range(5)] + [log]
    assert sorted(one["peer"] for path in files for one in lines_of(path)) == sorted(names)
    tees = [tee.with_suffix(f".{turn}") for turn in range(5)] + [tee]
    assert [path.read_bytes() for path in tees] == [b"abc" * 5] * 6


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
def test_logrotate_rotates_it(tmp_path: Path) -> None:
    """With `create` and a signal afterwards, as the page has it."""
    log = tmp_path / "log"
    with serving("--access-log", str(log)) as server:
        before = talk(server)
        wait_until(log.read_bytes, "it has a line")
        conf = tmp_path / "conf"
        conf.write_text(
            f"{log} {{\n rotate 2\n create\n postrotate\n  kill -HUP {server.pid}\n endscript\n}}\n"
        )
        conf.chmod(0o600)
        state = str(tmp_path / "state")
        subprocess.run(["logrotate", "-f", "-s", state, str(conf)], check=True, timeout=30)
        assert b"reopened --access-log" in server.process.stderr.readline()
        after = talk(server)
        assert server.terminate()[0] == 0
    assert f" peer={before} " in (tmp_path / "log.1").read_text()
    assert f" peer={after} " in log.read_text()


def test_full_disk_stops_nobody_and_is_told_once_per_second(tmp_path: Path) -> None:
    """A device that is always full stands for it."""
    with serving("--access-log", "/dev/full", *JSON) as server:
        for _ in range(50):
            talk(server)
        code, stderr = server.terminate()
    assert code == 0
    told = [one for one in map(json.loads, stderr.splitlines()) if "unwritten" in one]
    assert sum(one["unwritten"] for one in told) == 50
    assert "No space left on device" in told[0]["message"]
    assert len({one["ts"][:19] for one in told[:-1]}) == len(told[:-1])


def test_pipe_that_nobody_reads_costs_neither_service_nor_memory(tmp_path: Path) -> None:
    """The exit waits half a second for it, and says what was lost."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with contextlib.ExitStack() as stack:
        reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        stack.callback(os.close, reading)
        server = stack.enter_context(serving("--access-log", str(fifo), *JSON))
        filler = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        stack.callback(os.close, filler)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(filler, b"x" * 4096)
        for _ in range(20):
            talk(server)
        code, stderr = server.terminate()
    assert code == 0
    (lost,) = [one for one in map(json.loads, stderr.splitlines()) if "dropped" in one]
    assert lost["dropped"] == 20
