"""A chunk passes the modules that docs/design.md lists, in that order, and no others."""

import asyncio
import pathlib
import re
import socket
import sys
import threading
from types import FrameType
from typing import Any

import pytest

import asyncrev
from asyncrev.native.choice import NAME

ROOT = pathlib.Path(__file__).parents[2]
PREFIX = f"{ROOT / 'asyncrev'}/"
SECTION = re.search(
    r"^## The way of one chunk$(.*?)^## ",
    (ROOT / "docs" / "design.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
assert SECTION is not None
WAY = re.findall(r"^\d+\. `([\w.]+)`", SECTION[1], re.MULTILINE)
# What an iteration of the loop, or a batch of the worker, does once for all chunks.
ONCE = re.search(r"^Once for all chunks.*?\n\n", SECTION[1], re.MULTILINE | re.DOTALL)
assert ONCE is not None
ONCE_FOR_ALL = set(re.findall(r"`([\w.]+)`", ONCE[0]))


class Recording:
    """Notes the module of every call of asyncrev's, on the threads that it is set for."""

    def __init__(self) -> None:
        self.modules: list[tuple[bool, str]] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(PREFIX):
            on_worker = threading.current_thread() is not threading.main_thread()
            module = path[len(PREFIX) : -len(".py")].replace("/", ".")
            self.modules.append((on_worker, module))


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_chunk_passes_the_modules_that_the_design_lists_in_that_order() -> None:
    """Of the reference processor, over TCP, once the connection has received before.

    With the native plane it passes none of them: what is called is called once for all chunks.
    """
    record = Recording()
    threading.setprofile(record)  # before the worker's thread starts
    try:
        async with await asyncrev.serve("127.0.0.1", 0) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                for chunk in (b"first", b"again", b"abc"):
                    client.send(chunk)
                    record.modules.clear()
                    sys.setprofile(record)
                    assert await loop.sock_recv(client, 5) == chunk[::-1]
                    sys.setprofile(None)
                seen = record.modules.copy()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert {module for _, module in seen} <= set(WAY) | ONCE_FOR_ALL
    on_loop, on_worker = (
        dict.fromkeys(module for where, module in seen if where is side and module in WAY)
        for side in (False, True)
    )
    if NAME == "native":
        assert (on_loop, on_worker) == ({}, {})
        return
    assert set(on_loop) | set(on_worker) == set(WAY)
    assert list(on_loop) == ["ring.plane"]
    # A worker that had gone to sleep by then begins in the plane, which it waits in.
    orders = (["ring.plane", "ring.thread_side"], ["ring.thread_side", "ring.plane"])
    assert list(on_worker) in [[*order, "work.reverse"] for order in orders]
    assert WAY == ["ring.plane", "ring.thread_side", "ring.plane", "work.reverse", "ring.plane"]
