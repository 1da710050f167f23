"""Where `asyncrev send` connects to, and which of its arguments says so."""

import dataclasses
import re

from asyncrev.addresses import port_number, split_host_port
from asyncrev.errors import SettingsError

__all__ = ["DEFAULT_ADDRESS", "SendAddress", "address_and_data", "parse_send_address"]

_UNIX = "unix:"
_LIKE_AN_ADDRESS = re.compile(r"unix:.*|\S*:\d+", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class SendAddress:
    """A path, or host and port.

    Attributes:
        path: of a UNIX socket, or None.
        host, port: without a path.
    """

    path: str | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


DEFAULT_ADDRESS = SendAddress(host="127.0.0.1", port=9090)  # where `serve` listens by default


def address_and_data(arguments: tuple[str, ...]) -> tuple[SendAddress, str | None]:
    """Return the address and the data in up to two arguments; the data is None for stdin.

    A single argument is an address if it is written as one: unix:PATH, HOST:PORT or :PORT.

    Raises:
        SettingsError: there are more than two, or the first of two is no address.
    """
    if len(arguments) > 2:
        raise SettingsError(
            f"{len(arguments)} arguments are given; give at most an address and the data, and put "
            "data with spaces in quotes"
        )
    if len(arguments) == 2:
        return parse_send_address(arguments[0]), _data(arguments[1])
    if arguments and not _LIKE_AN_ADDRESS.fullmatch(arguments[0]):
        return DEFAULT_ADDRESS, _data(arguments[0])
    return (parse_send_address(arguments[0]) if arguments else DEFAULT_ADDRESS), None


def _data(argument: str) -> str | None:
    return None if argument == "-" else argument


def parse_send_address(text: str) -> SendAddress:
    """Return what `text` names.

    Raises:
        SettingsError: it names nothing to connect to.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path:
            raise SettingsError(f"address {text!r} names no path; give unix:PATH")
        if "\0" in path:
            raise SettingsError(f"address {text!r} contains a null character; no path may")
        return SendAddress(path=path)
    named = f"address {text!r}"
    host, colon, port = split_host_port(text, named, 9090)
    if not colon:
        raise SettingsError(
            f"{text!r} is no address; give unix:PATH, or HOST:PORT as 127.0.0.1:9090"
        )
    return SendAddress(host=host or DEFAULT_ADDRESS.host, port=port_number(port, named))
