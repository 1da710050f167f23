"""supervisor_settings: everything is checked but the processor's module, which is not imported."""

import pathlib
import sys
from typing import Any

import pytest

from asyncrev.command.listen_fds import ListenSockets
from asyncrev.command.notify import NotifyTarget
from asyncrev.command.option_values import OptionValue, Source, default_of
from asyncrev.command.options import OPTIONS
from asyncrev.command.supervisor_settings import SupervisorSettings, supervisor_settings_of
from asyncrev.errors import SettingsError


def settings(inherited: ListenSockets | None = None, **flags: Any) -> SupervisorSettings:
    values = [
        OptionValue(row, flags[row.name], Source.COMMAND_LINE)
        if row.name in flags
        else default_of(row)
        for row in OPTIONS
    ]
    return supervisor_settings_of(values, inherited or ListenSockets(), NotifyTarget())


def test_settings_have_what_was_given() -> None:
    found = settings(workers=3, balance="kernel", drain_timeout_s=7.0, slots=8)
    assert (found.workers, found.balance, found.limits.slots) == (3, "kernel", 8)
    assert found.drain_s == 12.0
    assert (found.restart_limit, found.hung_after_s) == (10, 30.0)


def test_the_processor_is_not_imported(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bursts.py").write_text("raise SystemExit(9)")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings(workers=2, processor="bursts:X")
    assert "bursts" not in sys.modules


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"slots": 0}, "slots is 0"),
        ({"cpu": "x"}, "--cpu is 'x'"),
        ({"ssl_certfile": ("/none",)}, "--ssl-certfile '/none'"),
        ({"tee": "-", "access_log": "-"}, "--tee"),
        ({"proxy_protocol": "v1"}, "--proxy-from"),
        ({"drain_delay_s": -1.0}, "--drain-delay-s is -1"),
        ({"drain_spread_s": 99.0}, "--drain-spread-s is 99"),
        ({"admin": "x"}, "--admin"),
        ({"hung_after_s": 0.5}, "--hung-after-s is 0.5; it must be 5 s or more"),
        ({"balance": "kernel", "uds": "/s"}, "--balance kernel beside --uds"),
        ({"uds": "/s", "port": 1}, "--port and --uds exclude each other"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(workers=2, **flags)


def test_kernel_balance_cannot_have_inherited_sockets() -> None:
    with pytest.raises(SettingsError, match="--balance kernel beside --fd, or sockets of systemd"):
        settings(ListenSockets(fd=3), workers=2, balance="kernel")


def test_uvloop_is_looked_for_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(SettingsError, match="uvloop is not installed"):
        settings(workers=2, loop="uvloop")


def test_a_mistake_in_a_file_has_its_line() -> None:
    values = [default_of(row) for row in OPTIONS]
    number = next(n for n, value in enumerate(values) if value.option.name == "slots")
    values[number] = OptionValue(values[number].option, 0, Source.FILE, "f.toml:3")
    with pytest.raises(SettingsError, match=r"f\.toml:3: slots is 0"):
        supervisor_settings_of(values, ListenSockets(), NotifyTarget())
