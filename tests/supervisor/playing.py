"""A test that plays the supervisor's side against a real worker process."""

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from asyncrev.command.option_types import converted
from asyncrev.command.option_values import OptionValue, Source, default_of
from asyncrev.command.options import OPTIONS
from asyncrev.command.value_json import values_to_json
from asyncrev.supervisor.channel import LONGEST_PACKET_BYTES
from asyncrev.supervisor.process import DESCRIPTORS_VARIABLE
from tests.support import DEADLINE_S, ROOT

Packet = dict[str, Any]


def setup_of(listen: Sequence[int] = (), index: int = 0, **given: Any) -> Packet:
    """Return a setup; `given`: options, texts converted as those of flags."""
    values = []
    for option in OPTIONS:
        value = default_of(option)
        if option.name in given:
            found = given[option.name]
            found = converted(option.type, found) if isinstance(found, str) else found
            value = OptionValue(option, found, Source.COMMAND_LINE)
        values.append(value)
    return {
        "worker": str(index),
        "index": index,
        "workers": 2,
        "generation": 1,
        "values": values_to_json(values),
        "balance": "kernel" if listen else "exact",
        "listen": list(listen),
    }


class PlayedSupervisor:
    """The supervisor's ends of one worker. Thread: the test's."""

    def __init__(self, process: "subprocess.Popen[bytes]", ends: Sequence[Any]) -> None:
        self.process = process
        self.control, self.questions, self.stacks = ends
        for sock in (self.control, self.questions):
            sock.settimeout(DEADLINE_S)
        self.packets: list[Packet] = []  # all that came
        self.clients: list[socket.socket] = []  # closed at the end

    def set_up(self, setup: Packet) -> None:
        self.questions.sendall(json.dumps({"setup": setup}).encode() + b"\n")

    def send(self, kind: str, *descriptors: int, **more: Any) -> None:
        data = json.dumps({"kind": kind, **more}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.control.sendmsg([data], rights if descriptors else [])

    def receive(self) -> Packet | None:
        """Return the next packet, or None at the end."""
        try:
            data = self.control.recv(LONGEST_PACKET_BYTES)
        except ConnectionResetError:
            return None
        if not data:
            return None
        packet: Packet = json.loads(data)
        self.packets.append(packet)
        return packet

    def wait_for(
        self, kind: str, accept: Callable[[Packet], object] = lambda packet: True
    ) -> Packet:
        """Return the first packet from now on that `accept` takes; others are passed over."""
        while (packet := self.receive()) is not None:
            if packet["kind"] == kind and accept(packet):
                return packet
        raise AssertionError(f"no {kind} came; {self.packets}; {self.end()}")

    def hand(self, count: int = 1) -> list[socket.socket]:
        """Hand connections over; return their clients. Our copies are closed."""
        clients = []
        for _ in range(count):
            client, other = socket.socketpair()
            client.settimeout(DEADLINE_S)
            with other:
                self.send("connection", other.fileno(), address="")
            clients.append(client)
        self.clients += clients
        return clients

    def rest(self) -> list[Packet]:
        """Return what comes until the end."""
        packets = []
        while (packet := self.receive()) is not None:
            packets.append(packet)
        return packets

    def end(self) -> tuple[int, str]:
        """Return the exit code and what was logged, when the worker has ended."""
        _, log = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, log.decode()

    def die(self) -> None:
        """Close all ends, as the kernel does for a supervisor that is killed."""
        self.control.close()
        self.questions.close()
        self.stacks.close()


@contextlib.contextmanager
def playing(
    setup: Packet | None = None, listen: Sequence[int] = (), *, sets_up: bool = True, **given: Any
) -> Iterator[PlayedSupervisor]:
    """Start a worker and set it up; it is killed at the end if it still runs.

    `given`: options. `setup`: instead of one with them. `listen`: listening sockets.
    `sets_up`: whether it gets one at all.
    """
    control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    questions, its_questions = socket.socketpair()
    reading, writing = os.pipe()
    numbers = (its_control.fileno(), its_questions.fileno(), writing)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ASYNCREV_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "asyncrev", "serve", "--no-such-option"],
        env={**environment, DESCRIPTORS_VARIABLE: ",".join(map(str, numbers))},
        pass_fds=(*numbers, *listen),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        process_group=0,
    )
    its_control.close()
    its_questions.close()
    os.close(writing)
    played = PlayedSupervisor(process, (control, questions, os.fdopen(reading, "rb")))
    try:
        if sets_up:
            played.set_up(setup or setup_of(listen, **given))
        yield played
    finally:
        played.die()
        for client in played.clients:
            client.close()
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
