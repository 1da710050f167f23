"""What TLS a connection speaks, checked where it is given; and how a processor asks for it."""

import dataclasses
import ssl

from asyncrev.errors import SettingsError

__all__ = ["StartTls", "TlsParameters"]


@dataclasses.dataclass(frozen=True)
class TlsParameters:
    """What TLS a connection speaks. Thread: any.

    Attributes:
        context: shared by connections; nobody changes it any more.
        server_hostname: of a client: the name that the server's certificate must have.
    """

    context: ssl.SSLContext
    server_hostname: str | None = None

    def __post_init__(self) -> None:
        """Check that they fit together.

        Raises:
            SettingsError: the context is none, or of neither side, or lacks, or has no use for, a
                name.
        """
        if not isinstance(self.context, ssl.SSLContext):
            raise SettingsError(f"tls is {self.context!r}; it must be an ssl.SSLContext")
        protocol = self.context.protocol
        if protocol not in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
            raise SettingsError(
                f"tls is a context of {protocol!r}; it must be one of PROTOCOL_TLS_SERVER or "
                "PROTOCOL_TLS_CLIENT, as ssl.create_default_context makes them"
            )
        if self.server_side and self.server_hostname is not None:
            raise SettingsError(
                f"server_hostname is {self.server_hostname!r}, but tls is a server's context; only "
                "clients check a name"
            )
        if self.context.check_hostname and not (self.server_side or self.server_hostname):
            raise SettingsError(
                "the context of tls checks the server's name; give server_hostname, or set its "
                "check_hostname to False"
            )
        name = self.server_hostname
        if name is not None and not _is_host_name(name):
            raise SettingsError(
                f"server_hostname is {name!r}; it must be a name, as the certificate has it"
            )

    @property
    def server_side(self) -> bool:
        """Whether this side is the server; else it begins the handshake."""
        return self.context.protocol == ssl.PROTOCOL_TLS_SERVER


def _is_host_name(name: str) -> bool:
    """Return whether `ssl` takes `name`."""
    try:
        return bool(name.encode("idna")) and not name.startswith(".") and "\0" not in name
    except UnicodeError:  # a label is empty, or longer than 63 bytes
        return False


class StartTls:
    """What `process` returns to have TLS spoken from here on, as STARTTLS of SMTP and IMAP does.

    `reply` goes out first, as any reply does, and the handshake comes next. Bytes that the peer has
    sent behind what was processed are taken for the handshake, never for input: text that somebody
    slipped in before TLS began is not processed as if TLS had protected it (CVE-2011-0411). Without
    framing the processor has such bytes already, at the end of its chunk: it must drop them, and
    whatever else it keeps for later.

    When the handshake is complete, `connected` is called again, with what TLS has negotiated; the
    processor stays the same object. A processor that returns this declares it by a true attribute
    `may_start_tls` of the class, factory or function that was given: connections then count with
    the memory that TLS needs. A method for many frames at once cannot
    return this.

    Attributes:
        reply: bytes-like, or None for none.
        parameters: what TLS to speak.
    """

    __slots__ = ("parameters", "reply")

    def __init__(
        self,
        tls: ssl.SSLContext,
        reply: bytes | bytearray | memoryview | None = None,
        *,
        server_hostname: str | None = None,
    ) -> None:
        """Ask for TLS with the context `tls`, as server or client, whichever it is made for.

        `server_hostname`: with a client's context, the name that the server's certificate must
        have. Thread: any.

        Raises:
            SettingsError: they do not fit together.
        """
        self.parameters = TlsParameters(tls, server_hostname)
        self.reply = reply
