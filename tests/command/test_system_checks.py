"""system_checks: the system's numbers against those of a server, and what to set."""

import os
from pathlib import Path

import pytest

from asyncrev.command import serving, supervising
from asyncrev.command.system_checks import backlog_warning, cpu_warning, syn_backlog_warning
from tests.command_line import invoke


def write(root: Path, name: str, text: str) -> None:
    """Write a file of sysctl."""
    file = root / "proc" / "sys" / name.replace(".", "/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(("most", "warns"), [("1024\n", False), ("4096\n", False), ("128\n", True)])
def test_accept_queue_that_the_system_shortens(tmp_path: Path, most: str, *, warns: bool) -> None:
    """With both numbers and the command."""
    write(tmp_path, "net.core.somaxconn", most)
    warning = backlog_warning(1024, str(tmp_path))
    assert (warning is not None) is warns
    if warning is not None:
        assert "--backlog is 1024, but the system allows 128" in warning
        assert warning.endswith("Set it: sysctl -w net.core.somaxconn=1024")


@pytest.mark.parametrize(
    ("most", "cookies", "warns"),
    [("128", "1", False), ("128", "0", True), ("1024", "0", False)],
)
def test_half_open_connections(tmp_path: Path, most: str, cookies: str, *, warns: bool) -> None:
    """SYN cookies keep those that the queue does not."""
    write(tmp_path, "net.ipv4.tcp_max_syn_backlog", most)
    write(tmp_path, "net.ipv4.tcp_syncookies", cookies)
    warning = syn_backlog_warning(1024, str(tmp_path))
    assert (warning is not None) is warns
    assert "tcp_max_syn_backlog=1024" in (warning or "tcp_max_syn_backlog=1024")


@pytest.mark.parametrize("text", ["", "nonsense", "-1", "9" * 50])
def test_system_that_does_not_say_is_not_warned_of(tmp_path: Path, text: str) -> None:
    """Another kernel, or a container without /proc/sys."""
    assert backlog_warning(1024, str(tmp_path)) is None
    write(tmp_path, "net.core.somaxconn", text)
    write(tmp_path, "net.ipv4.tcp_max_syn_backlog", text)
    assert backlog_warning(1024, str(tmp_path)) is None
    assert syn_backlog_warning(1024, str(tmp_path)) is None


def test_more_threads_than_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By affinity here; by a quota as `worker_count` reads it."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    root = str(tmp_path)
    assert cpu_warning(4, 1, root) is None
    assert cpu_warning(2, 2, root) is None
    assert (cpu_warning(5, 1, root) or "").startswith("--workers 5: they share 4 cores")
    assert (cpu_warning(1, 5, root) or "").startswith("--threads 5: they share 4 cores")
    assert "--workers 2 with --threads 3" in (cpu_warning(2, 3, root) or "")


def test_quota_below_a_core_is_no_fault_of_one_worker(tmp_path: Path) -> None:
    """It could not be fewer."""
    files = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 22 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/cpu.max": "50000 100000\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_warning(1, 1, str(tmp_path)) is None
    assert "share 0.5 cores" in (cpu_warning(2, 1, str(tmp_path)) or "")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_server_warns_of_a_shortened_queue_at_its_start(
    workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process and several; nothing if the system allows as many."""
    logged: list[list[str]] = []

    def note(_settings: object, _signals: object, warnings: list[str]) -> int:
        logged.append([one for one in warnings if "--backlog" in one])
        return 0

    monkeypatch.setattr(serving, "serve_until_signal", note)
    monkeypatch.setattr(supervising, "supervise_until_signal", note)
    for backlog in ("1", "2147483647"):
        result = invoke("serve", "--workers", workers, "--backlog", backlog)
        assert result.exit_code == 0, result.stderr
    assert [len(one) for one in logged] == [0, 1]
    assert "net.core.somaxconn" in logged[1][0]
