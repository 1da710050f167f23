"""The admin endpoint of `asyncrev serve`, asked by curl and others, beside a verified load."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h11")
pytest.importorskip("prometheus_client")

from tests.admin.talking import Http, get
from tests.process.processors import FLIP, GATED, HERE, HUNG
from tests.support import (
    DEADLINE_S,
    ServerProcess,
    ask,
    flipped,
    log_lines,
    pattern,
    receive_all,
    run_asyncrev,
    serving,
    wait_until,
)

pytestmark = pytest.mark.process

TCP = ("--admin", "127.0.0.1:0")


def address_of(server: ServerProcess) -> tuple[str, int]:
    """Return where the endpoint of a server that listens on TCP is, from its log."""
    assert server.process.stderr is not None
    line = server.process.stderr.readline().decode()
    found = re.search(r"admin endpoint on ([0-9.]+):(\d+)$", line.rstrip())
    assert found is not None, line
    return found[1], int(found[2])


def json_of(where: Any, path: str) -> Any:
    status, body = get(where, path)
    assert status in (200, 503), body
    return json.loads(body)


class Load:
    """Clients that send, verify and measure on a thread of their own: `with Load(server): ...`."""

    def __init__(self, server: ServerProcess, clients: int = 8) -> None:
        self.verified = 0
        self.slowest_s = 0.0
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._socks = [server.connect() for _ in range(clients)]
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        wait_until(lambda: self.verified > 50 or self._error, "the load runs")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for sock in self._socks:
            sock.close()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            number = 0
            while not self._stop.is_set():
                for sock in self._socks:
                    number += 1
                    message = pattern(64 + number % 500, number)
                    begun_s = time.monotonic()
                    assert ask(sock, message) == flipped(message)
                    self.slowest_s = max(self.slowest_s, time.monotonic() - begun_s)
                    self.verified += 1
        except BaseException as error:
            self._error = error


@contextlib.contextmanager
def loaded(*args: str) -> Iterator[tuple[ServerProcess, tuple[str, int], Load]]:
    """Run a server with an endpoint on TCP, and a load that must go on to the end.

    In the end nothing of the endpoint's peers is in the log.
    """
    with serving(*TCP, *FLIP, *args, **HERE) as server:
        where = address_of(server)
        with Load(server) as load:
            yield server, where, load
            before = load.verified
            wait_until(lambda: load.verified > before + 50, "the load goes on")
        assert json_of(where, "/readyz")["ready"] is True
        code, stderr = server.terminate()
        assert code == 0
        lines = log_lines(stderr)
        assert [line for line in lines if "admin" in line or "Traceback" in line] == []


# -- as it is meant to be used -----------------------------------------------------------------


def test_curl_reads_every_page_over_a_unix_socket(tmp_path: Path) -> None:
    """And drains; the socket has mode 0600 and goes with the process."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    path = tmp_path / "admin"

    def curl(page: str, *more: str) -> str:
        command = ["curl", "-sS", "--max-time", "10", "--unix-socket", str(path), *more]
        run = subprocess.run(
            [*command, f"http://localhost{page}"], capture_output=True, text=True, check=True
        )
        return run.stdout

    with serving("--admin", f"unix:{path}", *FLIP, **HERE) as server:
        assert path.stat().st_mode & 0o777 == 0o600
        with server.connect() as sock:
            assert ask(sock, b"abc") == flipped(b"abc")
            assert 'asyncrev_received_bytes_total{worker="0"} 3.0' in curl("/metrics")
            assert json.loads(curl("/livez"))["live"] is True
            assert json.loads(curl("/readyz"))["ready"] is True
            (worker,) = json.loads(curl("/stats.json"))["workers"]
            assert worker["statistics"]["received_bytes"] == 3
            (worker,) = json.loads(curl("/connections.json?sort=age&limit=1"))["workers"]
            assert worker["connections"][0]["peer"] == "{}:{}".format(*sock.getsockname())
            config = json.loads(curl("/config"))["options"]
            assert config["admin"] == {"value": f"unix:{path}", "origin": "--admin"}
            assert "/connections.json" in curl("/")
            assert " 501 " in curl("/reload", "-X", "POST", "-i")
            assert json.loads(curl("/drain", "-X", "POST")) == {"draining": True}
            assert receive_all(sock) == b""
        assert server.wait() == 0
    assert not path.exists()


def test_promtool_accepts_the_metrics_of_a_server_over_tls(certificate: tuple[str, str]) -> None:
    """Which has the figures of its handshakes and its certificate, too."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    with serving(*TCP, "--ssl-certfile", certificate[0], "--framing", "len32") as server:
        status, text = get(address_of(server), "/metrics")
        assert status == 200
        expiry = re.search(rb"tls_certificate_expiry_timestamp_seconds\S* ([\d.e+]+)", text)
        assert expiry is not None
        assert float(expiry[1]) > time.time()
        run = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_other_loops_have_it_too(loop: str) -> None:
    """It knows nothing of the server's loop but `call_soon_threadsafe`."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with serving(*TCP, "--loop", loop) as server:
        where = address_of(server)
        with server.connect() as sock:
            assert ask(sock, b"abc") == b"cba"

            def connections() -> int:
                (worker,) = json_of(where, "/stats.json")["workers"]
                return int(worker["statistics"]["connections"])

            # The first answer may be one for the live page, from before the connection.
            wait_until(lambda: connections() == 1, "it is counted")
        assert server.terminate()[0] == 0


def test_tcp_endpoint_changes_nothing_and_knows_its_host() -> None:
    """It has no password, and browsers can reach it."""
    with serving(*TCP) as server:
        where = address_of(server)
        client = Http(where)
        assert client.ask("POST", "/drain")[0] == 403
        assert client.ask("GET", "/drain")[0] == 405
        assert client.ask("GET", "/metrics", Host="evil.example")[0] == 421
        client.request("GET", "/metrics", headers={"Origin": "http://evil.example"})
        response = client.getresponse()
        response.read()
        assert [name for name, _ in response.getheaders() if "access-control" in name.lower()] == []
        client.close()
        assert json_of(where, "/readyz")["ready"] is True


def test_address_that_is_taken_ends_the_start() -> None:
    """With the option; nothing was served."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = run_asyncrev("serve", "--port", "0", "--admin", f"127.0.0.1:{port}")
    assert run.returncode == 1
    (line,) = log_lines(run.stderr)
    assert line.startswith(f"asyncrev: error: --admin 127.0.0.1:{port}: cannot listen")
    run = run_asyncrev("serve", "--port", "0", "--admin", "here")
    assert run.returncode == 2
    assert "unix:PATH" in run.stderr


# -- what it is for ------------------------------------------------------------------------------


@pytest.mark.slow
def test_stuck_loop_and_hung_worker_show() -> None:
    """The one at once, and both are not live after ten seconds."""
    with (
        serving(*TCP, *HUNG, **HERE) as hung,
        serving(*TCP, "--processor", "tests.process.sticking:Reverse", **HERE) as stuck,
    ):
        places = {"worker thread 0": address_of(hung), "event loop": address_of(stuck)}
        with hung.connect() as sock:
            sock.sendall(b"abc")
        stuck.signal(signal.SIGUSR2)
        down = b'asyncrev_worker_up{worker="0"} 0.0'
        wait_until(lambda: down in get(places["event loop"], "/metrics")[1], "it shows at once")
        for what, where in places.items():
            wait_until(lambda w=where: get(w, "/livez")[0] == 503, "it is not live", 30.0)
            assert what in json_of(where, "/livez")["workers"][0]["stuck"][0]
        assert json_of(places["worker thread 0"], "/readyz")["ready"] is True
        assert json_of(places["event loop"], "/readyz")["ready"] is False
        metrics = get(places["worker thread 0"], "/metrics")[1]
        waiting = re.search(rb'asyncrev_ring_entries{state="waiting",worker="0"} (\d+)', metrics)
        assert waiting is not None
        assert int(waiting[1]) >= 1


def test_full_server_is_not_ready() -> None:
    """Until one has gone."""
    with serving(*TCP, "--max-connections", "2") as server:
        where = address_of(server)
        with server.connect(), server.connect() as leaving:
            wait_until(lambda: get(where, "/readyz")[0] == 503, "it is full")
            (worker,) = json_of(where, "/readyz")["workers"]
            assert worker["reasons"] == ["max_connections, which is 2, is reached"]
            leaving.close()
            wait_until(lambda: get(where, "/readyz")[0] == 200, "it has a place")


def test_drain_shows_while_it_lasts(tmp_path: Path) -> None:
    """Readiness ends with the signal; the endpoint answers to the end."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with serving(*TCP, *GATED, **HERE, env={**os.environ, "GATE": str(gate)}) as server:
        where = address_of(server)
        with server.connect() as sock:
            sock.sendall(b"abc")
            wait_until(
                lambda: b'state="waiting",worker="0"} 1.0' in get(where, "/metrics")[1],
                "the worker has it",
            )
            server.signal(signal.SIGTERM)
            wait_until(lambda: get(where, "/readyz")[0] == 503, "it drains")
            assert json_of(where, "/readyz")["workers"][0]["reasons"] == ["draining"]
            assert b'asyncrev_draining{worker="0"} 1.0' in get(where, "/metrics")[1]
            assert get(where, "/livez")[0] == 200
            with open(gate, "wb"):
                pass
            assert receive_all(sock) == flipped(b"abc")
        assert server.wait() == 0


def test_drain_delay_accepts_while_it_is_not_ready() -> None:
    """Then it drains; a second signal ends the wait and everything else."""
    with serving(*TCP, "--drain-delay-s", "1h") as server:
        where = address_of(server)
        with server.connect() as sock:
            server.signal(signal.SIGTERM)
            wait_until(lambda: get(where, "/readyz")[0] == 503, "it is not ready")
            assert ask(sock, b"abc") == b"cba"
            with server.connect() as late:
                assert ask(late, b"abc") == b"cba"
            again_s = time.monotonic() + 0.6
            wait_until(lambda: time.monotonic() > again_s, "a signal is another stop")
            server.signal(signal.SIGTERM)
            assert server.wait() == 128 + signal.SIGTERM


def test_sigint_skips_the_drain_delay_and_a_short_one_passes() -> None:
    """Somebody waits at the terminal."""
    with serving("--drain-delay-s", "1h") as server:
        server.signal(signal.SIGINT)
        assert server.wait() == 0
    with serving("--drain-delay-s", "50ms") as server:
        assert server.terminate()[0] == 0


# -- hostile peers -------------------------------------------------------------------------------


def test_scrape_storm_leaves_the_load_alone() -> None:
    """What it costs has a bound: 100 pieces of input per second, and 5 answers."""
    with loaded() as (_, where, load):
        stop = threading.Event()
        statuses: list[int] = []

        def scrape() -> None:
            client = Http(where)
            while not stop.is_set():
                statuses.append(client.ask("GET", "/metrics")[0])
            client.close()

        threads = [threading.Thread(target=scrape) for _ in range(30)]
        for thread in threads:
            thread.start()
        begun, begun_s = len(statuses), time.monotonic()
        wait_until(lambda: len(statuses) > 200, "many scrapes", 30.0)
        per_s = (len(statuses) - begun) / (time.monotonic() - begun_s)
        stop.set()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}
        assert per_s < 200
        assert load.slowest_s < DEADLINE_S


GARBAGE = [
    b"GET /\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    b"\x00" * 3000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * 1_000_000,
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000,
    b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /drain HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /connections.json?limit=99999999999999999999 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%00%0d%0aX: y HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50,
]


def test_malformed_and_huge_requests_leave_the_load_alone() -> None:
    """Each gets an answer or an end; nothing is in the log; memory does not grow."""
    with loaded() as (server, where, _):
        before = server.rss_bytes()
        for data in GARBAGE:
            with socket.create_connection(where, DEADLINE_S) as sock:
                answer = b""
                with contextlib.suppress(ConnectionError):
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                    answer = receive_all(sock)
                assert answer == b"" or answer.startswith(b"HTTP/1.1 "), data[:50]
        assert server.rss_bytes() - before < 8 << 20


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """Have enough of them for a thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Probes:
    """Asks for `/livez` again and again, as a checker does, on a thread of its own.

    Attributes:
        answered: how many were.
        slowest_s: the longest time from the connection to the answer.
        failures: what was no 200.
    """

    def __init__(self, where: Any) -> None:
        self.answered = 0
        self.slowest_s = 0.0
        self.failures: list[str] = []
        self._where = where
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Probes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            begun_s = time.monotonic()
            try:
                status, _ = get(self._where, "/livez")
            except OSError as error:
                self.failures.append(repr(error))
                continue
            if status != 200:
                self.failures.append(str(status))
            self.answered += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun_s)


def thousand_connections(where: Any, probes: Probes) -> list[socket.socket]:
    """Connect, a hundred at a time, and have a probe answered beside each hundred.

    All at once, a busy machine might need more than a second for them alone.
    """
    socks = []
    for _ in range(10):
        for _ in range(100):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(where)
            socks.append(sock)
        answered = probes.answered
        wait_until(lambda n=answered: probes.answered > n + 1, "a probe is answered")
    return socks


def test_probes_are_answered_beside_a_thousand_silent_connections() -> None:
    """64 have a place, and make room for those that ask something; the load goes on."""
    with many_descriptors(), loaded() as (server, where, load):
        before = server.descriptors()
        with Probes(where) as probes:
            socks = thousand_connections(where, probes)
            wait_until(lambda: server.descriptors() >= before + 60, "all places are taken")
            verified, answered = load.verified, probes.answered
            wait_until(lambda: load.verified > verified + 200, "the load goes on")
            wait_until(lambda: probes.answered > answered + 20, "probes are answered")
            assert server.descriptors() <= before + 64 + 2
        for sock in socks:
            sock.close()
        assert probes.failures == []
        assert probes.slowest_s < 1.0
        assert json_of(where, "/readyz")["ready"] is True


def test_probes_are_answered_beside_a_flood_of_slow_requests() -> None:
    """A thousand peers send a header bit by bit; those that are ended connect again."""
    with many_descriptors(), loaded() as (_, where, load), Probes(where) as probes:
        socks = thousand_connections(where, probes)
        verified, answered, ends = load.verified, probes.answered, 0
        stop_s = time.monotonic() + DEADLINE_S
        while (ends < 300 or probes.answered < answered + 5) and time.monotonic() < stop_s:
            allowed = ends + 10
            for number, sock in enumerate(socks):
                try:
                    sock.send(b"GET / HTTP/1.1\r\nA: b")
                except BlockingIOError:
                    pass
                except OSError:
                    if ends < allowed:
                        ends += 1
                        sock.close()
                        socks[number] = socket.socket()
                        socks[number].setblocking(False)
                        socks[number].connect_ex(where)
            time.sleep(0.02)  # 500 per second
        for sock in socks:
            sock.close()
    assert ends >= 300
    assert probes.answered >= answered + 5
    assert probes.failures == []
    assert probes.slowest_s < 1.0
    assert load.verified > verified
