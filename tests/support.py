"""What tests share: waiting for conditions, and the server as a real process."""

import asyncio
import contextlib
import fcntl
import os
import re
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asyncrev.ring.ring import DATA, Entry, Kind, Ring

ROOT = Path(__file__).parents[1]

# How long a condition may take before a test fails. Never how long a test takes: every wait ends
# when its condition holds. Slow machines raise it.
DEADLINE_S = 10.0 * float(os.environ.get("ASYNCREV_TEST_SCALE", "1"))

_LOOK_EVERY_S = 0.005


def publish(
    ring: Ring, owner: object, data: bytes = b"", kind: Kind = DATA, *, small: bool = True
) -> None:
    """Do what the loop does for one entry: claim, fill, publish."""
    slot = ring.try_claim(small=small)
    assert slot is not None
    slot[: len(data)] = data
    ring.publish(owner, kind, slot, len(data))


def entries_between(ring: Ring, first_seq: int, end_seq: int) -> list[Entry]:
    """Return the entries of a half-open range as objects, oldest first."""
    return [ring.entry(seq) for seq in range(first_seq, end_seq)]


def results(ring: Ring, most: int) -> list[Entry]:
    """Return up to `most` processed entries, oldest first; the loop's thread calls it."""
    first_seq = ring.released_seq
    return entries_between(ring, first_seq, min(ring.processed_seq, first_seq + most))


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Return the first true value of `condition`; fail after the deadline. Not for coroutines."""
    end_s = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > end_s:
            raise AssertionError(f"after {deadline_s:g} s it is still not so that {what}")
        select.select([], [], [], _LOOK_EVERY_S)
    return value


async def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Return the first true value of `condition`, letting the loop run; fail after the deadline."""
    end_s = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > end_s:
            raise AssertionError(f"after {deadline_s:g} s it is still not so that {what}")
        await asyncio.sleep(_LOOK_EVERY_S)
    return value


class ServerProcess:
    """A running `asyncrev serve`; see `serving`."""

    def __init__(self, process: "subprocess.Popen[bytes]", start_line: str) -> None:
        self.process = process
        self.start_line = start_line
        match = re.search(r"serving on ([0-9.]+):(\d+)", start_line)
        self.address = (match[1], int(match[2])) if match else ("", 0)
        match = re.search(
            r"memory_bound_bytes=(\d+) \((?:\d+ x )?ring (\d+)(?: \+ (?:\d+ x )?pool \d+)? \+ "
            r"\d+ x (\d+)",
            start_line,
        )
        self.memory_bound_bytes, self.ring_bytes, self.connection_bytes = (
            map(int, match.groups()) if match else (0, 0, 0)
        )

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.address[1]

    def connect(self, receive_buffer_bytes: int | None = None) -> socket.socket:
        """Return a blocking connection with a deadline; small receive buffers must be asked for
        before the connect."""
        sock = socket.socket()
        sock.settimeout(DEADLINE_S)
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.connect(self.address)
        return sock

    def rss_bytes(self) -> int:
        """What of its memory is resident now."""
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_rss_bytes(self) -> int:
        """The most of its memory that was ever resident."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1])

    def cpu_s(self) -> float:
        """Processor time that it has taken so far, user and system, all threads."""
        # What clock_getcpuclockid(3) makes of a pid; /proc counts whole ticks only.
        return time.clock_gettime(~self.pid << 3 | 2)

    def refuses(self) -> bool:
        """Return whether nobody listens on its address any more."""
        with socket.socket() as probe:
            return probe.connect_ex(self.address) != 0

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def descriptors_without_clients(self) -> int:
        """How many it has open when nobody is connected; uvloop opens one more at its first."""
        with self.connect() as sock:
            ask(sock, b"abc")
            return self.descriptors() - 1

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Return its exit code, once it has ended; fail after the deadline."""
        return self.process.wait(deadline_s)

    def terminate(self) -> tuple[int, str]:
        """Send SIGTERM; return exit code and all of stderr after the start line."""
        self.signal(signal.SIGTERM)
        _, stderr = self.process.communicate(timeout=DEADLINE_S + 10)
        return self.process.returncode, stderr.decode()


def log_lines(stderr: str) -> list[str]:
    """Return the lines of a log, but for those of asyncio's debug mode on a busy machine."""
    return [line for line in stderr.splitlines() if "Executing <" not in line]


def ask_a_line(command: list[str], **popen: Any) -> None:
    """Run `command`, a client of a server of reversed lines; send it a line, check the reply."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        **popen,
    ) as client:
        try:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"hello\n")
            assert client.stdout.readline() == b"olleh\n"
        finally:
            client.kill()


@contextlib.contextmanager
def serving(
    *args: str, port: int | None = 0, module: str = "asyncrev", **popen: Any
) -> Iterator[ServerProcess]:
    """Run `asyncrev serve` with `args`, on a free port unless they say where to listen.

    With `port` None nothing says so: its sockets are passed to it.

    It is killed at the end if it still runs.

    `module`: what to run in its place, with the same arguments.
    """
    where = [] if port is None or {"--uds", "--fd"} & set(args) else ["--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", module, "serve", *where, *args],
        stderr=subprocess.PIPE,
        bufsize=0,  # so that what follows the start line is still in the pipe
        **popen,
    )
    try:
        assert process.stderr is not None
        ready, _, _ = select.select([process.stderr], [], [], DEADLINE_S)
        assert ready, "the server printed no start line"
        line = process.stderr.readline().decode()
        while "Executing <" in line:  # of asyncio's debug mode, on a busy machine
            line = process.stderr.readline().decode()
        assert "serving on" in line, line + process.stderr.read().decode()
        yield ServerProcess(process, line)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def run_asyncrev(*args: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    """Run `python -m asyncrev` with `args` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "asyncrev", *args],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=DEADLINE_S,
        check=False,
        **settings,
    )


def flipped(data: bytes) -> bytes:
    """Return what the processor `Flip` answers; wherever the network splits it, it is the same."""
    return data.translate(_FLIP)


_FLIP = bytes(255 - i for i in range(256))


def pattern(nbytes: int, tag: int = 0) -> bytes:
    """Return bytes that depend on their position and on `tag`."""
    block = bytes((i * 7 + i // 251 + tag * 31) % 256 for i in range(min(nbytes, 64_256)))
    return (block * (nbytes // len(block) + 1))[:nbytes] if nbytes else b""


def ask(sock: socket.socket, data: bytes) -> bytes:
    """Send `data` and return as many bytes of reply."""
    sock.sendall(data)
    return receive_exactly(sock, len(data))


def send_until_stuck(sock: socket.socket, data: bytes) -> int:
    """Send `data` over and over until the kernel has taken nothing for a while; return how much.

    Leaves `sock` non-blocking. Nothing may depend on the peer being stuck for good.
    """
    sock.setblocking(False)
    sent = 0
    while select.select([], [sock], [], 0.2)[1]:
        sent += sock.send(data[sent % len(data) :])
    return sent


def wait_arrived(sock: socket.socket) -> None:
    """Wait until all that was sent on `sock` is in the peer's kernel."""
    fd = sock.fileno()
    wait_until(
        lambda: fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0") == b"\0\0\0\0",
        "the peer's kernel has everything",
    )


def listens(path: Path) -> bool:
    """Return whether somebody listens on a UNIX socket; its path is there from the bind on."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def reset(sock: socket.socket) -> None:
    """Close `sock` so that its peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def ping_pong(
    socks: list[socket.socket],
    messages: Callable[[int, int], bytes],
    replies: Callable[[bytes], bytes],
    rounds: int,
) -> int:
    """Have every client send a message, verify the reply, send the next; return how many were.

    One loop for all of them. `messages(client, round)` is what a client sends,
    `replies(message)` what it must get back.
    """
    verified = 0
    with selectors.DefaultSelector() as selector:
        state = {}
        for client, sock in enumerate(socks):
            message = messages(client, 0)
            sock.sendall(message)
            state[client] = (0, replies(message), b"")
            selector.register(sock, selectors.EVENT_READ, client)
        while state:
            ready = selector.select(DEADLINE_S)
            assert ready, f"no reply for {DEADLINE_S} s; {verified} came"
            for key, _ in ready:
                client, sock = key.data, socks[key.data]
                number, wanted, got = state[client]
                part = sock.recv(65536)
                assert part, f"client {client}: closed in round {number}"
                got += part
                assert wanted.startswith(got), f"client {client}, round {number}: wrong reply"
                if len(got) < len(wanted):
                    state[client] = (number, wanted, got)
                    continue
                verified += 1
                number += 1
                if number == rounds:
                    del state[client]
                    selector.unregister(sock)
                    continue
                message = messages(client, number)
                sock.sendall(message)
                state[client] = (number, replies(message), b"")
    return verified


def receive_all(sock: socket.socket) -> bytes:
    """Return everything up to the peer's end of stream."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def receive_exactly(sock: socket.socket, nbytes: int) -> bytes:
    """Return exactly `nbytes`, or what came before an early end of stream."""
    parts, left = [], nbytes
    while left and (part := sock.recv(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def end_of(sock: socket.socket) -> str:
    """Wait for the end of `sock`, whatever comes before; tell how it came: "FIN" or "RST"."""
    try:
        receive_all(sock)
    except ConnectionResetError:
        return "RST"
    return "FIN"


def is_paused(connection: Any) -> bool:
    """Return whether reading of a `BridgeProtocol` is paused.

    Tests ask here and nowhere else; the reasons are `connection.reading.Reading.pauses`.
    """
    return bool(connection._reading.pauses)


def traced_peak_bytes(work: Callable[[], object]) -> int:
    """Return how much `work` allocates at most at a time."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
