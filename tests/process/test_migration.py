"""The programs of docs/howto/migrate.md: the same traffic to both of a pair; what one loses."""

import contextlib
import functools
import hashlib
import importlib.util
import io
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support import DEADLINE_S, ROOT, receive_all, wait_arrived, wait_until

FOLDER = ROOT / "examples" / "migrate"
PAGE = ROOT / "docs" / "howto" / "migrate.md"

PAIRS = ("run_in_executor", "janus", "streams", "socketserver", "line_receiver")
NEEDED = {"janus": ("janus",), "line_receiver": ("twisted",)}  # by the name of the pair

SLOW = b"500000 slow"  # some tenths of a second
LINES = [
    b"1 first",
    b"30 %s" % (b"x" * 3000),
    b"no number",
    b"2 ",
    b"0 none",
    b"1000 \xff\x00 last",
]
FLOOD_BYTES = 16 << 20  # beyond what the kernel holds for a connection
FLOOD_LINE = b"1 " + b"y" * 8000 + b"\n"

pytestmark = pytest.mark.process


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> str:
    return available(request.param)


def available(pair: str) -> str:
    """Return the name of a pair, or skip the test if what it needs is not installed."""
    for module in NEEDED.get(pair, ()):
        pytest.importorskip(module)
    return pair


class Program:
    """A running program of the page."""

    def __init__(self, process: "subprocess.Popen[bytes]", ports: list[int]) -> None:
        self.process = process
        self.ports = ports

    def connect(self, port: int | None = None) -> socket.socket:
        """Return a connection that sends at once what it is given, and holds little of it."""
        sock = socket.socket()
        sock.settimeout(DEADLINE_S)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # before the connect
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(("127.0.0.1", port or self.ports[0]))
        return sock

    def status(self, name: str) -> int:
        """Return a number of /proc/PID/status."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:"))


@contextlib.contextmanager
def running(name: str) -> Iterator[Program]:
    """Run a program until the end of the block; it prints its ports once it listens."""
    with subprocess.Popen(
        [sys.executable, str(FOLDER / f"{name}.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], DEADLINE_S)
            assert ready, f"{name} does not listen"
            ports = [int(port) for port in process.stdout.readline().split()]
            assert ports, f"{name} has ended"
            yield Program(process, ports)
        finally:
            process.kill()


@functools.cache
def reply_to(line: bytes) -> bytes:
    """Return what every program must answer to a line; written here once more, not imported."""
    rounds, _, text = line.partition(b" ")
    if rounds in (b"no", b"0"):
        return b"error: write ROUNDS TEXT"
    key = hashlib.pbkdf2_hmac("sha256", text, b"a secret key", int(rounds))
    return key.hex().encode() + b" " + text


def replies_of(pair: str, lines: list[bytes]) -> list[bytes]:
    replies = [reply_to(line) for line in lines]
    if pair == "socketserver":  # that of a processor with state
        return [b"%d " % number + reply for number, reply in enumerate(replies, 1)]
    return replies


# -- the same traffic ------------------------------------------------------------------------------


def whole(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)


def split(sock: socket.socket, data: bytes) -> None:
    """Send short lines byte by byte, long ones in pieces."""
    for line in io.BytesIO(data):
        step = 1 if len(line) < 100 else 1000
        for at in range(0, len(line), step):
            sock.sendall(line[at : at + step])


def talk(
    program: Program,
    lines: list[bytes],
    send: Callable[[socket.socket, bytes], None] = whole,
    *,
    is_slow_reader: bool = False,
    ends_input: bool = True,
) -> list[bytes]:
    """Return the replies to all lines, read to the end, or as many as there are lines.

    A slow reader reads nothing until nothing more can be sent.
    """
    data = b"".join(line + b"\n" for line in lines)
    with program.connect() as sock:
        sender = threading.Thread(target=send, args=(sock, data), daemon=True)
        sender.start()
        if is_slow_reader:
            sender.join(0.5)
            assert sender.is_alive(), "all was taken although no reply was read"
        else:
            sender.join(DEADLINE_S)
        if ends_input and not is_slow_reader:
            sock.shutdown(socket.SHUT_WR)
            return receive_all(sock).split(b"\n")[:-1]
        replies = b""
        while replies.count(b"\n") < len(lines):
            part = sock.recv(1 << 20)
            assert part, "the server has closed the connection"
            replies += part
        sender.join(DEADLINE_S)
        return replies.split(b"\n")[:-1]


@pytest.mark.parametrize("send", [whole, split])
def test_both_of_a_pair_answer_the_same(
    pair: str, send: Callable[[socket.socket, bytes], None]
) -> None:
    """In the same order, but for programs that lose it: there the replies are the same."""
    wanted = replies_of(pair, LINES)
    with running(f"after_{pair}") as after:
        assert talk(after, LINES, send) == wanted
    # Twisted's LineReceiver loses replies at a half-close, see below.
    keeps_half_close = pair != "line_receiver"
    with running(f"before_{pair}") as before:
        found = talk(before, LINES, send, ends_input=keeps_half_close)
    if pair in ("run_in_executor", "line_receiver"):
        assert sorted(found) == sorted(wanted)
    else:
        assert found == wanted


def test_state_of_a_connection_is_its_own() -> None:
    """Two connections count for themselves, before and after."""
    for name in ("before_socketserver", "after_socketserver"):
        with running(name) as program:
            for _ in range(2):
                assert talk(program, [b"1 a", b"1 b"]) == replies_of(
                    "socketserver", [b"1 a", b"1 b"]
                )


# -- what each of the first loses ------------------------------------------------------------------


@pytest.mark.parametrize("pair", ["run_in_executor", "line_receiver"])
def test_reply_to_a_slow_line_is_overtaken_before(pair: str) -> None:
    """The order of replies is that of the calls' ends; with asyncrev it is that of the lines."""
    lines = [SLOW, b"1 quick"]
    wanted = replies_of(available(pair), lines)
    with running(f"before_{pair}") as before:
        assert talk(before, lines, ends_input=False) == wanted[::-1]
    with running(f"after_{pair}") as after:
        assert talk(after, lines, ends_input=False) == wanted


def flood(sock: socket.socket) -> int:
    """Send lines and read nothing; return how many bytes were taken, of `FLOOD_BYTES`."""
    data = memoryview(FLOOD_LINE * (FLOOD_BYTES // len(FLOOD_LINE)))
    sock.setblocking(False)
    sent = 0
    while sent < len(data) and select.select([], [sock], [], 0.7)[1]:
        sent += sock.send(data[sent : sent + (1 << 18)])
    return sent


@pytest.mark.parametrize("pair", ["run_in_executor", "line_receiver"])
def test_peer_that_reads_nothing_fills_the_memory_before(pair: str) -> None:
    """Everything that it sends is taken; asyncrev stops reading."""
    taken_bytes, grown_bytes = {}, {}
    for when in ("before", "after"):
        with running(f"{when}_{available(pair)}") as program, program.connect() as sock:
            begun_kib = program.status("VmRSS")
            taken_bytes[when] = flood(sock)
            grown_bytes[when] = (program.status("VmHWM") - begun_kib) * 1024
    every = FLOOD_BYTES // len(FLOOD_LINE) * len(FLOOD_LINE)
    assert taken_bytes["before"] == every
    assert grown_bytes["before"] > FLOOD_BYTES / 2
    assert taken_bytes["after"] < every * 3 / 4
    assert grown_bytes["after"] < FLOOD_BYTES / 2


@pytest.mark.parametrize("pair", ["janus", "streams", "socketserver"])
def test_peer_that_reads_late_gets_everything(pair: str) -> None:
    """Neither of the pair takes all that it sends at first, and neither loses anything."""
    lines = [FLOOD_LINE[:-1]] * (FLOOD_BYTES // len(FLOOD_LINE))
    wanted = replies_of(available(pair), lines)
    for when in ("before", "after"):
        with running(f"{when}_{pair}") as program:
            assert talk(program, lines, is_slow_reader=True) == wanted


def test_peer_that_reads_nothing_stops_all_others_before() -> None:
    """The one task that sends waits for it; with asyncrev nobody else does."""
    wanted = replies_of(available("janus"), [b"1 me"])
    for when in ("before", "after"):
        with running(f"{when}_janus") as program, program.connect() as stuck:
            sent = flood(stuck)
            assert sent < FLOOD_BYTES * 3 / 4
            with program.connect() as other:
                other.sendall(b"1 me\n")
                answered, _, _ = select.select([other], [], [], 1 if when == "before" else 10)
                assert bool(answered) == (when == "after")
                stuck.close()  # then all go on
                assert other.recv(1000) == wanted[0] + b"\n"


def first_to_answer(program: Program) -> str:
    """Return whether the health check or a line that takes long is answered first."""
    with program.connect() as slow, program.connect(program.ports[1]) as check:
        check.sendall(b"?\n")
        assert check.recv(10) == b"up\n"
        slow.sendall(SLOW + b"\n")
        wait_arrived(slow)
        begun_ticks = cpu_ticks(program)
        wait_until(lambda: cpu_ticks(program) > begun_ticks + 2, "the work has begun")
        check.sendall(b"?\n")
        ready, _, _ = select.select([slow, check], [], [], DEADLINE_S)
        assert ready
        return "line" if slow in ready else "check"


def cpu_ticks(program: Program) -> float:
    """Return hundredths of a second of CPU time, of all threads."""
    return time.clock_gettime(~program.process.pid << 3 | 2) * 100


def test_work_delays_the_health_check_before() -> None:
    """The loop does nothing else while it works; with asyncrev it does."""
    with running("before_streams") as before:
        assert first_to_answer(before) == "line"
    with running("after_streams") as after:
        assert first_to_answer(after) == "check"


def test_connections_take_a_thread_each_before() -> None:
    """With asyncrev the number of threads does not depend on them."""
    threads = {}
    for when in ("before", "after"):
        with running(f"{when}_socketserver") as program, contextlib.ExitStack() as stack:
            for _ in range(100):  # one after the other: the accept backlog of socketserver is 5
                sock = stack.enter_context(program.connect())
                sock.sendall(b"1 a\n")
                assert sock.recv(1000).startswith(b"1 ")
            threads[when] = program.status("Threads")
    assert threads["before"] > 100
    assert threads["after"] < 8


def test_line_without_an_end_fills_the_memory_before() -> None:
    """asyncrev ends its connection at the limit."""
    endless = bytes(FLOOD_BYTES)
    with running("before_socketserver") as before, before.connect() as sock:
        begun_kib = before.status("VmRSS")
        sock.sendall(endless)
        wait_arrived(sock)
        wait_until(
            lambda: (before.status("VmRSS") - begun_kib) * 1024 > FLOOD_BYTES / 2, "it is kept"
        )
    with running("after_socketserver") as after, after.connect() as sock:
        begun_kib = after.status("VmRSS")
        with contextlib.suppress(ConnectionError):
            sock.sendall(endless)
            assert sock.recv(1) == b""
        assert (after.status("VmHWM") - begun_kib) * 1024 < FLOOD_BYTES / 2


def test_half_close_loses_replies_before() -> None:
    """Twisted takes the end of the input for the end of the connection."""
    lines = [SLOW, b"1 quick"]
    wanted = replies_of(available("line_receiver"), lines)
    with running("before_line_receiver") as before:
        assert talk(before, lines) == []
    with running("after_line_receiver") as after:
        assert talk(after, lines) == wanted


# -- the page --------------------------------------------------------------------------------------


def test_page_shows_every_program() -> None:
    """From the files themselves, each beside the other of its pair."""
    text = PAGE.read_text(encoding="utf-8")
    shown = [line.split("/")[-1] for line in text.splitlines() if "{literalinclude}" in line]
    pairs = [f"{when}_{pair}.py" for pair in PAIRS for when in ("before", "after")]
    assert shown == ["signing.py", *pairs]
    assert sorted(shown) == sorted(path.name for path in FOLDER.glob("*.py"))


def test_pairs_that_are_skipped_lack_what_they_need() -> None:
    """The names of what they need are those of modules that the programs import."""
    for pair, modules in NEEDED.items():
        text = (FOLDER / f"before_{pair}.py").read_text(encoding="utf-8")
        assert [name for name in modules if f"{name}" in text] == list(modules)
    assert importlib.util.find_spec("asyncrev") is not None
