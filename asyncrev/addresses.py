"""HOST:PORT as text: what the parsers of addresses have in common. Pure."""

from asyncrev.errors import SettingsError

__all__ = ["port_number", "split_host_port"]


def split_host_port(text: str, named: str, example_port: int) -> tuple[str, str, str]:
    """Return host, colon and port of `text`; what is missing is empty. Thread: any.

    `named`: what messages call it. An IPv6 address is in brackets, which are taken off.

    Raises:
        SettingsError: an IPv6 address is not in brackets.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise SettingsError(f"{named}: put an IPv6 address in brackets, as [::1]:{example_port}")
    return host, colon, port


def port_number(port: str, named: str, least: int = 1) -> int:
    """Return the number of a port, at least `least`. Thread: any.

    Raises:
        SettingsError: it is none.
    """
    # Of longer ones `int` would refuse thousands of digits with an error of its own.
    if not (port.isascii() and port.isdigit() and least <= int(port[:6]) <= 65535):
        raise SettingsError(f"{named}: the port must be a number from {least} to 65535")
    return int(port)
