"""admin_setup: the endpoint of the command, when it is asked for, and what may fail at that."""

import importlib.util
import logging
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from asyncrev import Limits, Server
from asyncrev.command.admin_address import AdminAddress
from asyncrev.command.admin_setup import Admin
from asyncrev.errors import LocalError, SettingsError
from tests.command.test_serving import options

pytestmark = pytest.mark.asyncio

needs_packages = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("h11", "prometheus_client"))),
    reason="the packages of asyncrev[ops] are not installed",
)


def made(server: Server, address: AdminAddress | None) -> Admin:
    return Admin(options(admin=address), server, lambda: None)


async def test_nothing_is_done_without_an_address() -> None:
    """Not even a thread."""
    async with Server(limits=Limits(slots=4)) as server:
        threads = threading.active_count()
        admin = made(server, None)
        await admin.open()
        admin.start()
        admin.note_stop()
        assert threading.active_count() == threads
        await admin.close()


@needs_packages
async def test_unix_socket_is_for_its_owner_and_is_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Mode 0600; the log has its address."""
    path = tmp_path / "a"
    async with Server(limits=Limits(slots=4)) as server:
        admin = made(server, AdminAddress(path=str(path)))
        await admin.open()
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with caplog.at_level(logging.INFO, "asyncrev"):
            admin.start()
        assert [record.getMessage() for record in caplog.records] == [
            f"admin endpoint on unix:{path}"
        ]
        await admin.close()
        assert not path.exists()
        await admin.close()


@needs_packages
async def test_reachable_address_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no password."""
    async with Server(limits=Limits(slots=4)) as server:
        admin = made(server, AdminAddress(host="127.0.0.1"))
        await admin.open()
        monkeypatch.setattr(admin, "_addresses", [("0.0.0.0", 1)])
        admin.start()
        assert "has no password" in caplog.records[-1].getMessage()
        await admin.close()


@needs_packages
async def test_address_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """With the option."""
    file = tmp_path / "file"
    file.touch()
    async with Server(limits=Limits(slots=4)) as server:
        with pytest.raises(LocalError, match=f"--admin unix:{file}: .*not a socket"):
            await made(server, AdminAddress(path=str(file))).open()
        with pytest.raises(OSError, match=r"--admin 192\.0\.2\.1:1: cannot listen"):
            await made(server, AdminAddress(host="192.0.2.1", port=1)).open()
        first = made(server, AdminAddress(path=str(tmp_path / "a")))
        await first.open()
        with pytest.raises(LocalError, match="in use"):
            await made(server, AdminAddress(path=str(tmp_path / "a"))).open()
        await first.close()


@needs_packages
async def test_refused_thread_is_said_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And leaves no socket."""

    def fail(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "a"
    async with Server(limits=Limits(slots=4)) as server:
        admin = made(server, AdminAddress(path=str(path)))
        await admin.open()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            with pytest.raises(LocalError, match="can't start new thread; see ulimit -u"):
                admin.start()
        await admin.close()
        assert not path.exists()


@pytest.mark.parametrize("name", ["h11", "prometheus_client"])
async def test_missing_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Before anything is opened."""
    for each in ("h11", "prometheus_client"):
        monkeypatch.setitem(sys.modules, each, sys)  # there, for all that it matters
    monkeypatch.setitem(sys.modules, name, None)
    async with Server(limits=Limits(slots=4)) as server:
        with pytest.raises(SettingsError, match=rf"{name} is not.*pip install 'asyncrev\[ops\]'"):
            await made(server, AdminAddress(path="/nonexistent/a")).open()


def modules_of_a_plain_server() -> str:
    code = (
        "import asyncrev.command.serving, asyncrev.command.cli, sys;"
        "print(sorted(m for m in sys.modules if m in ('h11', 'prometheus_client', 'ipaddress')"
        " or m.startswith('asyncrev.admin')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


async def test_plain_server_imports_nothing_of_it() -> None:
    """Its start takes no longer."""
    assert modules_of_a_plain_server() == "[]"
