"""The server as a service of systemd: sockets that are passed, notifications, and the units."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.process.processors import EVERY_LOOP
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    receive_exactly,
    run_asyncrev,
    serving,
    wait_until,
)

pytestmark = pytest.mark.process

UNITS = pathlib.Path(__file__).parents[2] / "packaging" / "systemd"

needs_activate = pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="there is no systemd-socket-activate"
)
needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here"
)


@contextlib.contextmanager
def activated(
    sockets: list[socket.socket], *args: str, names: str = "", **environ: str
) -> Iterator[ServerProcess]:
    """Run a server to which `sockets` are passed; they stay open here, as with systemd."""
    fds = [sock.fileno() for sock in sockets]
    passing = {"PASS_FDS": ",".join(map(str, fds)), "PASS_NAMES": names}
    with serving(
        *args,
        port=None,
        module="tests.process.activated",
        pass_fds=fds,
        env=os.environ | passing | environ,
    ) as server:
        yield server


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def listening_at(path: pathlib.Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def connect(address: Any) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.settimeout(DEADLINE_S)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


# -- sockets that are passed ---------------------------------------------------------------------


@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_all_sockets_that_are_passed_are_served(loop: str, tmp_path: pathlib.Path) -> None:
    """TCP and UNIX; the path stays when the server ends, for it is systemd's."""
    path = tmp_path / "socket"
    with (
        listening() as tcp,
        listening_at(path) as unix,
        activated([tcp, unix], "--loop", loop) as server,
    ):
        assert f"127.0.0.1:{tcp.getsockname()[1]}, unix:{path} " in server.start_line
        for address in (tcp.getsockname(), str(path)):
            with connect(address) as client:
                assert ask(client, b"abc") == b"cba"
        assert server.terminate()[0] == 0
        assert path.is_socket()
        connect(str(path)).close()


@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_restart_loses_no_connection(loop: str) -> None:
    """Who waits in the accept queue at a stop is served by the next process."""
    with listening() as sock:
        with activated([sock], "--loop", loop, "--max-connections", "1") as first:
            open_one = connect(sock.getsockname())
            assert ask(open_one, b"abc") == b"cba"
            queued = connect(sock.getsockname())
            code, stderr = first.terminate()
            assert code == 0
            assert "stopped: 1 connections" in stderr
            assert open_one.recv(1) == b""
            open_one.close()
        queued.sendall(b"patient")
        meanwhile = connect(sock.getsockname())
        meanwhile.sendall(b"late")
        with activated([sock], "--loop", loop) as second, queued, meanwhile:
            assert receive_exactly(queued, 7) == b"tneitap"
            assert receive_exactly(meanwhile, 4) == b"etal"
            assert second.terminate()[0] == 0


@pytest.mark.parametrize(("fd", "chosen"), [("web", 1), ("4", 1), ("3", 0)])
def test_fd_chooses_among_the_sockets_by_name_or_number(fd: str, chosen: int) -> None:
    """The others are not listened on, and the log says so."""
    with listening() as one, listening() as two:
        sockets = [one, two]
        ports = [sock.getsockname()[1] for sock in sockets]
        fds = [sock.fileno() for sock in sockets]
        passing = {"PASS_FDS": ",".join(map(str, fds)), "PASS_NAMES": "other:web"}
        with subprocess.Popen(
            [sys.executable, "-m", "tests.process.activated", "serve", "--fd", fd],
            env=os.environ | passing,
            pass_fds=fds,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                with connect(sockets[chosen].getsockname()) as client:
                    assert ask(client, b"abc") == b"cba"
                process.terminate()
                _, stderr = process.communicate(timeout=DEADLINE_S)
            finally:
                process.kill()
    assert process.returncode == 0
    assert f"serving on 127.0.0.1:{ports[chosen]} loop".encode() in stderr
    left = (b"3 ('other')", b"4 ('web')")[1 - chosen]
    assert b"not listened on, of what systemd has passed: " + left + b"\n" in stderr


def test_children_get_neither_variables_nor_sockets(tmp_path: pathlib.Path) -> None:
    """Not even one that the processor's module starts when it is imported."""
    said = tmp_path / "said"
    (tmp_path / "work.py").write_text(
        "import subprocess\n"
        f"with open({str(said)!r}, 'w') as said:\n"
        "    subprocess.run(['sh', '-c', 'env; ls /proc/$$/fd'], stdout=said, close_fds=False)\n"
        "work = bytes.upper\n"
    )
    with listening() as sock:
        environ = {"PYTHONPATH": f"{tmp_path}:{os.getcwd()}", "NOTIFY_SOCKET": "@nobody/here"}
        more = {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}
        with activated([sock], "--processor", "work:work", **environ, **more) as server:
            with connect(sock.getsockname()) as client:
                assert ask(client, b"abc") == b"ABC"
            code, stderr = server.terminate()
    lines = said.read_text().splitlines()
    assert any(line.startswith("PATH=") for line in lines)
    assert [line for line in lines if re.match("LISTEN_|NOTIFY_|WATCHDOG_", line)] == []
    assert "0" in lines
    assert "3" not in lines
    assert code == 0, "a manager that is not there harms nothing"
    assert stderr.count("systemd is not notified") == 1


@pytest.mark.parametrize(
    ("args", "environ", "part"),
    [
        (
            ["--port", "0"],
            {},
            "--port: systemd has passed sockets, too: LISTEN_FDS is 1, 3 ('unkno",
        ),
        ([], {"ASYNCREV_UDS": "s"}, "ASYNCREV_UDS (of the environment): systemd has passed socke"),
        (["--fd", "web"], {}, "--fd 'web': no socket has that name; systemd has passed 3 ('unknow"),
    ],
)
def test_contradictions_are_refused_in_one_line(
    args: list[str], environ: dict[str, str], part: str
) -> None:
    with listening() as sock:
        done = subprocess.run(
            [sys.executable, "-m", "tests.process.activated", "serve", *args],
            env=os.environ | environ | {"PASS_FDS": str(sock.fileno())},
            pass_fds=[sock.fileno()],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
    assert done.returncode == 2
    assert part in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_descriptor_that_cannot_be_listened_on_is_named() -> None:
    """Such as the connected socket of a socket unit with Accept=yes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-m", "tests.process.activated", "serve"],
            env=os.environ | {"PASS_FDS": str(theirs.fileno()), "PASS_NAMES": "connection"},
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "asyncrev: error: LISTEN_FDS: descriptor 3 ('connection') is a socket that does not "
        "listen; pass a listening stream socket\n"
    )


def free_port() -> int:
    with listening() as sock:
        return int(sock.getsockname()[1])


@needs_activate
def test_systemd_socket_activate_passes_several_sockets(tmp_path: pathlib.Path) -> None:
    """It starts the server with the first connection, which is served, too."""
    ports = [free_port(), free_port()]
    path = tmp_path / "socket"
    command = ["systemd-socket-activate", "--fdname=a:b:c"]
    for where in (*(f"127.0.0.1:{port}" for port in ports), str(path)):
        command += ["-l", where]
    with subprocess.Popen(
        [*command, sys.executable, "-m", "asyncrev", "serve"], stderr=subprocess.PIPE
    ) as process:
        try:
            wait_until(path.is_socket, "the last socket is there")
            for address in (("127.0.0.1", ports[0]), ("127.0.0.1", ports[1]), str(path)):
                with connect(address) as client:
                    assert ask(client, b"abc") == b"cba"
            process.terminate()
            _, stderr = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert f"127.0.0.1:{ports[0]}, 127.0.0.1:{ports[1]}, unix:{path} ".encode() in stderr


@needs_activate
def test_systemd_socket_activate_passes_one_socket() -> None:
    port = free_port()
    with subprocess.Popen(
        [
            *("systemd-socket-activate", "-l", f"127.0.0.1:{port}"),
            *(sys.executable, "-m", "asyncrev", "serve", "--framing", "line"),
        ],
        stderr=subprocess.PIPE,
    ) as process:
        try:
            client = wait_until(lambda: _try_connect(port), "it listens")
            with client:
                assert ask(client, b"abc\n") == b"cba\n"
            process.terminate()
            process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert process.returncode == 0


def _try_connect(port: int) -> socket.socket | None:
    try:
        return connect(("127.0.0.1", port))
    except ConnectionRefusedError:
        return None


# -- notifications -------------------------------------------------------------------------------


class Manager:
    """The notification socket of systemd."""

    def __init__(self, address: str) -> None:
        """Listen at a path, or at @ and a name."""
        self.address = address
        self.messages: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)

    def __enter__(self) -> "Manager":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def receive(self, timeout_s: float = DEADLINE_S) -> dict[str, str]:
        """Return the next message."""
        self._socket.settimeout(timeout_s)
        text = self._socket.recv(65536).decode()
        message = dict(line.split("=", 1) for line in text.splitlines())
        self.messages.append(message)
        return message

    def until(self, is_it: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """Return the next message that is wanted."""
        end_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < end_s:
            if is_it(message := self.receive()):
                return message
        raise AssertionError(f"not among {self.messages}")

    def goes_quiet(self, quiet_s: float) -> bool:
        """Return whether no ping comes for that time, before the deadline."""
        end_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < end_s:
            try:
                self._without_pings(quiet_s)
            except TimeoutError:
                return True
        return False

    def _without_pings(self, quiet_s: float) -> None:
        end_s = time.monotonic() + quiet_s
        while (left_s := end_s - time.monotonic()) > 0:
            if "WATCHDOG" in self.receive(left_s):
                return
        raise TimeoutError


@pytest.mark.parametrize("abstract", [False, True])
@pytest.mark.parametrize("loop", EVERY_LOOP)
def test_manager_hears_of_the_whole_life(loop: str, abstract: bool, tmp_path: pathlib.Path) -> None:
    """READY once it listens, STATUS, a reload around SIGHUP, STOPPING before the drain."""
    address = f"@asyncrev-test/{os.getpid()}/{loop}" if abstract else str(tmp_path / "notify")
    with Manager(address) as manager:
        args = ["--loop", loop, "--access-log", str(tmp_path / "log")]
        with serving(*args, env=os.environ | {"NOTIFY_SOCKET": address}) as server:
            assert manager.receive() == {"READY": "1"}
            assert manager.receive() == {"STATUS": "0 connections, accepting"}
            before_usec = time.monotonic_ns() // 1000
            server.signal(signal.SIGHUP)
            reloading = manager.receive()
            assert reloading["RELOADING"] == "1"
            assert before_usec <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert manager.receive() == {"READY": "1"}
            with server.connect() as client:
                assert ask(client, b"abc") == b"cba"
                assert manager.receive() == {"STATUS": "1 connection, accepting"}
            code, stderr = server.terminate()
        stopping = manager.until(lambda message: "STOPPING" in message)
        assert stopping == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "15000000"}
    assert code == 0
    assert "notified" not in stderr
    assert not any("WATCHDOG" in message for message in manager.messages)


def test_pings_stop_while_a_worker_hangs_and_come_again(tmp_path: pathlib.Path) -> None:
    """One of two workers is in a processor for longer than WATCHDOG_USEC; the loop moves."""
    release = tmp_path / "release"
    (tmp_path / "work.py").write_text(
        "import os, time\n"
        "def work(data):\n"
        f"    while data == b'hang' and not os.path.exists({str(release)!r}): time.sleep(0.01)\n"
        "    return data\n"
    )
    address = str(tmp_path / "notify")
    environ = {
        "NOTIFY_SOCKET": address,
        "WATCHDOG_USEC": "400000",
        "PYTHONPATH": f"{tmp_path}:{os.getcwd()}",
    }
    with Manager(address) as manager:
        args = ["--processor", "work:work", "--threads", "2"]
        with serving(*args, env=os.environ | environ) as server:
            for _ in range(5):  # an idle worker moves
                manager.until(lambda message: "WATCHDOG" in message)
            with server.connect() as hanging, server.connect() as other:
                hanging.sendall(b"hang")
                assert manager.goes_quiet(1.2)
                assert ask(other, b"abc") == b"abc"
                release.touch()
                assert receive_exactly(hanging, 4) == b"hang"
                for _ in range(3):
                    manager.until(lambda message: "WATCHDOG" in message)
            code, stderr = server.terminate()
    assert code == 0
    assert len(re.findall("no watchdog pings for now: worker thread . has not moved", stderr)) == 1


def test_pings_are_for_the_process_of_watchdog_pid_only(tmp_path: pathlib.Path) -> None:
    address = str(tmp_path / "notify")
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}
    with Manager(address) as manager:
        with serving(env=os.environ | environ) as server:
            assert manager.receive() == {"READY": "1"}
            assert manager.goes_quiet(0.3)
            assert server.terminate()[0] == 0
        manager.until(lambda message: "STOPPING" in message)
    assert not any("WATCHDOG" in message for message in manager.messages)


# -- the units -----------------------------------------------------------------------------------


@needs_analyze
def test_units_are_valid(tmp_path: pathlib.Path) -> None:
    """With the program where it is here; systemd-analyze looks whether it exists."""
    program = shutil.which("asyncrev", path=str(pathlib.Path(sys.executable).parent)) or "/bin/true"
    for unit in UNITS.glob("asyncrev.*"):
        if unit.is_file():
            text = unit.read_text().replace("/opt/asyncrev/bin/asyncrev", program)
            (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.glob("asyncrev.*")))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = [line for line in done.stderr.splitlines() if "asyncrev" in line]
    assert (done.returncode, said) == (0, [])


def test_unit_leaves_time_for_the_drain_and_descriptors_for_the_connections() -> None:
    from asyncrev import Limits

    text = (UNITS / "asyncrev.service").read_text()
    found = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert int(found["TimeoutStopSec"]) > Limits().drain_timeout_s
    assert int(found["LimitNOFILE"]) >= Limits().max_connections + 136
    assert run_asyncrev(*found["ExecStart"].split()[1:], "--help").returncode == 0
