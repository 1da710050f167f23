"""running, turns: servers that stay up, those restricted to one core, and what a start tells."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import run
from benchmarks.build import have_compiler
from benchmarks.running import Fleet, Running, ServerFailed, cpu_s, running
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import CORE, HOST, SERVERS, Kind, custom, with_custom
from benchmarks.turns import turn

pytestmark = pytest.mark.process

LATENCY = SCENARIOS["latency"]

needs_gcc = pytest.mark.skipif(not have_compiler(), reason="no gcc: it is written in C")


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Run servers that stay up until the test ends."""
    with Fleet([LATENCY], None) as fleet:
        yield fleet


def pid_of_turn(fleet: Fleet, label: str, scenario: Scenario = LATENCY) -> int:
    """Return the process that had a turn in which nothing was done."""
    with fleet.turn(label, SERVERS[label], scenario) as server:
        return server.pid


def is_gone(pid: int) -> bool:
    """Return whether there is no such process."""
    return not Path(f"/proc/{pid}").exists()


# -- servers that stay up ------------------------------------------------------------------------


def test_server_stays_up_for_all_turns_of_its_framing(fleet: Fleet) -> None:
    """Another framing is another process."""
    pids = [pid_of_turn(fleet, "asyncrev", SCENARIOS[name]) for name in ("latency", "bulk4")]
    assert pids[0] == pids[1]
    assert pid_of_turn(fleet, "asyncrev", SCENARIOS["len32"]) != pids[0]


def test_fresh_scenario_has_a_process_for_each_turn(fleet: Fleet) -> None:
    """It is gone after its turn."""
    fresh = SCENARIOS["busy100"]
    first, second = (pid_of_turn(fleet, "asyncio", fresh) for _ in range(2))
    assert first != second
    assert is_gone(first)


def test_server_that_died_is_a_failure_and_its_next_turn_starts_another(fleet: Fleet) -> None:
    """The failure belongs to the turn in which it was seen."""
    first = pid_of_turn(fleet, "asyncio")

    def turn_in_which_it_dies() -> None:
        with fleet.turn("asyncio", SERVERS["asyncio"], LATENCY):
            os.kill(first, signal.SIGKILL)
            os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)

    with pytest.raises(ServerFailed, match="it ended by itself"):
        turn_in_which_it_dies()
    second = pid_of_turn(fleet, "asyncio")
    assert second != first
    assert pid_of_turn(fleet, "asyncio") == second


def test_no_server_is_left_behind() -> None:
    """After an exception, too."""
    pids = []

    def interrupted() -> None:
        with Fleet([LATENCY], None) as fleet:
            pids.extend(pid_of_turn(fleet, label) for label in ("asyncio", "asyncrev"))
            assert not any(map(is_gone, pids))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(map(is_gone, pids))


@needs_gcc
def test_failed_turn_is_told_and_the_others_count() -> None:
    """A server that ends after its first load has figures, or failures, in every round."""
    once = (
        "import asyncio, os, sys\n"
        "class Once(asyncio.Protocol):\n"
        "    def connection_made(self, transport): self.transport = transport; self.did = 0\n"
        "    def data_received(self, data): self.transport.write(data[::-1]); self.did = 1\n"
        "    def connection_lost(self, why):\n"
        "        if self.did: os._exit(3)\n"
        "async def main():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    server = await loop.create_server(Once, '127.0.0.1', int(sys.argv[1]))\n"
        "    print('these were my last words', flush=True)\n"
        "    await server.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    kinds = {
        "asyncio": SERVERS["asyncio"],
        "once": Kind(command=(sys.executable, "-c", once, "{port}"), framings=("raw",)),
    }
    rounds = 4
    results = run.measure({"t": LATENCY}, kinds, rounds, 0.1, warmup_s=0.02, progress=False)
    servers = results["scenarios"]["t"]["servers"]
    assert len(servers["asyncio"]["rounds"]) == rounds
    assert servers["asyncio"]["failures"] == []
    failures = servers["once"]["failures"]
    assert failures
    assert any("these were my last words" in failure for failure in failures)
    assert len(servers["once"]["rounds"]) + len(failures) == rounds


# -- one core, and planes --------------------------------------------------------------------------


def cores_of(server: Running) -> list[set[int]]:
    """Return the cores that each thread of a server may use."""
    threads = os.listdir(f"/proc/{server.pid}/task")
    return [os.sched_getaffinity(int(thread)) for thread in threads]


@pytest.mark.parametrize(
    ("label", "threads"),
    [("native", 1), ("asyncio", 1), ("asyncrev", 2), ("asyncrev-python", 2)],
)
def test_server_on_one_core_is_on_the_same_as_the_others(label: str, threads: int) -> None:
    """asyncrev's with loop and worker, but not with the log's thread; the runner is not moved."""
    if label == "native" and not have_compiler():
        pytest.skip("no gcc: native is written in C")
    before = os.sched_getaffinity(0)
    with running(SERVERS[label], LATENCY) as server:
        assert os.sched_getaffinity(server.pid) == {CORE}
        assert sum(cores == {CORE} for cores in cores_of(server)) >= threads
    assert os.sched_getaffinity(0) == before


def test_server_that_is_not_restricted_may_use_all_cores() -> None:
    """--cpu any."""
    with running(SERVERS["asyncrev-any"], LATENCY) as server:
        assert all(cores == os.sched_getaffinity(0) for cores in cores_of(server))


@pytest.mark.parametrize(
    ("label", "plane"), [("asyncrev", b"native"), ("asyncrev-python", b"python")]
)
def test_plane_of_a_server_is_fixed(
    label: str, plane: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment of the runner says."""
    monkeypatch.setenv("ASYNCREV_PLANE", "auto")
    with running(SERVERS[label], LATENCY) as server:
        environment = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
    assert [line for line in environment if line.startswith(b"ASYNCREV_PLANE=")] == [
        b"ASYNCREV_PLANE=" + plane
    ]


# -- a start ---------------------------------------------------------------------------------------


def test_start_has_time_cpu_time_and_memory() -> None:
    """Of the command itself, not of what notes its batches."""
    start = SCENARIOS["start"]
    with running(SERVERS["asyncrev"], start) as server:
        command = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")
        found = turn(server, start, 1.0, 0.0, None)
        assert 0 < found["start_cpu_ms"] <= 1e3 * cpu_s(server.pid)
    assert command[1:4] == [b"-m", b"asyncrev", b"serve"]
    assert found["start_ms"] > 0
    assert found["server_rss_bytes"] > 4 * 1024 * 1024
    assert found["errors"] == 0


def test_server_that_cannot_be_started_is_a_failure() -> None:
    """With what the system says."""
    with (
        pytest.raises(ServerFailed, match=r"cannot be started: .*No such file"),
        running(custom("/nowhere/asyncrev serve {port}"), LATENCY),
    ):
        pass


# -- commands of others ----------------------------------------------------------------------------


def test_custom_name_may_have_a_command_over_tls_and_one_without() -> None:
    """Each takes part where it can; a later one of the same kind replaces an earlier one."""
    given = ["x=old {port}", "x=new {port} {framing}", "x=new {port} --tls {certificate}"]
    kinds = with_custom({"native": SERVERS["native"]}, given)
    assert list(kinds) == ["native", "x"]
    assert kinds["x"].command == ("new", "{port}", "{framing}")
    assert kinds["x"].tls_command == ("new", "{port}", "--tls", "{certificate}")
    can = {name: kinds["x"].can(SCENARIOS[name]) for name in ("line", "tls-small50", "tls-line")}
    assert can == {"line": True, "tls-small50": True, "tls-line": False}


# -- the server in C -------------------------------------------------------------------------------


def _len32(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def _line(payload: bytes) -> bytes:
    return payload + b"\n"


@needs_gcc
@pytest.mark.parametrize(("framing", "framed"), [("len32", _len32), ("line", _line)])
def test_native_answers_frames_of_any_length_in_any_pieces(framing: str, framed: Any) -> None:
    """Empty ones, ones longer than its buffer, and a stream that comes in small pieces."""
    letters = bytes(range(97, 123))
    payloads = [b"", b"a", letters, letters * 20_000, b"", letters * 30_000, b"end"]
    stream = b"".join(framed(payload) for payload in payloads)
    wanted = b"".join(framed(payload[::-1]) for payload in payloads)
    scenario = Scenario(title="t", headline="mib_per_s", framing=framing, connections=1)
    with (
        running(SERVERS["native"], scenario) as server,
        socket.create_connection((HOST, server.port), 10) as sock,
    ):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        small = [stream[n : n + 1] for n in range(64)]
        for piece in (*small, stream[64:]):
            sock.sendall(piece)
        got = b""
        while len(got) < len(wanted) and (part := sock.recv(1 << 16)):
            got += part
    assert got == wanted
