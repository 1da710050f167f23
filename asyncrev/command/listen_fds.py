"""The listening sockets that systemd passes: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES.

See sd_listen_fds(3). The variables are removed from the environment and the descriptors become
close-on-exec, so that no child takes what is not for it.
"""

import dataclasses
import os
from collections.abc import MutableMapping, Sequence

from asyncrev.command.option_values import OptionValue
from asyncrev.errors import LocalError, SettingsError

__all__ = ["ListenSockets", "PassedSocket", "take_sockets"]

FIRST_FD = 3  # SD_LISTEN_FDS_START
UNNAMED = "unknown"  # as systemd calls a descriptor whose name is not passed

# With LISTEN_PIDFDID of systemd 258, which says the same as LISTEN_PID.
VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


@dataclasses.dataclass(frozen=True, slots=True)
class PassedSocket:
    """A descriptor of LISTEN_FDS; whether it is a listening socket is checked where it is used.

    Attributes:
        fd: its number.
        name: its name: FileDescriptorName=, by default the name of the socket unit.
    """

    fd: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.fd} ({self.name!r})"


@dataclasses.dataclass(frozen=True, slots=True)
class ListenSockets:
    """The inherited sockets that a server listens on.

    Attributes:
        fd: a descriptor that is not systemd's, or None.
        activated: those of systemd, which goes on listening when this process ends.
        warnings: what to log.
    """

    fd: int | None = None
    activated: tuple[PassedSocket, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_given(self) -> bool:
        """Whether there is one."""
        return self.fd is not None or bool(self.activated)


def take_sockets(environ: MutableMapping[str, str], values: Sequence[OptionValue]) -> ListenSockets:
    """Return the inherited sockets to listen on; remove the variables from `environ`.

    Without `--fd` these are all that systemd has passed; with it, the one of that number or those
    of that name. Descriptors that are for another process are left alone. Thread: main, before
    another thread starts a child.

    Raises:
        SettingsError: LISTEN_FDS or LISTEN_PID is no number, an address is given, too, or no socket
            has the name that was given.
        LocalError: a descriptor is not open.
    """
    passed, ignored = _take_passed(environ)
    fd, activated, unused = _choose(values, passed)
    return ListenSockets(fd, activated, ignored + unused)


def _take_passed(
    environ: MutableMapping[str, str],
) -> tuple[tuple[PassedSocket, ...], tuple[str, ...]]:
    """Return what systemd has passed to this process, and warnings."""
    taken = {name: environ.pop(name, "") for name in VARIABLES}
    if not taken["LISTEN_FDS"]:
        return (), ()
    number = _number("LISTEN_FDS", taken["LISTEN_FDS"])
    if not taken["LISTEN_PID"]:
        return (), ("LISTEN_FDS is ignored, because LISTEN_PID is not set",)
    if (pid := _number("LISTEN_PID", taken["LISTEN_PID"])) != os.getpid():
        return (), (
            f"LISTEN_FDS is ignored: it is for process {pid}, and this is {os.getpid()}; start "
            "asyncrev itself, or by exec, so that it has the process that systemd started",
        )
    names = dict(enumerate(taken["LISTEN_FDNAMES"].split(":"), FIRST_FD))
    passed = []
    for fd in range(FIRST_FD, FIRST_FD + number):
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            raise LocalError(
                f"LISTEN_FDS is {number}, so descriptors {FIRST_FD} to {FIRST_FD + number - 1} "
                f"must be open, but {fd} is not: {error.strerror}"
            ) from None
        passed.append(PassedSocket(fd, names.get(fd) or UNNAMED))
    return tuple(passed), ()


def _choose(
    values: Sequence[OptionValue], passed: Sequence[PassedSocket]
) -> tuple[int | None, tuple[PassedSocket, ...], tuple[str, ...]]:
    """Return the descriptor of `--fd`, or the sockets of systemd to listen on, and warnings."""
    given = {value.option.name: value for value in values if value.is_given}
    addresses = [given[name].origin for name in ("host", "port", "uds") if name in given]
    if not passed and "fd" not in given:
        return None, (), ()
    told = ", ".join(map(str, passed))
    if "fd" not in given:
        if addresses:
            raise SettingsError(
                f"{' and '.join(addresses)}: systemd has passed sockets, too: LISTEN_FDS is "
                f"{len(passed)}, {told}; leave out the address, or the socket unit"
            )
        return None, tuple(passed), ()
    wanted = given["fd"].value
    chosen = tuple(one for one in passed if wanted in (one.fd, one.name))
    if not chosen and isinstance(wanted, str):
        raise SettingsError(
            f"{given['fd'].origin} {wanted!r}: no socket has that name; "
            + (f"systemd has passed {told}" if passed else "LISTEN_FDS has passed none")
        )
    left = ", ".join(str(one) for one in passed if one not in chosen)
    warnings = (f"not listened on, of what systemd has passed: {left}",) if left else ()
    return (wanted, (), warnings) if not chosen else (None, chosen, warnings)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise SettingsError(f"{name} is {text!r} (of the environment); it must be a whole number")
    return int(text)
