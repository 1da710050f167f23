"""A worker that speaks the protocol and serves nothing but its pid: what tests of a supervisor run.

Its arguments say how it misbehaves; it uses nothing of asyncrev, so that it is there at once.
"""

import array
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any

BEHAVIOUR = {*sys.argv[1:]}

# What a worker says of itself; see `start_fields`.
FIELDS = {
    "options": {"loop": "epoll", "slots": 256, "idle_timeout_s": 5.0},
    "plane": "python",
    "memory_bound_bytes": 1000,
    "replies_are_bounded": True,
}


class FakeWorker:
    """Takes connections, answers each with "worker:generation:pid" and holds it."""

    def __init__(self) -> None:
        numbers = os.environ.pop("ASYNCREV_WORKER_FDS").split(",")
        control, questions, self.stacks = map(int, numbers)
        self.control = socket.socket(fileno=control)
        with socket.socket(fileno=questions).makefile("rb") as file:
            self.setup = json.loads(file.readline())["setup"]
        self.selector = selectors.DefaultSelector()
        self.held: set[socket.socket] = set()
        self.taken = 0
        self.ended = 0
        self.draining = False
        self.thread_idle_s = 0.0

    def say(self, kind: str, **more: Any) -> None:
        self.control.send(json.dumps({"kind": kind, **more}).encode())

    def behaves(self, what: str) -> bool:
        """Whether the arguments or the setup say so, for all workers or this one."""
        told = BEHAVIOUR | {*self.setup.get("behaviour", [])}
        processor = [row[1] for row in self.setup.get("values", []) if row[0] == "processor"]
        told |= {name.removeprefix("fake:") for name in processor}
        return bool(told & {what, f"{what}:{self.setup['worker']}"})

    def run(self) -> None:
        if self.behaves("fails"):
            self.say("failed", code=2, text="--processor 'none': no such thing")
            sys.exit(2)
        if self.behaves("dies-early"):
            os._exit(7)
        if self.behaves("sleeps-early"):
            time.sleep(1000)
        signal.signal(signal.SIGTERM, self.drain_alone)
        self.say("ready", fields=FIELDS)
        self.selector.register(self.control, selectors.EVENT_READ)
        while not (self.draining and not self.held):
            if self.control.fileno() >= 0:
                counts = {"connections": len(self.held), "ended": self.ended}
                self.say("beat", **counts, thread_idle_s=self.thread_idle_s)
            for key, _ in self.selector.select(0.2):
                if key.fileobj is self.control:
                    self.read_control()
                elif key.fileobj in self.held:  # else a drain has just closed it
                    self.read_client(key.fileobj)

    def drain_alone(self, *_: object) -> None:
        self.say("draining")  # the supervisor answers with the order to drain

    def drain(self) -> None:
        self.draining = True
        for sock in list(self.held):
            self.drop(sock)

    def read_control(self) -> None:
        data, rights, _, _ = self.control.recvmsg(65536, 64)
        if not data:
            sys.exit(0)
        packet = json.loads(data)
        match packet["kind"]:
            case "connection":
                (number,) = array.array("i", rights[0][2])
                if self.behaves("dies-untaken"):
                    os._exit(9)
                if self.behaves("never-takes"):
                    return
                self.taken += 1
                if self.behaves("no-descriptors"):
                    os.close(number)
                    self.say("untaken", total=self.taken)
                    return
                self.say("taken", total=self.taken)
                sock = socket.socket(fileno=number)
                sock.setblocking(False)
                setup = self.setup
                sock.send(f"{setup['worker']}:{setup['generation']}:{os.getpid()}\n".encode())
                self.held.add(sock)
                self.selector.register(sock, selectors.EVENT_READ)
            case "drain":
                if self.behaves("never-ends"):
                    return
                self.drain()
            case "close":
                os._exit(0)

    def read_client(self, sock: Any) -> None:
        try:
            data = sock.recv(100)
        except ConnectionError:
            data = b""
        match data.strip():
            case b"":
                self.drop(sock)
            case b"exit":
                os._exit(5)
            case b"mute":
                self.selector.unregister(self.control)
                self.control.close()
            case b"stop":
                self.say("stop_service")
            case b"thread":
                os.write(self.stacks, b"Thread 0x1: in process\n")
                self.thread_idle_s = 2.0
            case b"hang":
                os.write(self.stacks, b"Thread 0x1: in hang\n")
                while True:
                    time.sleep(1)

    def drop(self, sock: socket.socket) -> None:
        self.held.discard(sock)
        self.selector.unregister(sock)
        sock.close()
        self.ended += 1


FakeWorker().run()
