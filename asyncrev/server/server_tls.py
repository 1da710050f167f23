"""The TLS of one server: the context of connections that are made from now on."""

import ssl as ssl_module

from asyncrev.certificates import Certificate, certificate_of_context
from asyncrev.errors import LocalError, SettingsError
from asyncrev.server.full_notice import FullNotice
from asyncrev.server.handshake_entrance import HandshakeGates
from asyncrev.statistics import HandshakeStatistics
from asyncrev.work.tls_parameters import TlsParameters

__all__ = ["ServerTls"]


class ServerTls:
    """Which context a server's connections use. All methods: the loop's thread.

    Attributes:
        context: that of connections that are made from now on; None without TLS. Contexts are
            swapped, never changed: workers use them meanwhile.
        gates: limit the handshakes; None without TLS.
        parameters: what these connections are given: that context, checked once for all.
    """

    def __init__(
        self,
        context: ssl_module.SSLContext | None,
        *,
        most_handshakes: int = 1,
        workers: int = 1,
    ) -> None:
        """Begin with `context`, of the server's side, and places for `most_handshakes` at once.

        `workers`: the server's threads for TLS and work.

        Raises:
            SettingsError: it is none, or of a client.
        """
        self.context: ssl_module.SSLContext | None = None
        self._notice = FullNotice(
            f"tls_handshakes_in_flight, which is {most_handshakes}",
            "further handshakes wait until one is over",
            "handshakes begin at once",
        )
        self.gates: HandshakeGates | None = None
        self.parameters: TlsParameters | None = None
        self._certificate: Certificate | None = None
        if context is not None:
            self._take(context)
            self.gates = HandshakeGates(most_handshakes, self._notice.see, workers=workers)

    def swap(self, context: ssl_module.SSLContext) -> None:
        """Use `context` for connections that are made from now on.

        Raises:
            LocalError: there was none before; clients would have to know that TLS begins.
            SettingsError: it is none, or of a client; then the one before stays.
        """
        if self.context is None:
            raise LocalError("this server has no TLS; give ssl= where the server is made")
        self._take(context)

    def close(self) -> None:
        """Log no more of the limit. Idempotent."""
        self._notice.close()

    def handshakes(self) -> HandshakeStatistics | None:
        """Return what is known of the handshakes; None without TLS."""
        if self.gates is None:
            return None
        gate = self.gates.within
        return HandshakeStatistics(
            within=gate.within,
            within_high=gate.within_high,
            waiting=gate.waiting,
            waiting_high=gate.waiting_high,
            waited=gate.waited,
        )

    def certificate_days_left(self) -> float | None:
        """Return the days until the certificate expires; negative once it has.

        It is that of clients that name no host. None without TLS, or if it cannot be seen.
        """
        return None if self._certificate is None else self._certificate.days_left()

    def _take(self, context: ssl_module.SSLContext) -> None:
        if getattr(context, "protocol", None) == ssl_module.PROTOCOL_TLS_CLIENT:
            raise SettingsError(
                "ssl is a client's context; a server needs one of PROTOCOL_TLS_SERVER, as "
                "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) makes it"
            )
        self.parameters = TlsParameters(context)  # checks the rest
        self.context = context
        try:
            self._certificate = certificate_of_context(context)
        except ValueError:
            self._certificate = None
