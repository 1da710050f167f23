"""supervising: one service from its start line to its exit code, with workers that do nothing."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from asyncrev.command.signals import SAME_STOP_S
from tests.command_line import invoke
from tests.support import DEADLINE_S, ServerProcess, serving

FAKE = "tests.supervisor.fake_asyncrev"


@contextlib.contextmanager
def service(*args: str, **more: Any) -> Iterator[ServerProcess]:
    with serving("--workers", "2", *args, module=FAKE, **more) as server:
        yield server


def worker_of(server: ServerProcess) -> tuple[int, int, int]:
    """Return slot, generation and pid of the worker that serves a new connection."""
    with server.connect() as sock, sock.makefile("rb") as file:
        slot, generation, pid = map(int, file.readline().split(b":"))
    return slot, generation, pid


def run(*args: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", FAKE, "serve", "--port", "0", *args],
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE_S,
        env={**os.environ, **(env or {})},
        check=False,
    )


def hear(server: ServerProcess, words: str) -> str:
    """Return the next line of the log with these words."""
    assert server.process.stderr is not None
    while line := server.process.stderr.readline().decode():
        if words in line:
            return line
    raise AssertionError(f"the log ended without {words!r}")


# -- start and end -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_start_line_and_a_clean_end(number: signal.Signals) -> None:
    with service() as server:
        assert re.search(
            r"serving on 127.0.0.1:\d+ workers=2 balance=exact loop=epoll slots=256 "
            r"idle_timeout_s=5 cpu=auto plane=python memory_bound_bytes=2000 \(2 x 1000\)\n",
            server.start_line,
        )
        slots = {worker_of(server)[0] for _ in range(4)}
        assert slots == {0, 1}
        server.signal(number)
        assert server.wait() == 0
        assert server.refuses()


def test_start_line_in_json_has_the_pids() -> None:
    with service("--log-format", "json") as server:
        fields = json.loads(server.start_line)
        assert fields["workers"] == 2
        assert fields["supervisor_pid"] == server.pid
        host, port = fields["addresses"][0].split(":")
        with socket.create_connection((host, int(port))) as sock, sock.makefile("rb") as file:
            assert int(file.readline().split(b":")[2]) in fields["worker_pids"]


def test_a_uds_is_free_again(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    with service("--uds", str(path)) as server:
        assert f"unix:{path}" in server.start_line
        assert path.exists()
        assert server.terminate()[0] == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--processor", "fake:fails"), 2, "asyncrev: error: --processor 'none': no such thing"),
        (("--processor", "fake:dies-early:1"), 1, "ended with code 7 before it was ready"),
        (("--host", "192.0.2.1"), 1, "--host '192.0.2.1', --port: cannot listen on 192.0.2.1"),
        (("--slots", "0"), 2, "slots is 0"),
        (("--ssl-certfile", "/none"), 2, "--ssl-certfile '/none'"),
        (("--balance", "kernel", "--uds", "/x"), 2, "--port and --uds exclude each other"),
        (("--cpu", "9999"), 2, "--cpu is '9999'"),
    ],
)
def test_a_start_that_fails_says_why_in_one_line(
    args: tuple[str, ...], code: int, message: str
) -> None:
    ended = run("--workers", "2", *args)
    assert message in ended.stderr
    assert ended.returncode == code
    assert ended.stderr.count("\n") == 1


def test_kernel_balance_needs_addresses(tmp_path: pathlib.Path) -> None:
    args = ("--workers", "2", "--balance", "kernel", "--uds", str(tmp_path / "s"))
    ended = subprocess.run(
        [sys.executable, "-m", FAKE, "serve", *args],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 2
    assert "--balance kernel beside --uds: it needs a listening socket per worker" in ended.stderr


def test_options_of_the_supervisor_need_workers() -> None:
    ended = run("--balance", "exact")
    assert ended.returncode == 2
    assert "--balance without --workers; say how many" in ended.stderr


def test_a_worker_that_does_not_know_that_it_is_one_is_no_supervisor() -> None:
    """It would start workers of the same kind, without end."""
    ended = run("--workers", "2", env={"ASYNCREV_WORKER_FDS": "3,4,5"})
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1


def test_a_command_that_makes_no_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCREV_WORKER_FDS", "3,4,5")
    ended = invoke("serve", "--workers", "2")
    assert ended.exit_code == 2
    assert "--workers needs a command that workers can run again" in ended.output


def test_a_stop_while_workers_start_ends_them() -> None:
    args = ["--processor", "fake:sleeps-early", "--log-level", "debug"]
    with subprocess.Popen(
        [sys.executable, "-m", FAKE, "serve", "--port", "0", "--workers", "2", *args],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        pids: list[str] = []
        while len(pids) < 2:
            pids += re.findall(r"worker \d \(pid (\d+)\) starts", process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        rest = process.stderr.read()
        assert "stopped before it listened" in rest
        assert "ERROR" not in rest
    assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)


def test_second_signal_closes_at_once() -> None:
    with service("--processor", "fake:never-ends") as server:
        _, _, pid = worker_of(server)
        server.signal(signal.SIGTERM)
        hear(server, "draining")
        # One within half a second is the same stop.
        time.sleep(SAME_STOP_S)
        server.signal(signal.SIGTERM)
        assert server.wait() == 128 + signal.SIGTERM
    assert not pathlib.Path(f"/proc/{pid}").exists()


def test_too_many_deaths_end_the_service() -> None:
    args = ("--processor", "fake:dies-untaken", "--restart-limit", "2")
    with service(*args) as server, server.connect():
        hear(server, "workers die too often (--restart-limit)")
        assert server.wait() == 1


def test_a_stop_word_ends_the_service() -> None:
    with service() as server, server.connect() as sock:
        sock.sendall(b"stop\n")
        assert server.wait() == 0


# -- reload ------------------------------------------------------------------------------------


def test_reload_takes_a_new_file(tmp_path: pathlib.Path) -> None:
    """A bad one changes nothing, nor does one whose processor cannot be used."""
    file = tmp_path / "f.toml"
    file.write_text("[limits]\nmax_connections = 100\n")
    with service("--config", str(file)) as server:
        file.write_text("[limits]\nmax_connections = 0\n")
        server.signal(signal.SIGHUP)
        assert f"{file}:2: max_connections is 0" in hear(server, "reload: nothing has changed")
        file.write_text("[serve]\nprocessor = 'fake:fails'\n")
        server.signal(signal.SIGHUP)
        hear(server, "reload ended: --processor 'none': no such thing")
        assert worker_of(server)[1] == 1
        file.write_text("[limits]\nmax_connections = 50\nbacklog = 7\n")
        server.signal(signal.SIGHUP)
        assert f"backlog ({file}:3) is not changed" in hear(server, "reload: ")
        hear(server, "reload: all workers are replaced")
        assert {worker_of(server)[1] for _ in range(4)} == {3}
        assert server.terminate()[0] == 0


def test_reload_keeps_a_socket_that_was_passed_by_name() -> None:
    """The variables of systemd are gone by then."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        os.set_inheritable(listening.fileno(), True)
        fd = listening.fileno()
        with service("--fd", str(fd), pass_fds=(fd,)) as server:
            server.signal(signal.SIGHUP)
            hear(server, "reload: all workers are replaced")
            assert worker_of(server)[1] == 2


def test_certificates_are_checked_by_a_reload(tmp_path: pathlib.Path) -> None:
    pem = tmp_path / "c.pem"
    file = tmp_path / "f.toml"
    file.write_text("")
    with service("--config", str(file)) as server:
        file.write_text(f"[serve]\nssl_certfile = ['{pem}']\n")
        server.signal(signal.SIGHUP)
        assert "c.pem" in hear(server, "reload: nothing has changed")


# -- systemd -----------------------------------------------------------------------------------


def test_systemd_is_told(tmp_path: pathlib.Path) -> None:
    """READY when all serve, RELOADING around a reload, STOPPING, pings; workers tell nothing."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.settimeout(DEADLINE_S)
        env = {**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        with service(env=env) as server:
            assert heard.recv(999) == b"READY=1"
            said = b""
            while b"WATCHDOG=1" not in said:
                said += heard.recv(999)
            assert b"STATUS=0 connections, accepting" in said
            server.signal(signal.SIGHUP)
            while b"RELOADING=1" not in said:
                said = heard.recv(999)
            while b"READY=1" not in said:
                said = heard.recv(999)
            server.signal(signal.SIGTERM)
            while b"STOPPING=1" not in said:
                said = heard.recv(999)
            assert server.wait() == 0
