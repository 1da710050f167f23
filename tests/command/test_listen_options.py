"""listen_options: which sockets, and what errors call them."""

import os
import socket

import pytest

from asyncrev.command.listen_fds import ListenSockets, PassedSocket
from asyncrev.command.listen_options import names_of, naming, passed_sockets
from asyncrev.errors import LocalError, SettingsError

SYSTEMD = ListenSockets(activated=(PassedSocket(3, "web"),))


@pytest.mark.parametrize(
    ("given", "uds", "names"),
    [
        (ListenSockets(), None, "--host 'here', --port"),
        (ListenSockets(), "/s", "--uds"),
        (ListenSockets(fd=7), None, "--fd"),
        (SYSTEMD, None, "LISTEN_FDS"),
    ],
)
def test_address_is_called_by_the_options_that_gave_it(
    given: ListenSockets, uds: str | None, names: str
) -> None:
    assert names_of(given, uds, "here") == names


def test_passed_sockets_are_those_of_systemd_or_of_the_option() -> None:
    assert passed_sockets(ListenSockets()) == []
    with socket.create_server(("127.0.0.1", 0)) as one:
        for given in (
            ListenSockets(fd=os.dup(one.fileno())),
            ListenSockets(activated=(PassedSocket(os.dup(one.fileno()), "web"),)),
        ):
            (found,) = passed_sockets(given)
            with found:
                assert found.getsockname() == one.getsockname()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(98, "Address already in use"), "--uds: Address already in use"),
        (LocalError("somebody else's"), "--uds: somebody else's"),
        (SettingsError("no name"), "--uds: no name"),
    ],
)
def test_errors_keep_their_type_and_number(error: Exception, expected: str) -> None:
    """And begin with the names."""
    with pytest.raises(type(error)) as caught, naming("--uds"):
        raise error
    assert type(caught.value) is type(error)
    assert expected in str(caught.value)
    if isinstance(error, OSError):
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == 98


def test_other_errors_pass() -> None:
    """They are no fault of the options."""
    with pytest.raises(ZeroDivisionError, match=r"^$"), naming("--uds"):
        raise ZeroDivisionError
