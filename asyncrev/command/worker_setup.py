"""What a supervisor gives to a worker: its descriptors, and the line with its settings."""

import contextlib
import faulthandler
import json
import os
import select
import socket
from collections.abc import Mapping
from typing import Any

from asyncrev.errors import LocalError, SettingsError
from asyncrev.log_text import one_line, shorten_to
from asyncrev.supervisor.channel import LONGEST_PACKET_BYTES

__all__ = ["WorkerPipes"]

NEEDED = frozenset({"worker", "index", "values", "listen"})
READ_BYTES = 65536
MOST_TEXT_CHARACTERS = 2000  # of why it could not start
TELL_S = 1.0  # how long a supervisor may take to make room for that


class WorkerPipes:
    """The three descriptors of a worker. Thread: main.

    Attributes:
        questions: a stream socket with the questions of an admin endpoint, after the first line.
    """

    def __init__(self, numbers: str) -> None:
        """Take them; no child of this process inherits them.

        From now on, stacks of all threads are written to the third one when the process crashes.

        Raises:
            SettingsError: they are not what a supervisor passes.
        """
        try:
            control, questions, stacks = map(int, numbers.split(","))
            for fd in (control, questions, stacks):
                os.set_inheritable(fd, False)
            self._control = _unix_socket(control, socket.SOCK_SEQPACKET)
            self.questions = _unix_socket(questions, socket.SOCK_STREAM)
            faulthandler.enable(stacks, all_threads=True)
        except (OSError, ValueError, OverflowError):
            raise SettingsError(
                f"ASYNCREV_WORKER_FDS is {numbers!r} (of the environment): only a supervisor sets "
                "it, for its workers; unset it"
            ) from None

    def read_setup(self) -> Mapping[str, Any] | None:
        """Wait for the settings; return None if the supervisor has died before.

        Raises:
            LocalError: what came is not what a supervisor sends.
        """
        line = bytearray()
        while not line.endswith(b"\n"):  # it asks nothing before this worker is ready
            try:
                read = self.questions.recv(READ_BYTES)
            except ConnectionError:
                read = b""
            if not read:
                return None
            line += read
        try:
            setup = json.loads(line)["setup"]
        except (ValueError, KeyError, TypeError):
            raise LocalError("the supervisor's first line has no setup") from None
        if not isinstance(setup, dict) or not setup.keys() >= NEEDED:
            raise LocalError(
                f"the supervisor's setup must have {', '.join(sorted(NEEDED))}; it is of another "
                "version: restart the service"
            )
        return setup

    def open_control(self) -> socket.socket:
        """Return a non-blocking socket for packets, the caller's from now on."""
        control = self._control.dup()
        control.setblocking(False)
        return control

    def tell_failure(self, code: int, text: str) -> None:
        """Say why this worker cannot serve, for the exit code `code`; it waits a second at most."""
        text = shorten_to(one_line(text), MOST_TEXT_CHARACTERS, 200)
        data = b""
        while not data or len(data) > LONGEST_PACKET_BYTES:
            packet = {"kind": "failed", "code": code, "text": text}
            data = json.dumps(packet, separators=(",", ":")).encode()
            text = text[: len(text) // 2]
        with contextlib.suppress(OSError):  # the supervisor has died
            poll = select.poll()
            poll.register(self._control, select.POLLOUT)
            if poll.poll(TELL_S * 1000):
                self._control.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def _unix_socket(fd: int, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(fileno=fd)
    if (sock.family, sock.type) != (socket.AF_UNIX, kind):
        sock.detach()
        raise ValueError(f"descriptor {fd} is another socket")
    return sock
