"""config_reload: the same flags and variables with the file as it is now."""

import os
import pathlib
from types import SimpleNamespace

import pytest

from asyncrev.command.config_reload import FIXED, values_again
from asyncrev.command.config_values import with_file
from asyncrev.command.listen_fds import ListenSockets
from asyncrev.command.notify import NotifyTarget
from asyncrev.command.option_values import OptionValue, Source, default_of
from asyncrev.command.options import OPTIONS, option_named
from asyncrev.command.supervisor_settings import supervisor_settings_of
from asyncrev.errors import SettingsError


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "f.toml"


def start(file: pathlib.Path, text: str, **flags: object) -> list[OptionValue]:
    """Return the values of a server that starts with this file."""
    file.write_text(text)
    flags["config"] = str(file)
    return with_file(
        [
            OptionValue(row, flags[row.name], Source.COMMAND_LINE)
            if row.name in flags
            else default_of(row)
            for row in OPTIONS
        ]
    )


def read_again(before: list[OptionValue]) -> SimpleNamespace:
    """Return what a reload makes of it, as a supervisor does."""
    values, differences = values_again(before)
    return SimpleNamespace(
        settings=supervisor_settings_of(values, ListenSockets(), NotifyTarget()),
        values=values,
        differences=differences,
        changed=[one for one in differences if one.may_change],
        refused=[one for one in differences if not one.may_change],
    )


def names(differences: list[object]) -> list[str]:
    return [difference.name for difference in differences]  # type: ignore[attr-defined]


def test_new_file_changes_what_flags_leave_to_it(file: pathlib.Path) -> None:
    """A key that is gone gives its default back; one that moved to another line differs not."""
    before = start(file, "[limits]\nslots = 8\nbacklog = 9\nidle_timeout_s = 5\n", threads=2)
    file.write_text("\n[limits]\nbacklog = 9\nidle_timeout_s = '7s'\n[serve]\nthreads = 4\n")
    found = read_again(before)
    assert names(found.changed) == ["slots", "idle_timeout_s"]
    assert found.refused == []
    assert found.settings.value_of("threads") == 2
    assert (found.settings.limits.slots, found.settings.limits.idle_timeout_s) == (256, 7.0)
    (slots, idle) = found.differences
    assert (slots.before.value, slots.after.value) == (8, 256)
    assert idle.after.place == f"{file}:4"
    assert read_again(found.values).differences == []


def test_what_must_not_change_stays_and_is_reported(file: pathlib.Path) -> None:
    """Also if other options that must not change now exclude it."""
    before = start(file, "[serve]\nport = 1\n[limits]\nslots = 8\n")
    file.write_text("[serve]\nuds = 's'\nuds_mode = '0660'\n[limits]\nslots = 9\nbacklog = 3\n")
    found = read_again(before)
    assert names(found.changed) == ["slots"]
    assert names(found.refused) == ["port", "uds", "uds_mode", "backlog"]
    settings = found.settings
    assert (settings.port, settings.uds, settings.uds_mode) == (1, None, 0o600)
    assert (settings.limits.slots, settings.limits.backlog) == (9, 1024)
    again = read_again(found.values)
    assert names(again.refused) == ["port", "uds", "uds_mode", "backlog"]
    assert names(again.changed) == []
    file.write_text("[serve]\nport = 1\n[limits]\nslots = 9\n")
    assert read_again(again.values).differences == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[serve]\nprot = 1\n", "{file}:2: [serve] prot is no key"),
        ("[limits]\nslots = 0\n", "{file}:2: slots is 0"),
        ("[serve]\nuds_mode = '0660'\nprocessor = 'none:X'\n", "{file}:2"),
        ("[serve]\nssl_keyfile = 'x'\n", "ssl_keyfile ({file}:2) without ssl_certfile"),
        ("[serve", "{file}:1: it is not TOML"),
        (None, "--config {file}: No such file or directory"),
    ],
)
def test_bad_file_raises_and_changes_nothing(
    file: pathlib.Path, text: str | None, part: str
) -> None:
    """The one before can be read again once the file is right."""
    before = start(file, "[limits]\nslots = 8\n")
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_again(before)
    assert part.format(file=file) in str(caught.value)
    file.write_text("[limits]\nslots = 8\n")
    assert read_again(before).differences == []


def test_value_that_yielded_at_the_start_yields_again(file: pathlib.Path) -> None:
    """The flag is still there."""
    before = start(file, "[serve]\nport = 1\n", uds="s")
    file.write_text("[serve]\nport = 2\n")
    found = read_again(before)
    assert found.differences == []
    assert found.settings.uds == "s"


def test_without_a_file_nothing_differs() -> None:
    """Certificates may; they are in the settings."""
    found = read_again([default_of(row) for row in OPTIONS])
    assert found.differences == []
    assert found.settings.port == 9090


def test_what_must_not_change_belongs_together() -> None:
    """Else the values before and the new ones could contradict each other."""
    for row in OPTIONS:
        related = {*row.excludes, row.needs} - {""}
        assert not related or (row.name in FIXED) is (related <= FIXED)
        assert row.name in FIXED or not related & FIXED
    assert all(option_named(name) for name in FIXED)


def test_a_pipe_is_not_read_again(file: pathlib.Path) -> None:
    """It would block for as long as nobody writes, or give all options their defaults."""
    before = start(file, "[limits]\nslots = 8\n")
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(SettingsError, match="it is no regular file, so it cannot be read again"):
        read_again(before)
