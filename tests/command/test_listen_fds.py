"""listen_fds: what systemd has passed, and what of it is chosen."""

import os
import socket
from collections.abc import Iterator

import pytest

from asyncrev.command import listen_fds
from asyncrev.command.listen_fds import ListenSockets, PassedSocket, take_sockets
from asyncrev.command.option_values import OptionValue, Source
from asyncrev.command.options import option_named
from asyncrev.errors import LocalError, SettingsError

LISTEN_PID = str(os.getpid())


@pytest.fixture
def first_fd(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Two inheritable descriptors in a row, in place of 3 and 4; return the first."""
    with socket.socket() as some:
        fd = 300
        os.dup2(some.fileno(), fd)
        os.dup2(some.fileno(), fd + 1)
    monkeypatch.setattr(listen_fds, "FIRST_FD", fd)
    yield fd
    os.close(fd)
    os.close(fd + 1)


def given(**values: object) -> list[OptionValue]:
    """Return option values of a command line."""
    return [
        OptionValue(option_named(name), value, Source.COMMAND_LINE)
        for name, value in values.items()
    ]


def passed(number: int = 2, names: str = "web:admin", pid: str = LISTEN_PID) -> dict[str, str]:
    return {"LISTEN_FDS": str(number), "LISTEN_PID": pid, "LISTEN_FDNAMES": names, "OTHER": "1"}


def test_without_variables_nothing_is_inherited() -> None:
    environ = {"OTHER": "1"}
    assert take_sockets(environ, given()) == ListenSockets()
    assert take_sockets(environ, given(fd=7)) == ListenSockets(fd=7)
    assert take_sockets({"LISTEN_FDS": "0", "LISTEN_PID": LISTEN_PID}, []) == ListenSockets()
    assert take_sockets({"LISTEN_PID": LISTEN_PID}, []) == ListenSockets()
    assert environ == {"OTHER": "1"}


def test_all_are_taken_and_the_variables_are_removed(first_fd: int) -> None:
    """They are not inherited by children any more."""
    environ = passed() | {"LISTEN_PIDFDID": "1"}
    found = take_sockets(environ, given())
    assert found.activated == (PassedSocket(first_fd, "web"), PassedSocket(first_fd + 1, "admin"))
    assert (found.fd, found.warnings) == (None, ())
    assert environ == {"OTHER": "1"}
    assert not os.get_inheritable(first_fd)
    assert not os.get_inheritable(first_fd + 1)


@pytest.mark.parametrize("names", ["", "web", "web:"])
def test_names_that_are_missing_are_unknown(first_fd: int, names: str) -> None:
    found = take_sockets(passed(names=names), given()).activated
    assert found[1].name == "unknown"
    assert found[0].name == (names.rstrip(":") or "unknown")


@pytest.mark.parametrize(
    ("fd", "numbers"), [("web", [0]), ("admin", [1]), ("both", []), (301, [1]), (300, [0])]
)
def test_fd_chooses_by_name_or_number(first_fd: int, fd: str | int, numbers: list[int]) -> None:
    if fd == "both":
        found = take_sockets(passed(names="both:both"), given(fd=fd))
        assert [one.fd for one in found.activated] == [first_fd, first_fd + 1]
        assert found.warnings == ()
        return
    found = take_sockets(passed(), given(fd=fd))
    assert [one.fd - first_fd for one in found.activated] == numbers
    (warning,) = found.warnings
    other = 1 - numbers[0]
    assert f"{first_fd + other} ({('web', 'admin')[other]!r})" in warning


def test_other_descriptor_beside_those_of_systemd_is_not_activated(first_fd: int) -> None:
    """It may have no other owner, so a drain accepts its queue."""
    found = take_sockets(passed(), given(fd=7))
    assert (found.fd, found.activated) == (7, ())
    assert "not listened on" in found.warnings[0]


@pytest.mark.parametrize("pid", ["1", ""])
def test_descriptors_for_another_process_are_left_alone(first_fd: int, pid: str) -> None:
    """With a warning, because the service listens elsewhere then."""
    environ = passed(pid=pid)
    found = take_sockets(environ, given(port=80))
    assert (found.fd, found.activated) == (None, ())
    assert "LISTEN_FDS is ignored" in found.warnings[0]
    assert environ == {"OTHER": "1"}
    assert os.get_inheritable(first_fd)


@pytest.mark.parametrize("name", ["host", "port", "uds"])
def test_address_beside_them_is_refused(first_fd: int, name: str) -> None:
    with pytest.raises(SettingsError, match=f"--{name}: systemd has passed sockets, too") as caught:
        take_sockets(passed(), given(**{name: "x"}))
    assert f"{first_fd} ('web'), {first_fd + 1} ('admin')" in str(caught.value)


def test_name_that_no_socket_has_is_refused(first_fd: int) -> None:
    with pytest.raises(SettingsError, match=r"--fd 'nope': .* has passed 300 \('web'\), 301"):
        take_sockets(passed(), given(fd="nope"))
    with pytest.raises(SettingsError, match="LISTEN_FDS has passed none"):
        take_sockets({}, given(fd="nope"))


@pytest.mark.parametrize("text", ["x", "-1", "1e3", "٣", "9" * 10])
@pytest.mark.parametrize("name", ["LISTEN_FDS", "LISTEN_PID"])
def test_value_that_is_no_number_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is .*; it must be a whole number"):
        take_sockets(passed() | {name: text}, given())


def test_descriptor_that_is_not_open_is_refused(first_fd: int) -> None:
    with pytest.raises(LocalError, match="descriptors 300 to 302 must be open, but 302 is not"):
        take_sockets(passed(number=3), given())
