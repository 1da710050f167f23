"""supervisor_plan: what workers are told, and what a reload makes of it."""

import pathlib

import pytest

from asyncrev.command.config_values import with_file
from asyncrev.command.listen_fds import ListenSockets
from asyncrev.command.notify import NotifyTarget
from asyncrev.command.option_values import OptionValue, Source, default_of
from asyncrev.command.options import OPTIONS
from asyncrev.command.supervisor_plan import plan_of, settings_again
from asyncrev.command.supervisor_settings import SupervisorSettings, supervisor_settings_of
from asyncrev.command.value_json import values_from_json
from asyncrev.errors import SettingsError
from tests.command.test_supervisor_settings import settings


def test_a_plan_has_all_values() -> None:
    asked = settings(workers=2, slots=8, max_connections=7, drain_timeout_s=3.0)
    plan = plan_of(asked, 4)
    assert (plan.generation, plan.most_connections, plan.drain_s) == (4, 7, 8.0)
    assert values_from_json(plan.setup["values"]) == list(asked.values)
    assert plan.setup["balance"] == "exact"


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "f.toml"


def start(file: pathlib.Path, text: str) -> SupervisorSettings:
    file.write_text(text)
    given = {"config": str(file), "workers": 2, "fd": "name"}
    values = [
        OptionValue(row, given[row.name], Source.COMMAND_LINE)
        if row.name in given
        else default_of(row)
        for row in OPTIONS
    ]
    passed, notify = ListenSockets(fd=7), NotifyTarget("/n")
    return supervisor_settings_of(with_file(values), passed, notify)


def test_the_file_is_read_again_and_what_was_passed_stays(file: pathlib.Path) -> None:
    before = start(file, "[limits]\nslots = 8\n")
    file.write_text("[limits]\nslots = 9\nbacklog = 3\n[serve]\nhung_after_s = 9\n")
    after, refused = settings_again(before)
    assert after.limits.slots == 9
    assert after.limits.backlog == before.limits.backlog
    assert after.hung_after_s == before.hung_after_s
    assert (after.inherited.fd, after.notify.address) == (7, "/n")
    assert refused == [
        f"backlog ({file}:3) is not changed; restart the service for that",
        f"hung_after_s ({file}:5) is not changed; restart the service for that",
    ]
    assert settings_again(after)[0].limits.slots == 9


def test_a_key_that_is_gone_is_named(file: pathlib.Path) -> None:
    before = start(file, "[limits]\nbacklog = 3\n")
    file.write_text("")
    assert settings_again(before)[1] == [
        f"backlog ({file}:2 no longer has it) is not changed; restart the service for that"
    ]


def test_a_mistake_changes_nothing(file: pathlib.Path) -> None:
    before = start(file, "")
    file.write_text("[limits]\nslots = 0\n")
    with pytest.raises(SettingsError, match="slots is 0"):
        settings_again(before)
