"""A process that logs in JSON: each line is an object, whatever goes wrong."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from asyncrev.version import __version__
from tests.process.processors import FLIP, HERE, LOOPS
from tests.process.users import USERS, connect_to, started, user_module
from tests.support import DEADLINE_S, ask, end_of, receive_all, reset, run_asyncrev, serving

pytestmark = pytest.mark.process

JSON = ("--log-format", "json")
TOO_LARGE = b"\xff\xff\xff\xff"
CORE = ("ts", "level", "logger", "message", "pid", "thread")


def records_of(stderr: bytes) -> list[dict[str, Any]]:
    """Return the records of a log, of which each line must be one."""
    assert stderr.endswith(b"\n")
    lines = stderr.decode("utf-8", "strict").split("\n")[:-1]
    assert all(line.isprintable() for line in lines)
    records = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert all(tuple(one)[: len(CORE) - 2] == CORE[:-2] for one in records)
    assert all(set(CORE) <= one.keys() for one in records)
    return records


@pytest.mark.parametrize("loop", LOOPS)
def test_start_and_end_have_their_parts_as_fields(loop: str) -> None:
    """As in the line of text, so that nobody has to take it apart."""
    args = (*JSON, "--loop", loop, "--framing", "line", "--idle-timeout-s", "inf", "--slots", "8")
    with serving(*args) as server:
        start = json.loads(server.start_line)
        with server.connect() as sock:
            assert ask(sock, b"abc\n") == b"cba\n"
        code, stderr = server.terminate()
    assert code == 0
    assert start["version"] == __version__
    assert start["addresses"] == ["{}:{}".format(*server.address)]
    assert start["options"]["loop"] == loop
    assert start["options"]["slots"] == 8
    assert start["options"]["idle_timeout_s"] == "inf"
    assert start["pid"] == server.pid
    assert start["memory_bound_bytes"] > start["memory_terms"]["ring_bytes"] > 0
    assert start["memory_terms"]["pool_bytes"] > 0
    assert start["plane"] in start["message"]
    *_, end = records_of(stderr.encode())
    assert (end["accepted"], end["received_bytes"], end["replied_bytes"]) == (1, 4, 4)
    assert end["aborted"] == {}
    assert end["message"].startswith("stopped: 1 connections")


EVERYTHING = """
import gc, logging, os, sys, threading, warnings
logging.basicConfig(format="mine: %(message)s")
print("while it is imported", file=sys.stdout)

class Finalised:
    def __del__(self):
        raise ValueError("in a finaliser")

def fail():
    raise ValueError("in a thread\\n\\x1b[31m")

def work(data):
    what = bytes(data)
    if what == b"raise":
        raise ValueError("deliberate: \\udc80\\x00\\n{\\"ts\\": 1}")
    if what == b"warn":
        warnings.warn("deliberate")
    if what == b"print":
        print("printed", 1, file=sys.stderr)
        sys.stderr.buffer.write(b"\\xff\\x1b\\n")
    if what == b"log":
        logging.getLogger("users").error("two\\nlines")
        logging.getLogger("asyncrev").error("%d", "no number")
        logging.getLogger("asyncrev").error("a", extra={"fields": {"x": float("nan")}})
    if what == b"thread":
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    if what == b"finalise":
        Finalised()
        gc.collect()
    return data
"""
WAYS = ("raise", "warn", "print", "log", "thread", "finalise")


def test_every_line_of_a_process_where_everything_goes_wrong_is_an_object(tmp_path: Path) -> None:
    """Bad peers with bad names, a storm, tracebacks, prints, warnings, signals, a bad variable."""
    path = tmp_path / "s"
    settings = user_module(tmp_path, EVERYTHING)
    settings["env"]["ASYNCREV_SLOTZ"] = "\x1b[31m"  # type: ignore[index]
    args = (*USERS, str(path), *JSON, "--log-level", "debug", "--framing", "len32")
    with started(
        *args, "--max-frame-bytes", "1000", stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        **{**settings, "cwd": tmp_path},
    ) as process:  # fmt: skip
        for way in WAYS:
            with connect_to(path) as sock:
                sock.sendall(len(way).to_bytes(4, "big") + way.encode())
                sock.shutdown(socket.SHUT_WR)
                receive_all(sock)
        here = Path.cwd()
        os.chdir(tmp_path)  # a name has no room for the folder
        try:
            with connect_to(path, 'x\n{"ts":1}\x1b[31m\udcff') as sock:
                sock.sendall(TOO_LARGE)
                end_of(sock)
        finally:
            os.chdir(here)
        for _ in range(100):
            with connect_to(path) as sock, contextlib.suppress(ConnectionError):
                sock.sendall(TOO_LARGE)
                end_of(sock)
        with connect_to(path) as sock:
            sock.sendall(b"\0\0")
            reset(sock)
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert stdout == b"while it is imported\n"
    records = records_of(stderr)
    messages = [one["message"] for one in records]
    ours = [one["message"] for one in records if one["logger"] == "asyncrev"]
    assert ours[0].startswith("ASYNCREV_SLOTZ is ignored")
    # The last one of ours: in asyncio's debug mode the loop logs that it closes.
    assert ours[-1].startswith(f"stopped: {len(WAYS) + 102} connections")
    for part in (
        "UserWarning: deliberate",
        "printed 1",
        r"\xff\x1b",
        "mine: two\nlines",
        "a record cannot be formatted",
        "exception in thread ",
        "SIGUSR1 is ignored",
        "SIGHUP is ignored: neither",
    ):
        assert [text for text in messages if part in text], part
    by_traceback = {
        one["traceback"].partition("ValueError: ")[2]: one for one in records if "traceback" in one
    }
    assert set(by_traceback) == {
        'deliberate: \\udc80\\x00\n{"ts": 1}',
        "in a thread\n\\x1b[31m",
        "in a finaliser",
    }
    assert all(one["level"] == "ERROR" for one in by_traceback.values())
    (named,) = [one for one in records if "x\\n{" in one.get("peer", "")]
    assert named["end"] == "frame too large"
    assert named["reason"] == "closed: frame too large"
    told = [one for one in records if one.get("end") == "frame too large"]
    left_out = [one for one in records if "left_out" in one]
    assert {one["reason"] for one in left_out} == {"closed: frame too large"}
    assert len(told) + sum(one["left_out"] for one in left_out) == 101


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("--processor", "nowhere:Work"), 2, "nowhere"),
        (("--uds", "/nowhere/s"), 1, "--uds: "),
        (("--tee", "/nowhere/t"), 1, "--tee '/nowhere/t': No such file or directory"),
        (("--access-log", "/nowhere/t"), 1, "--access-log '/nowhere/t': No such file"),
        (("--tee", "-", "--access-log", "-"), 2, "would both write to stdout"),
    ],
)
def test_error_of_the_start_is_an_object(args: tuple[str, ...], code: int, text: str) -> None:
    """Before the log has begun, and after."""
    done = run_asyncrev("serve", *JSON, *args, **HERE)
    assert done.returncode == code
    *_, error = records_of(done.stderr.encode())
    assert error["level"] == "CRITICAL"
    assert text in error["message"]


def test_stderr_that_refuses_every_byte_changes_nothing(tmp_path: Path) -> None:
    """Neither the service nor the exit code, whatever is still to be written at the end."""
    path = tmp_path / "s"
    text = "import sys\ndef work(data): print('no end', end='', file=sys.stderr); return data"
    settings = user_module(tmp_path, text)
    with (
        open("/dev/full", "wb", buffering=0) as full,
        started(*USERS, str(path), *JSON, stderr=full, **settings) as process,
    ):
        with connect_to(path) as sock:
            assert ask(sock, b"abc") == b"abc"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def test_stderr_that_is_not_read_is_told_in_an_object(tmp_path: Path) -> None:
    """How many lines were dropped."""
    path = tmp_path / "s"
    reading, writing = os.pipe()
    args = ("--uds", str(path), *JSON, "--log-level", "debug", *FLIP)
    with started(*args, stderr=writing, **HERE) as process:
        os.close(writing)
        for _ in range(4000):  # of which each has three lines
            with connect_to(path) as sock:
                sock.shutdown(socket.SHUT_WR)
                receive_all(sock)
        with open(reading, "rb") as log:
            process.send_signal(signal.SIGTERM)
            stderr = log.read()
        process.wait(DEADLINE_S)
    (lost,) = [one for one in records_of(stderr) if "dropped" in one]
    assert lost["dropped"] > 0
    assert lost["message"].endswith("were dropped: they were not read in time")
