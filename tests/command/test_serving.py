"""serving: one server from start to exit code, in this process, signals included."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncrev import EpollEventLoop, Limits, Reverse, Server
from asyncrev.command import serving
from asyncrev.command.server_setup import tapped
from asyncrev.command.serving import serve_until_signal
from asyncrev.command.settings import ServeSettings
from asyncrev.command.signals import SAME_STOP_S
from asyncrev.errors import LocalError, SettingsError
from asyncrev.processors import as_factory
from tests.support import DEADLINE_S, ask, receive_all, wait_until

SMALL = Limits(slots=8, slot_bytes=4096, max_connections=4, drain_timeout_s=5.0)


def options(**changes: Any) -> ServeSettings:
    defaults: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "uds": None,
        "loop_name": "epoll",
        "loop_factory": EpollEventLoop,
        "processor_name": "asyncrev:Reverse",
        "factory": Reverse,
        "framing": "raw",
        "limits": SMALL,
        "stop_word": None,
        "tee": None,
        "cpu": None,
        "log_level": "info",
    }
    return ServeSettings(**{**defaults, **changes})


@contextlib.contextmanager
def client_of(path: Path, act: Callable[[socket.socket], None]) -> Iterator[list[BaseException]]:
    """Run `act` in a thread, with a connection to the server on `path` once it is there."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            wait_until(path.exists, "the server listens")
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(DEADLINE_S)
                wait_until(lambda: sock.connect_ex(str(path)) == 0, "the server accepts")
                act(sock)
        except BaseException as error:
            errors.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield errors
    finally:
        thread.join()
    assert not errors


# -- whole lives -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_and_exits_cleanly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """Start line, reply, signal, end of stream, 0; the handlers are as before."""
    path = tmp_path / "s"
    before = signal.getsignal(number)

    def act(sock: socket.socket) -> None:
        assert ask(sock, b"abc") == b"cba"
        os.kill(os.getpid(), number)
        assert receive_all(sock) == b""

    with client_of(path, act):
        assert serve_until_signal(options(uds=str(path))) == 0
    assert not path.exists()
    assert signal.getsignal(number) == before
    out, err = capfd.readouterr()
    assert out == ""
    assert (
        f"serving on unix:{path} loop=epoll processor=asyncrev:Reverse framing=raw cpu=any" in err
    )


def test_stop_word_and_tee_see_what_the_client_sent(tmp_path: Path) -> None:
    """Both taps at once; the stop word ends the server without any signal."""
    path, tee = tmp_path / "s", tmp_path / "tee"

    def act(sock: socket.socket) -> None:
        assert ask(sock, b"abc, ex") == b"xe ,cba"
        sock.sendall(b"it")
        assert receive_all(sock) == b"ti"

    with client_of(path, act):
        asked = options(uds=str(path), stop_word=b"exit", tee=str(tee))
        assert serve_until_signal(asked) == 0
    assert tee.read_bytes() == b"abc, exit"


def test_tee_to_stdout_leaves_stdout_open(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """It is not ours to close."""
    path = tmp_path / "s"

    def act(sock: socket.socket) -> None:
        assert ask(sock, b"stop") == b"pots"
        assert receive_all(sock) == b""

    with client_of(path, act):
        assert serve_until_signal(options(uds=str(path), stop_word=b"stop", tee="-")) == 0
    assert capfdbinary.readouterr().out == b"stop"
    os.fstat(1)


def test_second_signal_leaves_a_hung_worker_behind(tmp_path: Path) -> None:
    """128 + signal at once; a thread cannot be ended, and here it ends itself afterwards."""
    path = tmp_path / "s"
    go_on = threading.Event()

    def hang(data: bytes) -> bytes:
        go_on.wait()
        return data

    def act(sock: socket.socket) -> None:
        sock.sendall(b"abc")
        os.kill(os.getpid(), signal.SIGTERM)
        with socket.socket(socket.AF_UNIX) as probe:
            wait_until(lambda: probe.connect_ex(str(path)) != 0, "it drains")
        second_s = time.monotonic() + SAME_STOP_S
        wait_until(lambda: time.monotonic() > second_s, "a signal is another stop")
        os.kill(os.getpid(), signal.SIGINT)

    try:
        with client_of(path, act):
            asked = options(uds=str(path), factory=as_factory(hang))
            assert serve_until_signal(asked) == 128 + signal.SIGINT
    finally:
        go_on.set()


@pytest.mark.parametrize("framing", ["line", "len32"])
def test_framed_server_says_so_and_stops_at_a_frame_equal_to_the_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], framing: str
) -> None:
    """The start line has what bounds frames; the word within a longer frame is none."""
    path, tee = tmp_path / "s", tmp_path / "tee"

    def frame(payload: bytes) -> bytes:
        if framing == "line":
            return payload + b"\r\n"
        return len(payload).to_bytes(4, "big") + payload

    def act(sock: socket.socket) -> None:
        assert ask(sock, frame(b"no exit")) == frame(b"tixe on")
        sock.sendall(frame(b"exit")[:3])
        sock.sendall(frame(b"exit")[3:])
        assert receive_all(sock) == frame(b"tixe")

    limits = SMALL.replace(max_frame_bytes=1000, frame_timeout_s=7.5)
    with client_of(path, act):
        asked = options(
            uds=str(path), framing=framing, stop_word=b"exit", tee=str(tee), limits=limits
        )
        assert serve_until_signal(asked) == 0
    assert tee.read_bytes() == frame(b"no exit") + frame(b"exit")
    _, err = capfd.readouterr()
    (line,) = [line for line in err.splitlines() if "serving on" in line]
    assert f"processor=asyncrev:Reverse framing={framing} cpu=any" in line
    assert (
        "max_frame_bytes=1000 pool_bytes=67108864 pool_connection_bytes=4096 frame_timeout_s=7.5 "
        "high_water_bytes=65536 max_reply_bytes=1000 first_byte_timeout_s=30 " in line
    )
    assert (
        f"memory_bound_bytes={limits.framed_memory_bound_bytes} "
        f"(ring {8 * 4096 + 32 * 4160} + pool 67108864 "
        f"+ 4 x {limits.framed_connection_bytes}, ...)" in line
    )


def test_raw_server_says_nothing_of_frames_in_its_start_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No pool bounds it, so the line has none."""
    path = tmp_path / "s"
    with client_of(path, lambda sock: sock.sendall(b"stop")):
        assert serve_until_signal(options(uds=str(path), stop_word=b"stop")) == 0
    _, err = capfd.readouterr()
    (line,) = [line for line in err.splitlines() if "serving on" in line]
    assert "pool" not in line
    assert "frame_" not in line
    assert (
        f"memory_bound_bytes={SMALL.memory_bound_bytes} (ring {8 * 4096 + 32 * 4160} + 4 x "
        f"{SMALL.connection_bytes}, ...)" in line
    )


def test_bound_above_the_machines_memory_is_warned_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With what lowers it; nothing is said of one that there is memory for."""
    path = tmp_path / "s"
    for in_flight_bytes, said in ((1 << 44, True), (4096, False)):
        limits = SMALL.replace(in_flight_bytes=in_flight_bytes)
        with client_of(path, lambda sock: sock.sendall(b"stop")):
            assert serve_until_signal(options(uds=str(path), stop_word=b"stop", limits=limits)) == 0
        text = capfd.readouterr().err
        assert ("may make this process hold" in text) is said
        assert ("Lower --max-connections, --max-reply-bytes, --slot-bytes" in text) is said


def test_failure_behind_the_start_closes_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start line that cannot be written, for one: no socket stays in the file system."""

    def start_line(*_: Any) -> str:
        assert (tmp_path / "s").is_socket()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(serving, "start_line", start_line)
    with pytest.raises(OSError, match="No space left"):
        serve_until_signal(options(uds=str(tmp_path / "s"), tee=str(tmp_path / "tee")))
    assert os.listdir(tmp_path) == ["tee"]


def test_thread_that_cannot_be_started_is_the_error_that_is_raised(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As under `ulimit -v`: the loop's end, which takes a thread as well, does not hide it."""

    async def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Server, "start", refuse)
    monkeypatch.setattr(EpollEventLoop, "shutdown_default_executor", refuse)
    with pytest.raises(LocalError, match=r"--threads 1: can't start new thread; see ulimit -u, "):
        serve_until_signal(options())
    assert "Traceback" not in capfd.readouterr().err


def test_drain_has_the_spread_of_the_settings(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With one connection there is nothing to spread, and the drain takes no time for it."""
    path = tmp_path / "s"
    with client_of(path, lambda sock: sock.sendall(b"stop")):
        settings = options(uds=str(path), stop_word=b"stop", drain_spread_s=4.0)
        assert serve_until_signal(settings) == 0
    log = capfd.readouterr().err
    assert re.search(r"INFO draining [01] connections over 4 s, at most 5 s", log)


def test_totals_are_the_last_line_also_when_lines_were_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was left out within the last second is reported before them."""
    path = tmp_path / "s"

    def act(sock: socket.socket) -> None:
        for _ in range(30):
            logging.getLogger("asyncrev").warning("again")
        sock.sendall(b"stop")

    with client_of(path, act):
        assert serve_until_signal(options(uds=str(path), stop_word=b"stop")) == 0
    lines = capfd.readouterr().err.splitlines()
    assert "INFO stopped: 1 connections" in lines[-1]
    assert "20 more lines like this were left out within 1 s: again" in lines[-2]


def test_warnings_are_logged_before_the_start_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """They may say why it will not start."""
    path = tmp_path / "s"
    with client_of(path, lambda sock: sock.sendall(b"stop")):
        asked = options(uds=str(path), stop_word=b"stop")
        assert serve_until_signal(asked, warnings=["ASYNCREV_PROT is ignored"]) == 0
    first, second, *_ = capfd.readouterr().err.splitlines()
    assert first.endswith(" WARNING ASYNCREV_PROT is ignored")
    assert "serving on" in second


def test_stop_word_that_no_line_can_be_is_refused(tmp_path: Path) -> None:
    """With a line end in it, it would never stop anything; other frames may have one."""
    with pytest.raises(SettingsError, match="the stop word has a line end, so no line can be"):
        serve_until_signal(options(uds=str(tmp_path / "s"), framing="line", stop_word=b"a\nb"))
    assert not os.listdir(tmp_path)
    assert tapped(options(framing="len32", stop_word=b"a\nb"), None, lambda: None)


def test_empty_stop_word_is_a_frame_without_payload(tmp_path: Path) -> None:
    """With frames it is a word like any other."""
    path = tmp_path / "s"

    def act(sock: socket.socket) -> None:
        assert ask(sock, b"abc\n") == b"cba\n"
        sock.sendall(b"\n")
        assert receive_all(sock) == b"\n"

    with client_of(path, act):
        assert serve_until_signal(options(uds=str(path), framing="line", stop_word=b"")) == 0


def test_empty_stop_word_is_refused_before_anything_is_open(tmp_path: Path) -> None:
    """And not at the first client."""
    path, tee = tmp_path / "s", tmp_path / "tee"
    with pytest.raises(SettingsError, match="the stop word is empty"):
        serve_until_signal(options(uds=str(path), stop_word=b"", tee=str(tee)))
    assert not path.exists()


def test_busy_port_raises_and_leaves_nothing() -> None:
    """OSError with both numbers of the address, which the command prints."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(OSError, match="Address already in use"):
            serve_until_signal(options(port=port))


def test_tee_that_cannot_be_opened_raises(tmp_path: Path) -> None:
    """Before the server listens."""
    with pytest.raises(FileNotFoundError):
        serve_until_signal(options(tee=str(tmp_path / "no" / "file")))


def test_stop_while_a_name_is_resolved_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A resolver may take half a minute; nobody has connected, so the end is a clean one."""

    async def resolve_for_ever(*_: object, **__: object) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    monkeypatch.setattr("asyncrev.server.listeners.open_tcp", resolve_for_ever)
    assert serve_until_signal(options()) == 0
    assert "INFO stopped before it listened" in capfd.readouterr().err


def _shout(data: bytes) -> bytes:
    return data.upper() + b"!"


@pytest.mark.parametrize(
    ("processor", "most_bytes", "said"),
    [(Reverse, 0, False), (_shout, 1000, False), (_shout, 0, True)],
)
def test_start_line_says_when_replies_have_no_bound(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], processor: Any, most_bytes: int, said: bool
) -> None:
    """Only of a processor whose replies may be longer than what they answer."""
    path = tmp_path / "s"
    limits = SMALL.replace(max_reply_bytes=most_bytes)
    asked = options(uds=str(path), stop_word=b"stop", limits=limits, factory=as_factory(processor))
    with client_of(path, lambda sock: sock.sendall(b"stop")):
        assert serve_until_signal(asked) == 0
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "serving on" in line]
    assert line.endswith("...) and replies, which have no bound") is said
