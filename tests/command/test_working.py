"""working: a worker process serves what its supervisor, which the test plays, hands over."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.supervisor.playing import PlayedSupervisor, playing, setup_of
from tests.support import DEADLINE_S, ROOT, receive_all, receive_exactly, wait_until


def answered(client: socket.socket, data: bytes = b"abc") -> bool:
    client.sendall(data)
    return receive_exactly(client, len(data)) == data[::-1]


def drained(played: PlayedSupervisor) -> tuple[int, str]:
    played.send("drain")
    played.rest()
    return played.end()


def health_of(played: PlayedSupervisor) -> dict[str, Any]:
    played.questions.sendall(b'{"id": 7, "ask": "health", "arguments": {}}\n')
    with played.questions.makefile("rb") as lines:
        said = json.loads(lines.readline())
    assert said["id"] == 7
    health: dict[str, Any] = said["answer"]
    return health


# -- connections -----------------------------------------------------------------------------


def test_handed_connections_are_taken_in_order_served_and_counted() -> None:
    """`taken` is cumulative; what has ended is told soon, and a heartbeat comes in any case."""
    with playing(port="0") as played:
        fields = played.wait_for("ready")["fields"]
        assert fields["options"]["processor"] == "asyncrev:Reverse"
        assert fields["memory_bound_bytes"] > 0
        assert played.wait_for("beat") == {
            "kind": "beat",
            "connections": 0,
            "ended": 0,
            "thread_idle_s": 0.0,
        }
        first = played.hand()
        assert played.wait_for("taken")["total"] == 1
        more = played.hand(100)
        played.wait_for("taken", lambda packet: packet["total"] == 101)
        assert all(map(answered, first + more))
        for client in more:
            client.close()
        beat = played.wait_for("beat", lambda packet: packet["ended"] == 100)
        assert beat["connections"] == 1
        played.wait_for("beat")  # the next second
        assert answered(first[0])
        code, log = drained(played)
        assert code == 0
        assert "INFO worker 0: stopped: 101 connections, 306 bytes received" in log


@pytest.mark.parametrize("loop", ["epoll", "asyncio", "uvloop"])
def test_drain_answers_what_was_handed_and_what_has_arrived_before(loop: str) -> None:
    """Also the connections that the worker has not looked at yet; on each loop."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with playing(loop=loop) as played:
        played.wait_for("ready")
        clients = played.hand(20)
        for client in clients:
            client.sendall(b"abc")
            client.shutdown(socket.SHUT_WR)
        played.send("drain")
        assert [receive_all(client) for client in clients] == [b"cba"] * 20
        assert played.rest()[-1]["total" if False else "kind"] in ("taken", "beat")
        assert played.end()[0] == 0
        taken = [packet["total"] for packet in played.packets if packet["kind"] == "taken"]
        assert taken[-1] == 20


def test_drain_that_takes_too_long_is_3() -> None:
    """Of a client that never ends."""
    with playing(drain_timeout_s="0.2", linger_timeout_s="60") as played:
        played.wait_for("ready")
        (client,) = played.hand()
        assert answered(client)
        code, log = drained(played)
        assert code == 3
        assert "worker 0: draining 1 connections, at most 0.2 s" in log


def test_drain_over_time_is_that_of_the_option() -> None:
    """One is told at once, the other later; it goes before, which ends the drain."""
    with playing(drain_timeout_s="600", drain_spread_s="500") as played:
        played.wait_for("ready")
        clients = played.hand(2)
        assert all(map(answered, clients))
        played.send("drain")
        told = wait_until(lambda: [c for c in clients if _has_end(c)], "one is told")
        assert len(told) == 1
        (other,) = (client for client in clients if client not in told)
        assert answered(other)
        for client in clients:
            client.close()
        played.rest()
        code, log = played.end()
        assert code == 0
        assert "draining 2 connections over 500 s, at most 600 s" in log


def _has_end(client: socket.socket) -> bool:
    return bool(select.select([client], [], [], 0)[0]) and not client.recv(1, socket.MSG_PEEK)


def test_worker_with_listening_sockets_accepts_and_leaves_the_queue() -> None:
    """Whoever is queued when it drains waits for its successor."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        where = listening.getsockname()
        with playing(listen=[listening.fileno()]) as played:
            played.wait_for("ready")
            with socket.create_connection(where, timeout=DEADLINE_S) as client:
                assert answered(client)
                (handed,) = played.hand()
                assert answered(handed)
            handed.close()
            assert drained(played)[0] == 0
        with socket.create_connection(where, timeout=DEADLINE_S) as client:
            accepted, _ = listening.accept()
            accepted.close()


# -- ends ------------------------------------------------------------------------------------


def test_sigterm_to_the_worker_alone_is_said_and_nothing_that_was_handed_is_lost() -> None:
    """What the supervisor has handed before it knows is served, too."""
    with playing(admin="127.0.0.1:0") as played:
        played.wait_for("ready")
        (client,) = played.hand()
        assert answered(client)
        played.process.send_signal(signal.SIGTERM)
        played.wait_for("draining")
        assert health_of(played)["stopping"] is True
        (late,) = played.hand()
        played.wait_for("taken")
        assert answered(late)
        played.send("drain")
        for one in (client, late):
            one.shutdown(socket.SHUT_WR)
            assert receive_all(one) == b""
        played.rest()
        code, log = played.end()
        assert code == 0
        assert "stopped: 2 connections" in log


def test_sigterm_to_the_worker_alone_does_not_wait_for_a_silent_supervisor() -> None:
    """It closes its end, and takes nothing more: that is for other workers."""
    with playing(drain_timeout_s="600", linger_timeout_s="600") as played:
        played.wait_for("ready")
        (client,) = played.hand()
        assert answered(client)
        played.process.send_signal(signal.SIGTERM)
        played.wait_for("draining")
        played.rest()
        assert played.process.poll() is None  # the client is still there
        client.close()
        code, log = played.end()
        assert code == 0
        assert "worker 0: the supervisor does not answer; draining without it" in log


def test_second_sigterm_closes_at_once() -> None:
    """Though a client is still there."""
    with playing(drain_timeout_s="60") as played:
        played.wait_for("ready")
        (client,) = played.hand()
        assert answered(client)
        played.process.send_signal(signal.SIGTERM)
        played.wait_for("draining")
        played.send("drain")
        wait_until(lambda: _has_end(client), "it drains")
        wait_until(lambda: _stops_again(played.process), "it ends")
        assert played.end()[0] == 128 + signal.SIGTERM


def _stops_again(process: "subprocess.Popen[bytes]") -> bool:
    process.send_signal(signal.SIGTERM)  # one within half a second counts as the same
    return process.poll() is not None


def test_worker_whose_supervisor_is_killed_drains_what_it_was_handed() -> None:
    """And ends, so that nothing keeps ports and files."""
    with playing() as played:
        played.wait_for("ready")
        clients = played.hand(5)
        for client in clients:
            client.sendall(b"abc")
            client.shutdown(socket.SHUT_WR)
        played.die()
        assert [receive_all(client) for client in clients] == [b"cba"] * 5
        code, log = played.end()
        assert code == 0
        assert "WARNING worker 0: the supervisor is gone" in log


def test_supervisor_that_is_killed_before_the_setup_leaves_nothing() -> None:
    """The worker waits for its settings until then."""
    with playing(sets_up=False) as played:
        played.questions.sendall(b'{"setup": ')
        played.die()
        assert played.end() == (0, "")


def test_order_to_close_does_not_wait_for_answers() -> None:
    with playing(drain_timeout_s="60") as played:
        played.wait_for("ready")
        (client,) = played.hand()
        assert answered(client)
        played.send("close")
        played.rest()
        code, log = played.end()
        assert code == 3
        assert "worker 0: the supervisor says so: closing now" in log


def test_stop_word_of_a_client_is_for_the_whole_service() -> None:
    """The worker serves until the supervisor has it drain."""
    with playing(stop_word="stop") as played:
        played.wait_for("ready")
        client, other = played.hand(2)
        client.sendall(b"stop")
        played.wait_for("stop_service")
        assert answered(other)
        assert drained(played)[0] in (0, 3)


# -- what it is told -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ({"processor": "no_such_module:x"}, 2, "--processor 'no_such_module:x'"),
        ({"slots": 0}, 2, "slots is 0"),
        ({"tee": "/no/such/directory/file"}, 1, "--tee '/no/such/directory/file': No such file"),
        ({"cpu": "4096"}, 2, "--cpu is '4096'"),
        ({"drain_timeout_s": "5", "drain_spread_s": "6"}, 2, "--drain-spread-s is 6"),
    ],
)
def test_settings_that_cannot_be_used_are_said_to_the_supervisor(
    given: dict[str, Any], code: int, text: str
) -> None:
    """Which logs them; the worker says nothing more."""
    with playing(**given) as played:
        (failed,) = played.rest()
        assert (failed["kind"], failed["code"]) == ("failed", code)
        assert text in failed["text"]
        assert played.end() == (code, "")


def test_setup_of_another_version_is_said() -> None:
    """After an upgrade, a worker of the new version gets the options of the old supervisor."""
    setup = setup_of()
    setup["values"].append(["old_option", 1, "default", "", None, ""])
    with playing(setup) as played:
        (failed,) = played.rest()
        assert "old_option, which this version does not know; restart" in failed["text"]


def test_questions_are_answered() -> None:
    """Those of an admin endpoint."""
    with playing(admin="127.0.0.1:0") as played:
        played.wait_for("ready")
        (client,) = played.hand()
        assert answered(client)
        health = health_of(played)
        assert health["connections"] == 1
        assert health["stopping"] is False


def test_without_an_endpoint_nothing_is_measured_and_nobody_answers() -> None:
    """A chunk must not pay for durations that nobody can see."""
    with playing() as played:
        played.wait_for("ready")
        played.questions.sendall(b'{"id": 7, "ask": "health", "arguments": {}}\n')
        (client,) = played.hand()
        assert answered(client)
        played.questions.setblocking(False)
        with pytest.raises(BlockingIOError):
            played.questions.recv(1)


def test_order_to_reopen_reopens_the_access_log(tmp_path: Path) -> None:
    """As a rotation needs it."""
    path = tmp_path / "access.log"
    with playing(access_log=str(path)) as played:
        played.wait_for("ready")
        path.rename(tmp_path / "old")
        played.send("reopen")
        wait_until(path.exists, "it is opened again")
        (client,) = played.hand()
        assert answered(client)
        client.close()
        played.wait_for("beat", lambda packet: packet["ended"] == 1)
        assert drained(played)[0] == 0
    assert len(path.read_text().splitlines()) == 1


def test_json_log_has_the_worker() -> None:
    with playing(setup_of(index=3, log_format="json")) as played:
        played.wait_for("ready")
        code, log = drained(played)
        assert code == 0
        lines = [json.loads(line) for line in log.splitlines()]
        assert {line["worker"] for line in lines} == {"3"}


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_cpu_auto_is_a_core_of_its_own(index: int) -> None:
    """As long as there are enough."""
    allowed = sorted(os.sched_getaffinity(0))
    with playing(setup_of(index=index)) as played:
        fields = played.wait_for("ready")["fields"]
        expected = allowed[index % len(allowed)]
        assert os.sched_getaffinity(played.process.pid) == {expected}
        assert fields["options"]["cpu"] == expected


# -- the process -----------------------------------------------------------------------------


def test_descriptors_of_the_supervisor_are_for_no_child() -> None:
    """Nor are listening sockets; and nothing tells a child that there were some."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        playing(
            listen=[listening.fileno()], processor="tests.supervisor.processors:descriptors"
        ) as played,
    ):
        played.wait_for("ready")
        (client,) = played.hand()
        client.sendall(b"?")
        told = json.loads(client.recv(65536))
        client.close()
        assert told == {"inherited": [[], []], "variable": None}


def test_crash_writes_the_stacks_of_all_threads() -> None:
    """By the descriptor for that: the log's thread does not run any more."""
    with playing() as played:
        played.wait_for("ready")
        played.process.send_signal(signal.SIGABRT)
        text = played.stacks.read().decode()
        assert played.process.wait(DEADLINE_S) == -signal.SIGABRT
        assert "Fatal Python error: Aborted" in text
        assert "Current thread" in text
        assert "run_until_stopped" in text or "run_forever" in text


def test_connection_whose_descriptor_found_no_room_is_not_taken() -> None:
    """The supervisor, which has a copy, hears which one that is."""
    with playing() as played:
        played.wait_for("ready")
        (before,) = played.hand()
        played.send("connection", address="")
        (after,) = played.hand()
        told = [played.wait_for("taken")["total"], played.wait_for("untaken")["total"]]
        told.append(played.wait_for("taken", lambda packet: packet["total"] > 2)["total"])
        assert told == [1, 2, 3]
        assert answered(before)
        assert answered(after)
        before.close()
        after.close()
        beat = played.wait_for("beat", lambda packet: packet["ended"] >= 2)
        assert (beat["connections"], beat["ended"]) == (0, 2)


@pytest.mark.parametrize("numbers", ["", "1,2", "0,1,2", "a,b,c", "900,901,902"])
def test_variable_that_no_supervisor_has_set_is_refused(numbers: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "asyncrev", "serve", "--port", "0"],
        env={**os.environ, "ASYNCREV_WORKER_FDS": numbers},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"asyncrev: error: ASYNCREV_WORKER_FDS is {numbers!r} (of the environment): only a "
        "supervisor sets it, for its workers; unset it\n"
    )
