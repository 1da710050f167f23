"""Processors and loops for servers that run as processes: `serving(*FLIP, **HERE)`."""

import asyncio
import ctypes
import dataclasses
import gc
import hashlib
import importlib.util
import json
import os
import pathlib
import ssl
import threading
from typing import Any

import pytest

from asyncrev.connection_info import ConnectionInfo
from asyncrev.work.tls_session import TlsSession
from tests.support import ROOT, flipped

HERE = {"cwd": ROOT}
FLIP = ("--processor", "tests.process.processors:Flip")
GATED = ("--processor", "tests.process.processors:Gated")
HUNG = ("--processor", "tests.process.processors:Hung")
HOLDING = ("--processor", "tests.process.processors:Holding")
FRAGILE = ("--processor", "tests.process.processors:Fragile")
AMPLIFY = ("--processor", "tests.process.processors:Amplify")
AMPLIFIED_BYTES = 4096  # of a reply to one byte
SHOUTED = ("--processor", "tests.process.processors:shouted")
NOTHING = ("--processor", "tests.process.processors:nothing")
INTRODUCED = ("--processor", "tests.process.processors:Introduced")
SESSIONS = ("--processor", "tests.process.processors:sessions")

_NO_UVLOOP = pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
)
EVERY_LOOP = ["epoll", "asyncio", pytest.param("uvloop", marks=_NO_UVLOOP)]
# Our loop always, the others among the slow tests.
LOOPS = [
    "epoll",
    pytest.param("asyncio", marks=pytest.mark.slow),
    pytest.param("uvloop", marks=[pytest.mark.slow, _NO_UVLOOP]),
]


def digest(data: bytes) -> bytes:
    """Answer a chunk with its SHA-256, for which the GIL is released if it is large."""
    return hashlib.sha256(data).digest()


class Flip:
    """Answers every byte with its complement, so that it does not matter where chunks are split."""

    replies_fit = True

    def process(self, chunk: memoryview) -> bytes:
        return flipped(bytes(chunk))

    def eof(self) -> None:
        """Add nothing."""


class Introduced:
    """Answers each line with what is known of its peer behind a proxy, as JSON."""

    def connected(self, info: ConnectionInfo) -> None:
        """Note it."""
        self._info = info

    def process(self, line: memoryview) -> bytes:
        """Answer."""
        proxy = self._info.proxy
        return json.dumps(
            {
                "peer_address": self._info.peer_address,
                "uses_tls": self._info.tls is not None,
                "proxy": None if proxy is None else dataclasses.asdict(proxy),
                "line": bytes(line).decode(),
            },
            default=lambda value: value.decode("latin-1"),
        ).encode()

    def eof(self) -> None:
        """Add nothing."""


class Gated(Flip):
    """Waits at the very first chunk until somebody has opened the FIFO $GATE and closed it."""

    waited = False

    def process(self, chunk: memoryview) -> bytes:
        if not Gated.waited:
            Gated.waited = True
            with open(os.environ["GATE"], "rb") as gate:
                gate.read()
        return super().process(chunk)


class Hung(Flip):
    """Never returns."""

    def process(self, chunk: memoryview) -> bytes:
        threading.Event().wait()
        raise AssertionError


class Fragile(Flip):
    """Raises at chunks with a zero byte."""

    def process(self, chunk: memoryview) -> bytes:
        if 0 in chunk:
            raise ValueError("this processor does not like zeros")
        return super().process(chunk)


class Amplify:
    """Answers a chunk of equal bytes with 4 KiB for each."""

    def process(self, chunk: memoryview) -> bytes:
        return bytes(chunk[:1]) * (AMPLIFIED_BYTES * len(chunk))

    def eof(self) -> None:
        """Add nothing."""


def nothing() -> dict:
    """Make something that is no processor, which only calling this can tell."""
    return {}


def shouted(payload: bytes) -> bytes | None:
    """Answer in upper case, and longer; say nothing to a hush."""
    return None if payload == b"hush" else payload.upper() + b"!"


def sessions(line: bytes) -> bytes:
    """Answer with the line; to "count", with how many objects of TLS are alive in this process."""
    if line != b"count":
        return line
    gc.collect()
    alive = [one for one in gc.get_objects() if isinstance(one, (ssl.SSLObject, TlsSession))]
    return b"%d" % len(alive)


class Holding(Flip):
    """Holds the GIL for $HOLD_S seconds at a chunk that begins with "hold"; $HELD is then there."""

    def process(self, chunk: memoryview) -> bytes:
        if chunk[:4] == b"hold":
            pathlib.Path(os.environ["HELD"]).touch()
            ctypes.PyDLL(None).sleep(int(os.environ["HOLD_S"]))  # PyDLL keeps the GIL
        return super().process(chunk)


async def coroutine(data: bytes) -> bytes:
    """Answers later, in capitals."""
    await asyncio.sleep(0.001)
    return data.upper()


async def never(data: bytes) -> bytes:
    """Waits for ever."""
    await asyncio.get_running_loop().create_future()
    return data


def upper(data: bytes) -> bytes:
    """Answers in capitals; dies if it is to."""
    if data == b"die":
        os._exit(9)
    return data.upper()


def _undecorate(function: Any) -> Any:
    return lambda *args, **kwargs: function(*args, **kwargs)


undecorated = _undecorate(digest)


class Arguments(Flip):
    """Needs an argument."""

    def __init__(self, index: int) -> None: ...


def halved(line: bytes) -> bytes:
    """Answer with a line end in the place of each "!"."""
    return line.replace(b"!", b"\n")
