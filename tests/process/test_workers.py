"""Several worker processes: even, replaced when they die or hang, reloaded, and ended together."""

import asyncio
import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.certificates import Issuer
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    receive_all,
    run_asyncrev,
    serving,
    wait_until,
)

pytestmark = pytest.mark.process

# A processor whose replies say which worker has it, and from which version of the module.
MODULE = """
import os
import threading

VERSION = {version!r}

class Tell:
    def process(self, chunk):
        if chunk == b"hang":
            sum(range(10**13))  # in C, with the GIL
        if chunk == b"wait":
            threading.Event().wait()  # other threads run
        if chunk == b"die":
            os._exit(7)
        return f"{{VERSION}}:{{os.getpid()}}:{{len(chunk)}}\\n".encode()

    def eof(self):
        return b""
"""


class Service:
    """A service whose processor tells who serves, with its log."""

    def __init__(self, server: ServerProcess, folder: pathlib.Path) -> None:
        self.server = server
        self.folder = folder
        self._lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.server.process.stderr is not None
        with contextlib.suppress(ValueError, OSError):  # it is closed at the end
            for line in self.server.process.stderr:
                self._lines.append(line.decode())

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def hear(self, words: str) -> None:
        """Wait until the log has these words."""
        wait_until(lambda: words in self.log, f"the log has {words!r}: {self.log}", 30)

    def write(self, version: str) -> None:
        """Write a version of the processor's module."""
        text = MODULE.format(version=version)
        # Of another length: Python may take the compiled one of the same second otherwise.
        (self.folder / "telling_work.py").write_text(text + "#" * (len(version) + ord(version[-1])))

    def who(self, sock: socket.socket) -> tuple[str, int]:
        """Return version and pid of the worker that has this connection."""
        sock.sendall(b"x")
        reply = b""
        while not reply.endswith(b"\n"):
            reply += sock.recv(100)
        version, pid, _ = reply.decode().split(":")
        return version, int(pid)

    def answerers(self, number: int = 1) -> list[tuple[str, int]]:
        """Return the same of so many new connections, which are open at the same time."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(self.server.connect()) for _ in range(number)]
            return [self.who(sock) for sock in sockets]

    def end(self) -> int:
        self.server.signal(signal.SIGTERM)
        return self.server.wait(30)


@contextlib.contextmanager
def service(folder: pathlib.Path, *args: str, workers: int = 2, **more: Any) -> Iterator[Service]:
    if not (folder / "telling_work.py").exists():
        (folder / "telling_work.py").write_text(MODULE.format(version="1"))
    asked = ("--workers", str(workers), "--processor", "telling_work:Tell", *args)
    with serving(*asked, cwd=folder, **more) as server:
        yield Service(server, folder)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def test_a_thousand_connections_are_spread_evenly(tmp_path: pathlib.Path) -> None:
    """Within 5 %; exactly, unless a busy machine lets a worker take nothing for a while."""
    with service(tmp_path, workers=4) as one:
        counts = collections.Counter(pid for _, pid in one.answerers(1000))
        assert len(counts) == 4
        assert min(counts.values()) >= 238
        assert max(counts.values()) <= 262
        assert one.end() == 0


def test_a_killed_worker_is_replaced_while_the_other_serves(tmp_path: pathlib.Path) -> None:
    """Within a second and the delay; each exchange with the other one takes no longer meanwhile."""
    with service(tmp_path) as one, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(one.server.connect()) for _ in range(2)]
        pids = [one.who(sock)[1] for sock in sockets]
        os.kill(pids[0], signal.SIGKILL)
        killed_s = time.monotonic()
        longest_s = 0.0
        while time.monotonic() - killed_s < 1.0:
            asked_s = time.monotonic()
            assert one.who(sockets[1])[1] == pids[1]
            assert one.answerers()[0][1] != pids[0]
            longest_s = max(longest_s, time.monotonic() - asked_s)
        assert longest_s < 0.5
        one.hear("was ended by SIGKILL")
        # What has just been closed still counts as open, so at first all may go to the new one.
        wait_until(lambda: len({pid for _, pid in one.answerers(4)}) == 2, "two workers serve")
        assert one.end() == 0


def test_a_worker_that_dies_by_itself_says_how(tmp_path: pathlib.Path) -> None:
    with service(tmp_path) as one:
        with one.server.connect() as sock:
            sock.sendall(b"die")
            assert receive_all(sock) == b""
        one.hear("ended with code 7")
        one.hear(") serves")
        assert one.end() == 0


@pytest.mark.parametrize("how", ["gil", "stopped", "thread"])
def test_a_hung_worker_is_replaced_and_says_where_it_hung(tmp_path: pathlib.Path, how: str) -> None:
    with service(tmp_path, "--hung-after-s", "5") as one:
        with one.server.connect() as sock:
            _, pid = one.who(sock)
            if how != "stopped":
                sock.sendall(b"hang" if how == "gil" else b"wait")
            else:
                os.kill(pid, signal.SIGSTOP)
            one.hear("has not moved for")
            one.hear("because it did not move")
            wait_until(lambda: is_gone(pid), "it is gone")
        one.hear(") serves")
        if how != "stopped":
            line = 10 if how == "gil" else 12
            assert re.search(rf"telling_work\.py.*line {line} in process", one.log)
        pids = [pid for _, pid in one.answerers(4)]
        assert len({*pids}) == 2, (pids, one.log)
        assert one.end() == 0


@pytest.mark.parametrize("where", ["port", "uds"])
def test_workers_end_with_their_supervisor(tmp_path: pathlib.Path, where: str) -> None:
    """They drain, and the address is free for the next service."""
    path = str(tmp_path / "s")
    address = ("--uds", path) if where == "uds" else ()

    def connect(one: Service) -> socket.socket:
        if where == "port":
            return one.server.connect()
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE_S)
        sock.connect(path)
        return sock

    with service(tmp_path, *address) as one, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(one)) for _ in range(2)]
        pids = [one.who(sock)[1] for sock in sockets]
        os.kill(one.server.pid, signal.SIGKILL)
        assert [receive_all(sock) for sock in sockets] == [b"", b""]
        wait_until(lambda: all(map(is_gone, pids)), "the workers have ended")
        again = address or ("--port", str(one.server.port))
        if where == "uds":
            with service(tmp_path, *again) as next_one, connect(next_one) as sock:
                assert one.who(sock)[1] not in pids
        else:
            with (
                serving(
                    "--workers",
                    "2",
                    "--processor",
                    "telling_work:Tell",
                    port=one.server.port,
                    cwd=tmp_path,
                ) as server,
                server.connect() as sock,
            ):
                assert one.who(sock)[1] not in pids


# -- reload ------------------------------------------------------------------------------------


def test_reload_takes_a_new_version_of_the_module(tmp_path: pathlib.Path) -> None:
    """Not one that cannot be imported; that is tried by one worker, and said."""
    with service(tmp_path) as one:
        before = {pid for _, pid in one.answerers(4)}
        (tmp_path / "telling_work.py").write_text("import nothing_of_that_name")
        one.server.signal(signal.SIGHUP)
        one.hear("reload ended: ")
        assert "nothing_of_that_name" in one.log
        assert {pid for _, pid in one.answerers(4)} == before
        one.write("version 2")
        one.server.signal(signal.SIGHUP)
        one.hear("all workers are replaced")
        after = one.answerers(4)
        assert {version for version, _ in after} == {"version 2"}
        assert not before & {pid for _, pid in after}
        assert one.end() == 0


def test_reload_answers_what_has_arrived(tmp_path: pathlib.Path) -> None:
    """The old worker drains: every byte of its connections has its reply, then they end."""
    with service(tmp_path) as one, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(one.server.connect()) for _ in range(10)]
        for sock in sockets:
            one.who(sock)
            sock.sendall(b"abc")
        one.server.signal(signal.SIGHUP)
        for sock in sockets:
            assert receive_all(sock).endswith(b":3\n")
        one.hear("all workers are replaced")


def test_reload_takes_new_certificates(tmp_path: pathlib.Path) -> None:
    """And not one that cannot be used."""
    issuer = Issuer(tmp_path)
    context = ssl.create_default_context(cafile=issuer.trusted)
    used = tmp_path / "used.pem"
    used.write_bytes(pathlib.Path(issuer.issue("localhost")).read_bytes())

    def serial(one: Service) -> str:
        with (
            one.server.connect() as sock,
            context.wrap_socket(sock, server_hostname="localhost") as tls,
        ):
            assert one.who(tls)
            return str(tls.getpeercert()["serialNumber"])  # type: ignore[index]

    with service(tmp_path, "--ssl-certfile", str(used)) as one:
        before = serial(one)
        used.write_text("nonsense")
        one.server.signal(signal.SIGHUP)
        one.hear("reload: nothing has changed: --ssl-certfile")
        assert serial(one) == before
        used.write_bytes(pathlib.Path(issuer.issue("localhost")).read_bytes())
        one.server.signal(signal.SIGHUP)
        one.hear("all workers are replaced")
        assert serial(one) != before
        assert one.end() == 0


def test_reload_opens_files_again(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "access.log"
    with service(tmp_path, "--access-log", str(log)) as one:
        one.answerers(4)
        log.rename(tmp_path / "old.log")
        one.server.signal(signal.SIGHUP)
        one.hear("all workers are replaced")
        one.answerers(4)
        assert one.end() == 0
    old, new = (tmp_path / "old.log").read_text(), log.read_text()
    assert old.count("\n") + new.count("\n") == 8
    assert new.count("\n") >= 4


Counts = collections.Counter[str]


async def _exchange(port: int, number: int, until_s: float, counts: Counts) -> None:
    """Send and verify until a time; connect again where a connection ends between two messages."""
    sent = 0
    while time.monotonic() < until_s:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # never refused
        try:
            while time.monotonic() < until_s:
                message = f"{number}:{sent}:{'x' * (sent % 500)}\n".encode()
                writer.write(message)
                sent += 1
                reply = await reader.readline()
                if not reply:  # a drain answers what has arrived, and then ends the stream
                    counts["ended"] += 1
                    break
                assert reply == message[:-1][::-1] + b"\n"
                counts["answered"] += 1
                await asyncio.sleep(0.02)
        except ConnectionError:  # it was sent after the end
            counts["reset"] += 1
        finally:
            writer.transport.abort()


async def _exchanges(port: int, lasts_s: float) -> Counts:
    counts = Counts()
    until_s = time.monotonic() + lasts_s
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(_exchange(port, number, until_s, counts))
    return counts


@pytest.mark.parametrize(
    ("lasts_s", "balance"),
    [
        pytest.param(6, "exact", marks=pytest.mark.slow),
        pytest.param(6, "kernel", marks=pytest.mark.slow),
        pytest.param(60, "exact", marks=[pytest.mark.stress, pytest.mark.timeout(120)]),
    ],
)
def test_reloads_one_after_the_other_under_load(lasts_s: int, balance: str) -> None:
    """Nobody is refused, and no reply is wrong, doubled or cut."""
    args = ("--workers", "2", "--balance", balance, "--framing", "line")
    with serving(*args, module="asyncrev") as server:
        one = Service(server, pathlib.Path())
        ended = threading.Event()

        def reload_again_and_again() -> None:
            while not ended.wait(2.0):
                server.signal(signal.SIGHUP)

        reloading = threading.Thread(target=reload_again_and_again)
        reloading.start()
        try:
            counts = asyncio.run(_exchanges(server.port, lasts_s))
        finally:
            ended.set()
            reloading.join()
        one.hear("all workers are replaced")
        assert counts["answered"] > 1000
        assert counts["ended"] > 0
        assert one.end() == 0
        assert "ERROR" not in one.log


# -- the admin endpoint, and systemd ---------------------------------------------------------------


def curl(path: pathlib.Path, what: str, method: str = "GET") -> tuple[int, bytes]:
    """Return status and body of a request over a UNIX socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(path))
        sock.sendall(
            f"{method} {what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, body = receive_all(sock).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


def test_admin_shows_all_workers_and_reloads(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("h11")
    pytest.importorskip("prometheus_client")
    path = tmp_path / "admin"
    with service(tmp_path, "--admin", f"unix:{path}") as one:
        pids = {pid for _, pid in one.answerers(4)}

        def counted() -> Any:  # answers may be 0.2 s old
            status, body = curl(path, "/stats.json")
            stats = json.loads(body)
            assert status == 200
            assert [worker["worker"] for worker in stats["workers"]] == ["0", "1"]
            accepted = sum(worker["statistics"]["accepted"] for worker in stats["workers"])
            return stats if accepted == 4 else None

        stats = wait_until(counted, "all connections are counted")
        assert stats["supervisor"]["pid"] == one.server.pid
        killed = min(pids)
        os.kill(killed, signal.SIGKILL)
        one.hear("was ended by SIGKILL")
        one.hear(") serves")
        assert b'asyncrev_worker_restarts_total{cause="SIGKILL"} 1.0' in curl(path, "/metrics")[1]
        assert curl(path, "/readyz")[0] == 200
        one.write("2")
        assert curl(path, "/reload", "POST")[0] in (200, 202)
        one.hear("all workers are replaced")
        assert {version for version, _ in one.answerers(4)} == {"2"}
        assert json.loads(curl(path, "/stats.json")[1])["supervisor"]["generation"] == 2
        assert curl(path, "/drain", "POST")[0] in (200, 202)
        assert one.server.wait(30) == 0
    assert not path.exists()


def test_sockets_of_systemd_are_shared(tmp_path: pathlib.Path) -> None:
    """The variables are the supervisor's; a worker has neither them nor the sockets."""
    (tmp_path / "telling_work.py").write_text(MODULE.format(version="1"))
    code = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        "os.execv(sys.executable, [sys.executable, '-m', 'asyncrev', *sys.argv[2:]])"
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        args = ("serve", "--workers", "2", "--processor", "telling_work:Tell")
        with subprocess.Popen(
            [sys.executable, "-c", code, str(fd), *args],
            env={**os.environ, "LISTEN_FDS": "1"},
            pass_fds=(fd,),
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        ) as process:
            assert process.stderr is not None
            line = process.stderr.readline().decode()
            one = Service(ServerProcess(process, line), tmp_path)
            pids = {pid for _, pid in one.answerers(4)}
            assert len(pids) == 2
            for pid in pids:
                environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
                assert b"LISTEN_" not in environment
            assert one.end() == 0
        # The queue is the next process's.
        with socket.create_connection(listening.getsockname(), DEADLINE_S):
            listening.settimeout(DEADLINE_S)
            listening.accept()[0].close()


# -- the kernel's balance ------------------------------------------------------------------------


def test_kernel_balance_serves_all_while_a_slot_is_empty(tmp_path: pathlib.Path) -> None:
    """Who lands in the queue of a dead worker's slot is served by another."""
    with service(tmp_path, "--balance", "kernel") as one:
        pids = {pid for _, pid in one.answerers(60)}
        assert len(pids) == 2
        killed = min(pids)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: is_gone(killed), "it is gone")
        for _ in range(20):
            assert all(pid != killed for _, pid in one.answerers(3))
        one.hear(") serves")
        wait_until(lambda: len({pid for _, pid in one.answerers(20)}) == 2, "the new one serves")
        one.server.signal(signal.SIGHUP)
        one.hear("all workers are replaced")
        assert len({pid for _, pid in one.answerers(60)}) == 2
        assert one.end() == 0


# -- starts and ends -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ("none_such:X", "none_such"),
        ("telling_work:X", "telling_work"),
    ],
)
def test_a_processor_that_cannot_be_used_is_one_line(
    tmp_path: pathlib.Path, processor: str, message: str
) -> None:
    (tmp_path / "telling_work.py").write_text(MODULE.format(version="1"))
    args = ("serve", "--port", "0", "--workers", "3", "--processor", processor)
    ended = run_asyncrev(*args, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("asyncrev: error: ")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_stop_word_ends_the_service() -> None:
    with serving("--workers", "2", "--stop-word", "exit") as server:
        with server.connect() as sock:
            assert ask(sock, b"abc") == b"cba"
            sock.sendall(b"exit")
            assert receive_all(sock) == b"tixe"
        assert server.wait(30) == 0


def test_a_drain_that_takes_too_long_is_code_3(tmp_path: pathlib.Path) -> None:
    """A client that never reads what it asked for, and more than sockets hold."""
    args = ("--workers", "2", "--drain-timeout-s", "0.5", "--max-reply-bytes", "0")
    with serving(*args) as server, server.connect(receive_buffer_bytes=4096) as sock:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(b"x" * 65536)
        server.signal(signal.SIGTERM)
        assert server.wait(30) == 3


def test_a_stop_drains_all_workers(tmp_path: pathlib.Path) -> None:
    with service(tmp_path, workers=3) as one, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(one.server.connect()) for _ in range(9)]
        for sock in sockets:
            sock.sendall(b"abc")
        one.server.signal(signal.SIGTERM)
        assert all(receive_all(sock).endswith(b":3\n") for sock in sockets)
        assert one.server.wait(30) == 0


def test_a_terminal_reaches_the_supervisor_only(tmp_path: pathlib.Path) -> None:
    """A Ctrl-C is sent to the whole foreground group."""
    with service(tmp_path, start_new_session=True) as one:
        with one.server.connect() as sock:
            one.who(sock)
            os.killpg(one.server.pid, signal.SIGINT)
            assert receive_all(sock) == b""
        assert one.server.wait(30) == 0
        assert "not because" not in one.log


def test_workers_have_no_descriptor_of_each_other(tmp_path: pathlib.Path) -> None:
    """Else one would keep the other's connections open, or its own end unseen."""
    with service(tmp_path, workers=3) as one:
        pids = {pid for _, pid in one.answerers(9)}
        assert len(pids) == 3

        def numbers() -> set[int]:
            return {len(os.listdir(f"/proc/{pid}/fd")) for pid in pids}

        wait_until(lambda: len(numbers()) == 1, "all connections have ended, and all have as many")


def test_one_worker_is_no_supervisor() -> None:
    """`--workers 1` is the process that it is without."""
    with serving("--workers", "1") as server:
        assert "workers=" not in server.start_line
        children = pathlib.Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
        assert children == ""
