"""The process before it serves and after its last reply: descriptors, signals, exit code."""

import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.processors import FLIP, GATED, HERE, LOOPS
from tests.process.users import USERS, sleeps, started, user_module
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    flipped,
    receive_all,
    receive_exactly,
    serving,
    wait_arrived,
    wait_until,
)

pytestmark = pytest.mark.process


# -- standard descriptors that are closed ------------------------------------------------------


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("loop", LOOPS)
def test_closed_standard_descriptors_are_the_null_device(
    tmp_path: Path, loop: str, closed: tuple[int, ...]
) -> None:
    """Nothing of the server's own gets one of these numbers; it serves, and ends with 0."""

    def close() -> None:
        for fd in closed:
            os.close(fd)

    path = tmp_path / "s"
    with started(
        "--loop", loop, "--uds", str(path), "--tee", "-", preexec_fn=close, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_S)
            wait_until(lambda: sock.connect_ex(str(path)) == 0, "it listens")
            for _ in range(3):
                assert ask(sock, b"abc") == b"cba"
            for fd in closed:
                assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == os.devnull
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert stdout == (b"" if 1 in closed else b"abcabcabc")
    assert (b"stopped: 1 connections" in stderr) == (2 not in closed)


def test_descriptors_that_a_module_closes_are_the_null_device_too(tmp_path: Path) -> None:
    """As one does that makes its process a daemon; the log went into the loop's descriptors."""
    path = tmp_path / "s"
    text = "import os\nfor fd in range(3): os.close(fd)\nwork = bytes.upper\n"
    settings = user_module(tmp_path, text)
    args = ("--processor", "users_module:work", "--uds", str(path), "--tee", "-")
    with started(*args, **settings) as process:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_S)
            wait_until(lambda: sock.connect_ex(str(path)) == 0, "it listens")
            assert ask(sock, b"abc") == b"ABC"
            for fd in range(3):
                assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == os.devnull
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def test_streams_of_closed_descriptors_are_real(tmp_path: Path) -> None:
    """A processor's module that prints, or reads, does not fail at None."""
    settings = user_module(
        tmp_path,
        "import sys\n"
        "for stream in (sys.stdout, sys.stderr): print('said', file=stream, flush=True)\n"
        "assert sys.stdin.read() == ''\n"
        "open(f\"{__import__('os').environ['HERE']}/done\", 'w').close()",
    )
    with started(
        *USERS, str(tmp_path / "s"), preexec_fn=lambda: os.closerange(0, 3), **settings
    ) as process:
        wait_until((tmp_path / "s").exists, "it listens")
        assert (tmp_path / "done").exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


# -- signals while it starts -------------------------------------------------------------------

# Imports that never end; one of them takes every exception for its own.
WAITS = "import os, threading\nopen(os.environ['HERE'] + '/importing', 'w').close()\n"
IMPORTS = [
    WAITS + "threading.Event().wait()",
    WAITS + "while True:\n    try: threading.Event().wait()\n    except BaseException: pass",
]


@pytest.mark.parametrize("text", IMPORTS, ids=["waits", "swallows"])
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGQUIT, 131), (signal.SIGTERM, -signal.SIGTERM)],
)
def test_stop_during_imports_ends_at_once(
    tmp_path: Path, text: str, number: int, code: int
) -> None:
    """There is nothing to drain: no traceback, no "Aborted!", no core."""
    settings = user_module(tmp_path, text)
    with started(*USERS, str(tmp_path / "s"), stderr=subprocess.PIPE, **settings) as process:
        wait_until((tmp_path / "importing").exists, "it imports")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, stderr) == (code, b"")


def test_other_signals_during_imports_are_told_when_it_serves(tmp_path: Path) -> None:
    """A supervisor that reloads at once does not end it."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    settings = user_module(tmp_path, WAITS + f"open({str(gate)!r}).read()")
    with started(*USERS, str(tmp_path / "s"), stderr=subprocess.PIPE, **settings) as process:
        wait_until((tmp_path / "importing").exists, "it imports")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)
        gate.write_text("")
        wait_until((tmp_path / "s").exists, "it listens")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert b"SIGHUP is ignored: neither --tee nor --access-log names a file" in stderr
    assert b"SIGUSR1 is ignored\n" in stderr


def test_stop_while_a_name_is_resolved_ends_the_process(tmp_path: Path) -> None:
    """Its thread cannot be ended, and asyncio and the interpreter would wait for it."""
    text = (
        "import os, socket, threading\n"
        "def resolve(*args, **settings):\n"
        "    open(os.environ['HERE'] + '/resolving', 'w').close()\n"
        "    threading.Event().wait()\n"
        "socket.getaddrinfo = resolve"
    )
    settings = user_module(tmp_path, text)
    args = ("--processor", "users_module:work", "--host", "name", "--port", "0")
    with started(*args, stderr=subprocess.PIPE, **settings) as process:
        wait_until((tmp_path / "resolving").exists, "it resolves")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert b"INFO stopped before it listened\n" in stderr


# -- signals while it serves -------------------------------------------------------------------


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loop", LOOPS)
def test_stop_that_is_delivered_twice_aborts_nobody(tmp_path: Path, loop: str, second: int) -> None:
    """GNU timeout and `tini -g` do so; what was owed is answered."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    environment = {**os.environ, "GATE": str(gate)}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("--loop", loop, *GATED, env=environment, **HERE))
        sock = stack.enter_context(server.connect())
        sock.sendall(b"abc")
        wait_arrived(sock)
        server.signal(signal.SIGTERM)
        server.signal(second)
        wait_until(server.refuses, "it drains")
        gate.write_bytes(b"")
        assert receive_all(sock) == flipped(b"abc")
        sock.close()
        assert server.wait() == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_quit_drains(loop: str) -> None:
    """Its default action would end the process, with a core."""
    with serving("--loop", loop, *FLIP, **HERE) as server, server.connect() as sock:
        assert ask(sock, b"abc") == flipped(b"abc")
        server.signal(signal.SIGQUIT)
        assert receive_all(sock) == b""
        sock.close()
        assert server.wait() == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_signals_that_are_no_stop_are_ignored_with_a_line(loop: str) -> None:
    """SIGHUP says that there is no file to reopen; everybody is served on."""
    with serving("--loop", loop, *FLIP, **HERE) as server, server.connect() as sock:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            server.signal(number)
            name = signal.Signals(number).name
            line = server.process.stderr.readline().decode()
            assert f"WARNING {name} is ignored" in line
            assert ("names a file to reopen" in line) == (number == signal.SIGHUP)
        assert ask(sock, b"abc") == flipped(b"abc")
        sock.close()
        code, stderr = server.terminate()
        assert code == 0
        assert "aborted none" in stderr


FORKING = """
import os, threading
def work(data):
    if data == b"fork":
        child = os.fork()
        if child == 0:
            threading.Event().wait()
        return str(child).encode()
    return str(os.waitpid(int(data), 0)[1]).encode()
"""


def test_child_that_a_processor_forks_ends_at_sigterm(tmp_path: Path) -> None:
    """It must not keep handlers that hand its signals to the loop of its parent."""
    settings = user_module(tmp_path, FORKING)
    with serving("--processor", "users_module:work", **settings) as server:
        with server.connect() as sock:
            sock.sendall(b"fork")
            child = sock.recv(100)
            wait_until(lambda: sleeps(int(child)), "it waits")
            os.kill(int(child), signal.SIGTERM)
            sock.sendall(child)
            assert receive_exactly(sock, 2) == b"15"
        assert server.terminate()[0] == 0


# -- signals when it has drained ---------------------------------------------------------------

# Runs at the exit: tells that it does, then waits until the gate is opened.
AT_EXIT = (
    "import atexit, os\n"
    "def leave():\n"
    "    open(os.environ['HERE'] + '/leaving', 'w').close()\n"
    "    open(os.environ['HERE'] + '/gate').read()\n"
    "atexit.register(leave)"
)


@contextlib.contextmanager
def leaving(folder: Path, text: str, *args: str) -> Iterator[ServerProcess]:
    """A server that has drained, and is kept from its end by a module that says so."""
    os.mkfifo(folder / "gate")
    with serving("--processor", "users_module:work", *args, **user_module(folder, text)) as server:
        server.signal(signal.SIGTERM)
        wait_until((folder / "leaving").exists, "it leaves")
        yield server


@pytest.mark.parametrize("loop", LOOPS)
def test_signals_after_the_drain_change_nothing(tmp_path: Path, loop: str) -> None:
    """Neither the exit code nor what is on stderr."""
    with leaving(tmp_path, AT_EXIT, "--loop", loop) as server:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
            server.signal(number)
        (tmp_path / "gate").write_text("")
        assert server.wait() == 0
        assert b"Traceback" not in server.process.stderr.read()


def test_process_that_does_not_end_can_be_ended(tmp_path: Path) -> None:
    """A thread of the user's that never ends; the exit code is the drain's all the same."""
    thread = (
        "import os, threading\n"
        "def stay():\n"
        "    threading.main_thread().join()\n"
        "    open(os.environ['HERE'] + '/leaving', 'w').close()\n"
        "    threading.Event().wait()\n"
        "threading.Thread(target=stay).start()"
    )
    with leaving(tmp_path, thread) as server:

        def insist() -> bool:
            server.signal(signal.SIGINT)
            return server.process.poll() is not None

        wait_until(insist, "it has ended")
        assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP])
def test_signal_while_the_interpreter_takes_itself_apart_is_ignored(
    tmp_path: Path, number: int
) -> None:
    """By then Python has given signals with handlers their default actions back."""
    last = (
        "import os, sys\n"
        "class Last:\n"
        "    tools = sys.is_finalizing, os.kill, os.write\n"  # modules are empty by then
        "    def __del__(self):\n"
        "        is_finalizing, kill, write = self.tools\n"
        "        if is_finalizing():\n"
        f"            kill(self.pid, {int(number)})\n"
        "            write(2, b'outlived it\\n')\n"
        "sys.kept_to_the_end = Last()\n"
        "sys.kept_to_the_end.pid = os.getpid()"
    )
    with serving("--processor", "users_module:work", **user_module(tmp_path, last)) as server:
        code, stderr = server.terminate()
    assert code == 0
    assert "outlived it" in stderr


@pytest.mark.parametrize("loop", LOOPS)
def test_signals_all_the_time_do_not_hurt_an_end(loop: str) -> None:
    """From before the drain to after it; each of its steps meets some."""
    with serving("--loop", loop) as server:
        server.signal(signal.SIGTERM)

        def signal_and_look() -> bool:
            for _ in range(20):
                server.signal(signal.SIGUSR1)
                server.signal(signal.SIGHUP)
            return server.process.poll() is not None

        wait_until(signal_and_look, "it has ended")
        assert server.wait() == 0
        assert not re.search(b"Traceback|Error", server.process.stderr.read())
