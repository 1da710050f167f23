"""doctor: each check finds what is wrong, and says what to do."""

import socket
from pathlib import Path

import pytest

from asyncrev.command.cli import serve
from asyncrev.command.click_options import given_values_of
from asyncrev.command.doctor import ERROR, OK, WARNING, Finding, findings
from tests.certificates import Issuer


def found(*args: str, root: str = "/") -> dict[str, Finding]:
    """Return the worst finding of each check."""
    context = serve.make_context("serve", list(args), help_option_names=["-h", "--help"])
    values = given_values_of(context)
    worst: dict[str, Finding] = {}
    for one in findings(values, root):
        levels = (OK, WARNING, ERROR)
        if one.check not in worst or levels.index(one.level) > levels.index(worst[one.check].level):
            worst[one.check] = one
    return worst


def test_checks_of_a_usual_server() -> None:
    """A free port; nothing is an error."""
    results = found("--port", "0")
    expected = {"processor", "descriptors", "syn-backlog", "backlog", "address", "memory", "cpu"}
    assert expected | {"streams", "plane", "extras"} <= set(results)
    assert all(one.level != ERROR for one in results.values())


def test_port_in_use_and_a_host_that_is_not_here() -> None:
    """With the process that has it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = found("--port", str(listener.getsockname()[1]))["address"]
    assert one.level == ERROR
    assert "is in use by" in one.text
    assert "(pid " in one.text
    assert "--port" in one.fix
    assert found("--host", "192.0.2.1", "--port", "0")["address"].level == ERROR
    assert found("--host", "x" * 70, "--port", "0")["address"].level == ERROR


def test_unix_sockets(tmp_path: Path) -> None:
    """A new one, one with a server, one in a directory that is not there."""
    path = str(tmp_path / "sock")
    assert found("--uds", path)["address"].level == OK
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert found("--uds", path)["address"].level == OK  # left behind
        server.listen()
        one = found("--uds", path)["address"]
        assert (one.level, one.check) == (ERROR, "address")
    assert found("--uds", "/nowhere/sock")["address"].fix == "mkdir -p /nowhere"


def test_limits_beyond_the_machine(tmp_path: Path) -> None:
    """Memory, descriptors, threads and queue."""
    sysctl = tmp_path / "proc" / "sys" / "net" / "core" / "somaxconn"
    sysctl.parent.mkdir(parents=True)
    sysctl.write_text("128\n")
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 1024 kB\n")
    results = found(
        "--port", "0", "--threads", "999", "--max-connections", "2000000000", root=str(tmp_path)
    )
    for check in ("memory", "cpu", "backlog"):
        assert results[check].level == WARNING, check
    assert results["backlog"].fix == "sysctl -w net.core.somaxconn=1024"
    assert "Set it" not in results["backlog"].text


def test_mistakes_do_not_hide_other_checks() -> None:
    """What needs no settings is still checked."""
    results = found("--processor", "nowhere:x")
    assert results["options"].level == ERROR
    assert "nowhere" in results["options"].text
    assert "processor" not in results
    assert {"plane", "extras"} <= set(results)


@pytest.mark.parametrize(("days", "level"), [(30, OK), (3, WARNING), (-3, ERROR)])
def test_days_of_a_certificate(days: int, level: str, tmp_path: Path) -> None:
    """An expired one is an error, although a server takes it."""
    import datetime

    issuer = Issuer(tmp_path)
    now = datetime.datetime.now(datetime.UTC)
    dates = {
        "not_before": now - datetime.timedelta(days=9),
        "not_after": now + datetime.timedelta(days=days, hours=1),
    }
    one = found("--port", "0", "--ssl-certfile", issuer.issue("localhost", **dates))["certificate"]
    assert one.level == level
    assert f"valid for {days} days" in one.text
