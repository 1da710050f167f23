"""The server as process 1 of a PID namespace, as in a container, where default actions do nothing.

A signal without a handler, or with its default action, does not reach process 1
(pid_namespaces(7)), so a shell there, or a server that leaves signals alone, would not stop.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import DEADLINE_S, ask, receive_all, wait_until

NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child")


def may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not may_unshare(), reason="no PID namespace can be made here"),
]


@contextlib.contextmanager
def process_one(*args: str, **popen: Any) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run a server as process 1; give the process of `unshare`, and the server's id out here."""
    command = [*NAMESPACE, sys.executable, "-m", "asyncrev", "serve", "--port", "0", *args]
    with subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0, **popen) as unshare:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
        pid = int(wait_until(lambda: children.read_text(encoding="ascii"), "it has a child"))
        try:
            yield unshare, pid
        finally:
            unshare.kill()


def test_sigterm_drains_process_one() -> None:
    """And its exit code is that of the container."""
    with process_one() as (unshare, pid):
        assert unshare.stderr is not None
        port = re.search(r"serving on 127\.0\.0\.1:(\d+)", unshare.stderr.readline().decode())
        assert port is not None
        with socket.create_connection(("127.0.0.1", int(port[1])), DEADLINE_S) as sock:
            assert ask(sock, b"hello") == b"olleh"
            os.kill(pid, signal.SIGTERM)
            assert receive_all(sock) == b""
        assert unshare.wait(DEADLINE_S) == 0
        assert b"5 bytes received, 5 replied" in unshare.stderr.read()


def test_sigterm_ends_process_one_that_does_not_serve_yet(tmp_path: Path) -> None:
    """Its default action, by which the server ends elsewhere, would be ignored."""
    begun = tmp_path / "begun"
    (tmp_path / "slow.py").write_text(
        f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(60)\n",
        encoding="utf-8",
    )
    with process_one("--processor", "slow:work", cwd=tmp_path) as (unshare, pid):
        wait_until(begun.exists, "the processor's module is being imported")
        os.kill(pid, signal.SIGTERM)
        assert unshare.wait(DEADLINE_S) == 128 + signal.SIGTERM
