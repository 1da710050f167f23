"""Where the admin endpoint listens, as --admin says it."""

import dataclasses

from asyncrev.addresses import port_number, split_host_port
from asyncrev.errors import SettingsError

__all__ = ["AdminAddress", "parse_admin_address"]

_UNIX = "unix:"


@dataclasses.dataclass(frozen=True, slots=True)
class AdminAddress:
    """A path, or host and port.

    Attributes:
        path: of a UNIX socket, or None.
        host, port: without a path; port 0 takes a free one.
    """

    path: str | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}" if self.path is not None else f"{self.host}:{self.port}"


def parse_admin_address(text: str | None) -> AdminAddress | None:
    """Return what `text` names; None for None.

    Raises:
        SettingsError: it names nothing to listen on.
    """
    if text is None:
        return None
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path:
            raise SettingsError(f"--admin {text!r} names no path; give unix:PATH")
        return AdminAddress(path=path)
    named = f"--admin {text!r}"
    host, colon, port = split_host_port(text, named, 9190)
    if not colon or not host:
        raise SettingsError(
            f"--admin {text!r} is no address; give unix:PATH, or HOST:PORT as 127.0.0.1:9190"
        )
    return AdminAddress(host=host, port=port_number(port, named, 0))
