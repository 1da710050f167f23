"""A connection of `asyncrev send` over TLS, and its context.

Thread: one. No method waits but `shake_hands`.
"""

import select
import socket
import ssl
import time

from asyncrev.command.send_connection import CannotConnect, Connection, NoAnswer, poll_once
from asyncrev.errors import RemoteError, SettingsError

__all__ = ["TlsConnection", "shake_hands", "tls_context"]

_FETCH_BYTES = 64 * 1024
_RECORD_BYTES = 16 * 1024  # the most that a record of TLS has (RFC 8446, 5.1)


class TlsConnection(Connection):
    """The same over TLS.

    OpenSSL gets the bytes by way of memory: only so can it be known that nothing is left to read,
    and a close_notify that is sent while a reply is there would lose the reply (SSL_shutdown(3)).
    """

    ends_input = False

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str | None) -> None:
        """Begin before the handshake.

        Raises:
            ValueError: no certificate can have this host.
        """
        super().__init__(sock)
        self._arrived, self._made = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._made, server_hostname=host)
        self._unsent = memoryview(b"")
        self._is_half_closed = False

    @property
    def has_unsent(self) -> bool:  # type: ignore[override]
        """See `Connection`."""
        return bool(self._unsent or self._made.pending)

    def advance_handshake(self) -> int:
        """Go on with the handshake; return the event to poll for, 0 if it is complete.

        Raises:
            OSError: the connection is reset, or TLS fails (`ssl.SSLError`).
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                if self.has_unsent:
                    return select.POLLOUT
                if not self._fetch():
                    return select.POLLIN
            except ssl.SSLError:
                self.flush()  # the alert
                raise
            else:
                self.flush()
                return 0

    def _fetch(self) -> bool:
        """Take what has arrived; return False if there is nothing."""
        wire = super().receive(_FETCH_BYTES)
        if wire is None:
            return False
        if wire:
            self._arrived.write(wire)
        else:
            self._arrived.write_eof()
        return True

    def receive(self, most_bytes: int) -> bytes | None:
        """Return decrypted bytes; see `Connection.receive`."""
        while True:
            try:
                return self._tls.read(most_bytes)
            except ssl.SSLWantReadError:
                self.flush()  # an answer to a message of TLS itself
                if not self._fetch():
                    return None
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError:
                if self._is_half_closed:
                    return b""  # many peers answer close_notify with FIN alone
                raise RemoteError(
                    "the server ended the connection without close_notify, so the reply may be "
                    "truncated"
                ) from None
            except ssl.SSLError as error:
                raise RemoteError(_tls_error(error)) from None

    def send(self, data: memoryview) -> int:
        """Encrypt and send; see `Connection.send`. At most a record is held unsent."""
        self.flush()
        if self.has_unsent:
            return 0
        try:
            nbytes = self._tls.write(data[:_RECORD_BYTES])
        except ssl.SSLError as error:
            raise RemoteError(_tls_error(error)) from None
        self.flush()
        return nbytes

    def flush(self) -> bool:
        """Send what is encrypted; see `Connection.flush`."""
        moved = False
        while self.has_unsent:
            if not self._unsent:
                self._unsent = memoryview(self._made.read())
            nbytes = super().send(self._unsent)
            if not nbytes:
                break
            moved = True
            self._unsent = self._unsent[nbytes:]
        return moved

    def half_close(self) -> bool:
        """Send close_notify. asyncrev goes on to reply then; most other servers close."""
        if self._arrived.pending or self._tls.pending():
            return False
        self._is_half_closed = True
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # SSLWantReadError: the peer's close_notify is still to come
        self.flush()
        return True


def _tls_error(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is refused: {error.verify_message}; name its authority with "
            "--ca-certs, its host with --server-hostname, or give --insecure"
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    hint = "; does the server serve TLS on this port?" if "wrong version" in reason else ""
    return f"TLS failed: {reason}{hint}"


def tls_context(*, insecure: bool, ca_certs: str | None) -> ssl.SSLContext:
    """Return the context of a client.

    Raises:
        SettingsError: `ca_certs` is no file with certificates.
    """
    context = ssl.create_default_context()
    context.options |= ssl.OP_NO_RENEGOTIATION  # with it, sending never waits for input
    if ca_certs is not None:
        try:
            context.load_verify_locations(ca_certs)
        except ssl.SSLError:
            raise SettingsError(f"--ca-certs {ca_certs!r} has no certificate (PEM)") from None
        except OSError as error:
            raise SettingsError(f"--ca-certs {ca_certs!r}: {error.strerror}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def shake_hands(connection: TlsConnection, timeout_s: float) -> None:
    """Wait until the handshake is complete.

    Raises:
        CannotConnect: it fails; the message says what to do.
        NoAnswer: it is not complete after `timeout_s`.
    """
    end_s = time.monotonic() + timeout_s
    try:
        while events := connection.advance_handshake():
            if not poll_once({connection.fileno(): events}, end_s - time.monotonic()):
                raise NoAnswer(
                    f"the server did not complete the TLS handshake within {timeout_s:g} s "
                    "(--timeout-s); does it serve TLS on this port?"
                )
    except ssl.SSLError as error:
        raise CannotConnect(_tls_error(error)) from None
    except OSError as error:
        raise CannotConnect(f"the TLS handshake failed: {error.strerror}") from None
