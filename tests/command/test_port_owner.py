"""port_owner: the process behind a port, by name and number."""

import os
import socket
from pathlib import Path

import pytest

from asyncrev.command.port_owner import listener_of


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_this_process(family: int) -> None:
    """While it listens, and not after."""
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("no IPv6")
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError as error:
        pytest.skip(f"{host}: {error}")
    with listener:
        port = listener.getsockname()[1]
        owner = listener_of(port)
        assert owner is not None
        assert owner.endswith(f"(pid {os.getpid()})")
    assert listener_of(port) is None


def test_tables_that_are_not_there_or_odd(tmp_path: Path) -> None:
    """A container may hide them."""
    assert listener_of(80, str(tmp_path)) is None
    (tmp_path / "proc" / "net").mkdir(parents=True)
    (tmp_path / "proc" / "net" / "tcp").write_text("head\n\nshort line\n 0: x 0 0A 0 0 0 0 0 7\n")
    assert listener_of(80, str(tmp_path)) is None
