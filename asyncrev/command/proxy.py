"""The PROXY protocol, as options ask for it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asyncrev.errors import SettingsError

if TYPE_CHECKING:
    from asyncrev.server.proxy_protocol import ProxyProtocol

__all__ = ["make_proxy"]


def make_proxy(version: str, trusted: Sequence[str], timeout_s: float) -> "ProxyProtocol | None":
    """Return from whom to read PROXY headers, or None. Thread: main.

    Args:
        version: "off", "v1", "v2" or "any".
        trusted: addresses, networks and "unix", each text one or several with commas between them.
        timeout_s: in which a header must be complete.

    Raises:
        SettingsError: a value cannot be used; names the option.
    """
    if version == "off":
        return None
    if not trusted:
        raise SettingsError(
            f"--proxy-protocol {version} without --proxy-from; give the addresses of the proxies, "
            "because whoever sends a header can claim any address in it"
        )
    from asyncrev.server.proxy_protocol import ProxyProtocol  # imports ipaddress: few need it

    listed = tuple(word.strip() for text in trusted for word in text.split(","))
    try:
        return ProxyProtocol(version=version, trusted=listed, timeout_s=timeout_s)
    except SettingsError as error:
        name = "--proxy-timeout-s" if str(error).startswith("timeout_s") else "--proxy-from"
        raise SettingsError(f"{name}: {error}") from None
