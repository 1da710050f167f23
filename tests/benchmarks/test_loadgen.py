"""The load generator in C, in an open loop; other tests run it in a closed one."""

import contextlib
import json
import socket
import subprocess
import threading
import time
from typing import Any

import pytest

from benchmarks import build

pytestmark = pytest.mark.skipif(not build.have_compiler(), reason="there is no C compiler")


def _serve(listening: socket.socket, stall_s: float) -> None:
    """Reverse what one connection sends; once, wait before a reply."""
    connection, _ = listening.accept()
    with connection, contextlib.suppress(ConnectionResetError):  # its client ends so
        while data := connection.recv(65536):
            if stall_s:
                time.sleep(stall_s)  # this is the server's stall, not a wait of the test
                stall_s = 0.0
            for start in range(0, len(data), 64):
                connection.sendall(data[start : start + 64][::-1])


def _loaded(stall_s: float) -> dict[str, Any]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, stall_s))
        thread.start()
        command = [str(build.load_generator(tls=False)), "--port", str(listening.getsockname()[1])]
        command += ["--rate", "500", "--seconds", "1", "--warmup", "0", "--depth", "1000"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        thread.join(10)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_open_loop_sends_what_is_due_and_charges_a_stall_to_all_that_was_due() -> None:
    """Of 1 s, 0.4 s is a stall: a tenth of all messages waited for more than half of that."""
    seen = _loaded(0.4)
    assert seen["errors"] == 0
    assert 300 <= seen["messages"] <= 700
    assert seen["max_us"] >= 390_000
    assert seen["p90_us"] >= 200_000
