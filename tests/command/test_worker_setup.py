"""worker_setup: descriptors, the line with the settings, and the last word of a worker."""

import contextlib
import faulthandler
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from asyncrev.command import worker_setup
from asyncrev.command.worker_setup import WorkerPipes
from asyncrev.errors import LocalError, SettingsError
from asyncrev.supervisor.channel import LONGEST_PACKET_BYTES


class Bench:
    """The supervisor's ends, and the worker's pipes."""

    def __init__(self) -> None:
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.questions, questions = socket.socketpair()
        self.stacks, self.stacks_end = os.pipe()
        numbers = [control.detach(), questions.detach(), self.stacks_end]
        for fd in numbers:
            os.set_inheritable(fd, True)
        self.numbers = ",".join(map(str, numbers))
        self.pipes = WorkerPipes(self.numbers)

    def close(self) -> None:
        self.control.close()
        self.questions.close()
        self.pipes.questions.close()
        self.pipes._control.close()
        for fd in (self.stacks, self.stacks_end):
            os.close(fd)


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What faulthandler was told, instead of what pytest has told it."""
    told: list[Any] = []
    monkeypatch.setattr(faulthandler, "enable", lambda fd, all_threads: told.append(fd))
    return told


@pytest.fixture
def bench(crashes: list[Any]) -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_descriptors_are_for_no_child_and_stacks_go_to_the_third(
    bench: Bench, crashes: list[Any]
) -> None:
    assert not any(map(os.get_inheritable, map(int, bench.numbers.split(","))))
    assert crashes == [bench.stacks_end]


def test_setup_comes_in_pieces_and_of_any_length(bench: Bench) -> None:
    setup = {"values": ["x" * 50_000], "worker": "1", "index": 1, "listen": [], "more": 1}
    line = json.dumps({"setup": setup}).encode() + b"\n"
    bench.questions.sendall(line[:7])
    bench.questions.sendall(line[7:])
    assert bench.pipes.read_setup() == setup


def test_end_before_the_setup_is_none(bench: Bench) -> None:
    bench.questions.sendall(b'{"setup": ')
    bench.questions.close()
    assert bench.pipes.read_setup() is None


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[]\n", b'{"setup": 3}\n', b'{"setup": {"index": 3}}\n', b"\xff\n"]
)
def test_line_that_is_no_setup_is_an_error(bench: Bench, line: bytes) -> None:
    bench.questions.sendall(line)
    with pytest.raises(LocalError, match=r"the supervisor's (first line|setup)"):
        bench.pipes.read_setup()


def test_control_is_ready_for_a_loop_and_the_last_word_needs_no_loop(bench: Bench) -> None:
    """It is said also when the loop has closed its socket."""
    with bench.pipes.open_control() as control:
        assert control.gettimeout() == 0
    bench.pipes.tell_failure(2, "two\nlines \x1b[1m")
    packet = json.loads(bench.control.recv(LONGEST_PACKET_BYTES))
    assert packet == {"kind": "failed", "code": 2, "text": r"two lines \x1b[1m"}


def test_long_last_word_fits_a_packet(bench: Bench) -> None:
    bench.pipes.tell_failure(1, "\u20ac\U0001f600" * 100_000)
    data = bench.control.recv(1 << 20)
    assert len(data) <= LONGEST_PACKET_BYTES
    assert json.loads(data)["text"].startswith("\u20ac\U0001f600")


def test_last_word_does_not_wait_long_for_a_supervisor_that_does_not_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_setup, "TELL_S", 0.01)
    with bench.pipes.open_control() as control, contextlib.suppress(BlockingIOError):
        while True:
            control.send(b"{}")
    bench.pipes.tell_failure(1, "text")
    assert bench.control.recv(LONGEST_PACKET_BYTES) == b"{}"


def test_last_word_to_a_supervisor_that_has_died_is_no_error(bench: Bench) -> None:
    bench.control.close()
    bench.pipes.tell_failure(1, "text")


@pytest.mark.parametrize("numbers", ["", "1", "1,2,3,4", "x,y,z", "-1,-1,-1", "1e9,1,2"])
def test_numbers_that_no_supervisor_passes_are_refused(numbers: str) -> None:
    with pytest.raises(SettingsError, match="only a supervisor sets it, for its workers; unset it"):
        WorkerPipes(numbers)


def test_sockets_of_another_kind_are_refused_and_left_open() -> None:
    one, other = socket.socketpair()
    with one, other:
        with pytest.raises(SettingsError, match="only a supervisor"):
            WorkerPipes(f"{one.fileno()},{other.fileno()},{other.fileno()}")
        one.sendall(b"x")
        assert other.recv(1) == b"x"
