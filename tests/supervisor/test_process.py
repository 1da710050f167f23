"""A worker's process: its descriptors, its signals and its end, however that is seen."""

import asyncio
import os
import signal
import sys

import pytest

from asyncrev.supervisor.causes import Cause
from asyncrev.supervisor.process import DESCRIPTORS_VARIABLE, Command, WorkerProcess
from tests.support import until

on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])

# What it has open, beside 0 to 2, and the signals that it gets.
TELLS = f"""
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: None)
control, questions, stacks = map(int, os.environ["{DESCRIPTORS_VARIABLE}"].split(","))
names = os.listdir("/proc/self/fd")
there = sorted(int(name) for name in names if os.path.exists("/proc/self/fd/" + name))
os.write(control, repr([n for n in there if n > 2]).encode())
os.write(questions, repr([control, questions, stacks, os.getpgrp() == os.getpid()]).encode())
os.write(stacks, b"x" * 40000 + b"y" * 40000)
signal.pause()
signal.pause()
"""


async def start(code: str, listening: tuple[int, ...] = ()) -> tuple[WorkerProcess, list[Cause]]:
    causes: list[Cause] = []
    command = Command([sys.executable, "-S", "-c", code], dict(os.environ))
    return WorkerProcess(command, listening, causes.append), causes


@on_asyncio
@pytest.mark.parametrize("has_pidfd", [True, False])
async def test_a_life(has_pidfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its descriptors and no others, a group of its own, and an end that is seen."""
    if not has_pidfd:
        monkeypatch.setattr(os, "pidfd_open", _refuse)
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()  # one that is given to it, one that is not
    process, causes = await start(TELLS, (writing,))
    there = eval(await loop.sock_recv(process.control, 1000))
    *numbers, leads = eval(await loop.sock_recv(process.questions, 1000))
    assert there == sorted([*numbers, writing])
    assert leads
    # Not their length alone, which is that of the first 64 KiB, too.
    await until(lambda: process.stacks == "x" * 25536 + "y" * 40000, "the last of them is kept")
    process.end_soon(0.2)  # it ignores SIGTERM
    await until(lambda: causes, "its end is seen")
    assert [cause.label for cause in causes] == ["SIGKILL"]
    process.send_signal(signal.SIGTERM)  # to nobody
    for fd in (reading, writing):
        os.close(fd)
    process.control.close()
    process.questions.close()


def _refuse(_: int) -> int:
    raise PermissionError


@on_asyncio
async def test_a_hung_one_that_is_stopped_writes_its_stacks() -> None:
    code = f"""
import faulthandler, os, signal
fds = os.environ["{DESCRIPTORS_VARIABLE}"].split(",")
faulthandler.enable(file=int(fds[2]), all_threads=True)
os.write(int(fds[0]), b"ready")
signal.pause()
"""
    process, causes = await start(code)
    assert await asyncio.get_running_loop().sock_recv(process.control, 9) == b"ready"
    process.send_signal(signal.SIGSTOP)
    process.end_hung()
    await until(lambda: causes, "its end is seen")
    assert causes[0].label == "hung"
    assert causes[0].code == 128 + signal.SIGABRT
    assert "most recent call first" in process.stacks
    process.control.close()
    process.questions.close()
