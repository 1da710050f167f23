"""supervisor_sources: whom the endpoint may ask, as workers come, drain and go."""

import socket
from typing import Any

from asyncrev.command.supervisor_sources import SupervisorView, WorkerSources
from asyncrev.states import ServerState
from asyncrev.supervisor.handle import HandleState
from asyncrev.supervisor.plan import Plan


class Worker:
    """A handle, as far as it matters here."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.ready_s = 0.0
        self.state = HandleState.STARTING
        self.is_hung = False
        self.ours, self.theirs = socket.socketpair()

    def become_ready(self) -> "Worker":
        self.ready_s = 1.0
        self.state = HandleState.READY
        return self

    def take_questions(self) -> socket.socket:
        return self.ours


class Supervisor:
    def __init__(self, *workers: Worker) -> None:
        self.workers = list(workers)
        self.plan = Plan(3, {}, 1, 1.0)
        self.restarts = {"SIGKILL": 2}


def names(sources: WorkerSources) -> list[str]:
    return [source.worker for source in sources.present]


def test_workers_are_asked_from_ready_to_their_end() -> None:
    sources = WorkerSources(2)
    assert sources.facts["workers"] == 2
    first, second, third = Worker(0), Worker(1), Worker(0)
    supervisor: Any = Supervisor(first, second)
    sources.update(supervisor)
    assert sources.present == ()
    first.become_ready()
    second.become_ready()
    sources.update(supervisor)
    assert names(sources) == ["0", "1"]
    before: list[Any] = list(sources.present)
    # A reload of the first.
    first.state = HandleState.LEAVING
    supervisor.workers = [third.become_ready(), first, second]
    sources.update(supervisor)
    assert names(sources) == ["0", "0-old", "1"]
    assert list(sources.present)[1:] == before
    supervisor.workers = [third, second]
    sources.update(supervisor)
    assert names(sources) == ["0", "1"]
    assert first.ours.fileno() == -1
    sources.close()
    assert sources.present == ()
    assert third.ours.fileno() == second.ours.fileno() == -1
    for worker in (first, second, third):
        worker.theirs.close()


def test_a_hung_worker_keeps_its_name() -> None:
    """It is the present one of its slot until it has ended."""
    worker = Worker(0).become_ready()
    worker.state, worker.is_hung = HandleState.LEAVING, True
    sources = WorkerSources(1)
    sources.update(Supervisor(worker))  # type: ignore[arg-type]
    assert names(sources) == ["0"]
    sources.close()
    worker.theirs.close()


def test_facts_are_replaced_as_a_whole() -> None:
    sources = WorkerSources(2)
    supervisor: Any = Supervisor()
    sources.update(supervisor)
    before = sources.facts
    supervisor.restarts["SIGKILL"] = 3
    sources.update(supervisor)
    assert before["restarts"] == {"SIGKILL": 2}
    assert sources.facts["restarts"] == {"SIGKILL": 3}
    assert sources.facts["generation"] == 3


def test_view_is_what_systemd_is_told() -> None:
    supervisor: Any = Supervisor()
    supervisor.open_connections, supervisor.accepting = 7, True
    supervisor.state = ServerState.SERVING
    view = SupervisorView(supervisor)
    assert (len(view.connections), view.connections.arriving) == (7, 0)
    assert (view.accepting, view.state, view.bridges) == (True, ServerState.SERVING, ())
