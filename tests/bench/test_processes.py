"""processes: several that send at once, their sums, and their ends.

They are forked, which a process with threads must not do, so each test has a process of its own.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.bench.servers import Handler, echo, served, wrong_after
from tests.support import DEADLINE_S

CODE = """
import json, os, signal, sys
from asyncrev.bench.messages import make_cycle
from asyncrev.bench.plan import Plan
from asyncrev.bench.processes import Processes
from asyncrev.errors import LocalError

plan = Plan(**json.loads(sys.argv[1]))
seen = []

def on_interval(number, interval):
    seen.append((number, interval.messages))
    if sys.argv[2] == "interrupt":
        processes.interrupt()
    elif sys.argv[2] == "kill":
        os.kill(processes._children[0].pid, signal.SIGKILL)

processes = Processes(plan, make_cycle(plan), on_interval)
if sys.argv[2] == "early":
    processes.interrupt()
try:
    intervals, outcome = processes.run()
except LocalError as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
else:
    print(json.dumps({
        "seen": seen,
        "messages": [one.messages for one in intervals],
        "latencies": sum(sum(one.latencies.values()) for one in intervals),
        "duration_s": sum(one.duration_s for one in intervals),
        "outcome": outcome.as_dict(),
    }))
# All children have been waited for.
try:
    os.waitpid(-1, os.WNOHANG)
    sys.exit("a child is left")
except ChildProcessError:
    pass
"""


def run(port: int, what: str = "", **settings: Any) -> dict[str, Any]:
    """Return what a parent of two processes has printed."""
    plan = {"connections": 5, "duration_s": 0.4, "warmup_s": 0.05, "expect": "echo"}
    plan |= {"port": port, "processes": 2, "timeout_s": 2.0, **settings}
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(plan), what],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def loaded(handle: Handler, what: str = "", **settings: Any) -> dict[str, Any]:
    with served(handle) as port:
        return run(port, what, **settings)


def test_intervals_of_all_processes_add_up() -> None:
    """What is reported meanwhile is what is returned at the end."""
    result = loaded(echo)
    assert result["outcome"]["errors"] == {}
    assert len(result["outcome"]["cores"]) == 2
    assert min(result["messages"]) > 0
    assert [messages for _, messages in result["seen"]] == result["messages"]


def test_count_is_of_all_together() -> None:
    """However it is divided."""
    assert sum(loaded(echo, count=1001, duration_s=None)["messages"]) == 1001


def test_open_loop_has_the_rate_of_all_together() -> None:
    """Half of it each, or more where the connections are more."""
    result = loaded(echo, rate_per_s=500.0)
    late = sum(times for _, times in result["outcome"]["late"])
    assert result["latencies"] + late == pytest.approx(500 * result["duration_s"], abs=6)


def test_wrong_reply_of_one_is_the_outcome_of_all() -> None:
    """With the number of its connection."""
    outcome = loaded(wrong_after(3, 64))["outcome"]
    assert "byte 224 of the replies" in outcome["mismatch"]


def test_interrupt_ends_all_with_what_there_is() -> None:
    """Without errors."""
    result = loaded(echo, "interrupt", duration_s=60.0)
    assert result["outcome"]["is_interrupted"]
    assert result["outcome"]["errors"] == {}
    assert sum(result["messages"]) > 0


def test_interrupt_before_the_start_is_no_error() -> None:
    """Nothing was measured."""
    result = loaded(echo, "early", duration_s=60.0)
    assert result["outcome"]["is_interrupted"]
    assert result["messages"] == []


def test_killed_process_ends_the_run_with_an_error() -> None:
    """Figures of half a load would be none."""
    error = loaded(echo, "kill", duration_s=60.0)["error"]
    assert error.startswith("ConnectError: a process of the load ended before its time")


def test_dead_port_is_one_error() -> None:
    """Of the two processes' two."""
    with served(echo) as port:
        pass
    assert "Connection refused" in run(port)["error"]
