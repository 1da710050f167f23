"""The server as a process with several worker threads."""

import contextlib
import hashlib
import pathlib
import re

import pytest

from tests.process.processors import HERE
from tests.support import receive_exactly, serving

pytestmark = pytest.mark.process


def test_threads_work_on_connections_of_their_own(tmp_path: pathlib.Path) -> None:
    """The start line has their number and the bound; the tee gets whole chunks of both."""
    tee = tmp_path / "tee"
    arguments = ("--threads", "2", "--processor", "tests.process.processors:digest")
    with serving(*arguments, "--tee", str(tee), **HERE) as server:
        assert " cpu=any threads=2 " in server.start_line
        assert f"(2 x ring {server.ring_bytes} + " in server.start_line
        assert server.memory_bound_bytes >= 2 * server.ring_bytes
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(4)]
            for number in range(20):
                for tag, client in enumerate(clients):
                    data = b"%d:%d;" % (tag, number)
                    client.sendall(data)
                    assert receive_exactly(client, 32) == hashlib.sha256(data).digest()
        assert server.terminate()[0] == 0
    seen = re.findall(rb"(\d):(\d+);", tee.read_bytes())
    assert sorted(seen) == sorted((b"%d" % t, b"%d" % n) for t in range(4) for n in range(20))
