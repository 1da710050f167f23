"""`asyncrev top` beside a real server: in a terminal, in a pipe, and when the server goes."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h11")
pytest.importorskip("prometheus_client")

from tests.process.processors import FLIP, HERE
from tests.process.test_admin import loaded
from tests.support import DEADLINE_S, run_asyncrev, send_until_stuck, serving, wait_until

pytestmark = pytest.mark.process

LEAVE = b"\x1b[?25h\x1b[?1049l"
# The terminal is to control its session. Not by opening it once more, nor by a `preexec_fn`: either
# was seen to wait for longer than a test may.
CONTROLLED = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Screen:
    """`asyncrev top` in a pseudo-terminal of 30 lines of 120 columns."""

    def __init__(self, *args: str) -> None:
        self.ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (30, 120))
        self.before = termios.tcgetattr(theirs)
        self.seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLED, "-m", "asyncrev", "top", *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
        )
        self.theirs = theirs

    def read(self) -> None:
        while select.select([self.ours], [], [], 0)[0]:
            self.seen += os.read(self.ours, 65536)

    def wait_for(self, *words: str) -> str:
        """Wait until one screen has all of `words`; return that screen."""

        def found() -> str:
            self.read()
            for part in reversed(self.seen.split(b"\x1b[H")):
                text = part.decode(errors="replace")
                if all(word in text for word in words):
                    return text
            return ""

        text: str = wait_until(found, f"the screen has {words}: {self.seen[-500:]!r}")
        return text

    def type(self, text: str) -> None:
        self.seen = b""
        os.write(self.ours, text.encode())

    def wait(self) -> int:
        def ended() -> bool:
            self.read()  # what it writes last waits for a reader
            return self.process.poll() is not None

        wait_until(ended, "it has ended")
        code = self.process.wait()
        self.read()
        return code

    @property
    def is_put_back(self) -> bool:
        return self.seen.endswith(LEAVE) and termios.tcgetattr(self.theirs) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@contextlib.contextmanager
def shown(*args: str) -> Iterator[Screen]:
    pytest.importorskip("rich")
    screen = Screen(*args)
    try:
        yield screen
    finally:
        screen.close()


def test_terminal_shows_load_and_why_reading_is_paused_and_is_put_back_by_q() -> None:
    """Keys sort at once."""
    with loaded() as (server, where, _), server.connect(4096) as stuck:
        send_until_stuck(stuck, bytes(65536))
        with shown("--admin", "{}:{}".format(*where), "--interval", "0.2") as screen:
            peer = "{}:{}".format(*stuck.getsockname())
            text = screen.wait_for("write 1", peer, "MiB", "serving")
            assert "connections, by" in text
            screen.type("c")
            screen.wait_for("connected longest\x1b[0m")
            screen.type("i")
            screen.wait_for("in flight\x1b[0m")
            screen.type("q")
            assert screen.wait() == 0
            assert screen.is_put_back


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 129)],
)
def test_signals_put_the_terminal_back(tmp_path: Path, number: int, code: int) -> None:
    """SIGINT as the terminal sends it."""
    path = tmp_path / "admin"
    with (
        serving("--admin", f"unix:{path}", *FLIP, **HERE),
        shown("--admin", f"unix:{path}", "--interval", "0.2") as screen,
    ):
        screen.wait_for("serving")
        if number == signal.SIGINT:
            screen.type("\x03")
        else:
            screen.process.send_signal(number)
        assert screen.wait() == code
        assert screen.is_put_back


def test_suspended_terminal_is_the_shells_until_it_goes_on(tmp_path: Path) -> None:
    """Ctrl-Z, fg, q."""
    path = tmp_path / "admin"

    def state(pid: int) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    with (
        serving("--admin", f"unix:{path}", *FLIP, **HERE),
        shown("--admin", f"unix:{path}", "--interval", "0.2") as screen,
    ):
        screen.wait_for("serving")
        screen.process.send_signal(signal.SIGTSTP)
        wait_until(lambda: state(screen.process.pid) == "T", "it is stopped")
        screen.read()
        assert screen.is_put_back
        screen.seen = b""
        screen.process.send_signal(signal.SIGCONT)
        screen.wait_for("serving")
        screen.type("q")
        assert screen.wait() == 0
        assert screen.is_put_back


def test_server_that_goes_is_told_on_the_screen(tmp_path: Path) -> None:
    """And one that comes in its place is shown."""
    path = tmp_path / "admin"
    arguments = ("--admin", f"unix:{path}", *FLIP)
    with (
        serving(*arguments, **HERE) as server,
        shown("--admin", f"unix:{path}", "--interval", "0.2") as screen,
    ):
        screen.wait_for("serving")
        assert server.terminate()[0] == 0
        screen.wait_for("no server listens there")
        with serving(*arguments, **HERE):
            screen.seen = b""
            wait_until(
                lambda: "no server" not in screen.wait_for("serving", "sort by"), "it is back"
            )
        screen.type("q")
        assert screen.wait() == 0


def test_json_goes_on_until_the_server_does(tmp_path: Path) -> None:
    """Over a UNIX socket; a line per interval, and exit code 1 in the end."""
    path = tmp_path / "admin"
    with serving("--admin", f"unix:{path}", *FLIP, **HERE) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "asyncrev", "top", "--json", "--interval", "0.2"],
            env={**os.environ, "ASYNCREV_ADMIN": f"unix:{path}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(2):
            line: dict[str, Any] = json.loads(process.stdout.readline())
            assert line["workers"][0]["state"] == "serving"
            assert line["workers"][0]["received_bytes_per_s"] == 0
        server.terminate()
        _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert stderr.count("\n") == 1
    assert "no server listens there" in stderr


def test_ctrl_c_ends_lines_without_a_word(tmp_path: Path) -> None:
    """Exit code 0: it is how one ends it."""
    path = tmp_path / "admin"
    with serving("--admin", f"unix:{path}", *FLIP, **HERE):
        process = subprocess.Popen(
            [sys.executable, "-m", "asyncrev", "top", "--json", "--admin", f"unix:{path}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, stderr) == (0, "")


def test_once_is_quick_and_costs_the_server_nothing_that_shows() -> None:
    """Beside a verified load."""
    with loaded() as (_, where, _):
        begun_s = time.monotonic()
        run = run_asyncrev("top", "--admin", "{}:{}".format(*where), "--once", "--interval", "0.2")
        assert time.monotonic() - begun_s < DEADLINE_S
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines()[2].split()[1] == "serving"


def test_path_without_permission_is_said_so(tmp_path: Path) -> None:
    """As for another user's server."""
    if os.geteuid() == 0:
        pytest.skip("root may connect to each socket")
    path = tmp_path / "admin"
    with serving("--admin", f"unix:{path}", *FLIP, **HERE):
        path.chmod(0)
        run = run_asyncrev("top", "--admin", f"unix:{path}", "--once")
    assert run.returncode == 1
    assert "permission denied" in run.stderr
