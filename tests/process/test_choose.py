"""docs/choose.md: its commands serve, each with the file of the page, and reply as each other."""

import hashlib
import os
import re
import shlex
import socket
from pathlib import Path

import pytest

from tests.support import DEADLINE_S, ROOT, receive_all, serving

PAGE = ROOT / "docs" / "choose.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ asyncrev serve (.+)$", TEXT, re.M)
LINES = [b"line %d" % number for number in range(40)]

pytestmark = pytest.mark.process

# Dask starts a scheduler and processes, which takes many seconds on a busy machine.
DASK = (pytest.mark.slow, pytest.mark.timeout(150))
DASK_START_S = 60.0


def test_page_has_a_command_for_each_choice() -> None:
    """And no block that is not run here."""
    assert len(COMMANDS) == 7
    blocks = re.findall(r"^```(\S+)\n", TEXT, re.M)
    assert sorted(set(blocks)) == ["console", "python"]
    assert blocks.count("python") == 1
    assert re.findall(r"^\$ (?!asyncrev serve )", TEXT, re.M) == []


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=DASK if "dask" in each else ()) for each in COMMANDS]
)
def test_command_answers_in_order(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two connections at once, with more lines than a batch has."""
    if "dask" in command:
        pytest.importorskip("distributed")
        monkeypatch.setattr("tests.support.DEADLINE_S", DASK_START_S)
    (code,) = re.findall(r"^```python\n# work\.py\n(.*?)^```$", TEXT, re.M | re.S)
    (tmp_path / "work.py").write_text(code, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
        "DASK_LOGGING__DISTRIBUTED": "error",  # so that the start line comes first
    }
    wanted = b"".join(hashlib.sha256(line).hexdigest().encode() + b"\n" for line in LINES)
    with serving(*shlex.split(command), cwd=tmp_path, env=environment) as server:
        socks = [server.connect() for _ in range(2)]
        for sock in socks:
            sock.settimeout(3 * DEADLINE_S)  # until the workers of an executor have started
            sock.sendall(b"".join(line + b"\n" for line in LINES))
            sock.shutdown(socket.SHUT_WR)
        for sock in socks:
            assert receive_all(sock) == wanted
            sock.close()
        assert server.terminate()[0] == 0
