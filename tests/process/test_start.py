"""What the start of `asyncrev serve` imports: it takes time at every start."""

import re
import signal
import socket
import subprocess
import sys

import pytest

from asyncrev.native.choice import KERNELS
from tests.process.processors import HERE
from tests.support import DEADLINE_S, ask

pytestmark = pytest.mark.process

# What only an option, an error or the plane in Python needs.
NEEDLESS = {
    *("aiofastnet", "cryptography", "hypothesis", "numpy", "pytest", "uvloop"),
    *("decimal", "difflib", "email", "fractions", "http", "ipaddress", "logging.handlers"),
    *("pathlib", "statistics", "tempfile", "unittest", "urllib.parse", "asyncrev.testing"),
}
SERVE = """
import sys
from asyncrev.command.entry import main
try:
    main()
finally:
    print(*sys.modules)
"""
BORROW = "import asyncio, click, sys; print(*sys.modules)"


@pytest.mark.skipif(KERNELS is None, reason="without native kernels NumPy is needed")
def test_start_and_a_reply_import_nothing_that_they_do_not_need() -> None:
    """With the default options; `ssl` comes with asyncio itself."""
    borrowed = subprocess.run(
        [sys.executable, "-c", BORROW], capture_output=True, text=True, check=True
    )
    command = [sys.executable, "-c", SERVE, "serve", "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes, **HERE) as process:
        try:
            line = process.stderr.readline()
            port = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert port is not None, line + process.stderr.read()
            with socket.create_connection(("127.0.0.1", int(port[1])), DEADLINE_S) as sock:
                assert ask(sock, b"abc") == b"cba"
            process.send_signal(signal.SIGTERM)
            loaded, _ = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    assert process.returncode == 0
    modules = set(loaded.split())
    assert "asyncrev.server.server" in modules
    assert NEEDLESS & (modules - set(borrowed.stdout.split())) == set()
