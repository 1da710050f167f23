"""supervisor_line: what all workers serve, in one line."""

import os
from typing import Any

from asyncrev.command.supervisor_line import supervisor_fields, supervisor_line
from tests.command.test_supervisor_settings import settings

WORKER: dict[str, Any] = {
    "options": {"loop": "epoll", "cpu": 1, "idle_timeout_s": 300.0},
    "plane": "native",
    "memory_bound_bytes": 1000,
    "replies_are_bounded": True,
}


def test_line() -> None:
    line = supervisor_line(settings(workers=3), [("::1", 9, 0, 0), "/s"], WORKER)
    assert "serving on [::1]:9, unix:/s workers=3 balance=exact loop=epoll cpu=auto" in line
    assert line.endswith("idle_timeout_s=300 plane=native memory_bound_bytes=3000 (3 x 1000)")


def test_line_says_whose_proxy_headers_and_what_has_no_bound() -> None:
    worker = {**WORKER, "proxy_protocol": "v2", "proxy_from": ["10.0.0.0/8"]}
    worker["replies_are_bounded"] = False
    line = supervisor_line(settings(workers=2), [("127.0.0.1", 9)], worker)
    assert "127.0.0.1:9 (PROXY headers, v2, from 10.0.0.0/8) workers=2" in line
    assert line.endswith("(2 x 1000) and replies, which have no bound")


def test_fields() -> None:
    fields = supervisor_fields(settings(workers=2), [("127.0.0.1", 9)], WORKER, [7, 8])
    assert fields["memory_bound_bytes"] == 2000
    assert fields["worker_memory_bound_bytes"] == 1000
    assert fields["worker_pids"] == [7, 8]
    assert fields["supervisor_pid"] == os.getpid()
    assert fields["addresses"] == ["127.0.0.1:9"]
