"""Connections to the target: TCP or UNIX, with or without TLS."""

import contextlib
import resource
import socket
import ssl

from asyncrev.bench.plan import Plan
from asyncrev.errors import LocalError, SettingsError

__all__ = ["ConnectError", "Connector", "allow_descriptors"]

_BESIDE = 32  # descriptors that the program uses otherwise


class ConnectError(LocalError):
    """A connection to the target could not be opened."""


class Connector:
    """Opens connections, one after another. Thread: one at a time."""

    def __init__(self, plan: Plan) -> None:
        """Prepare for the target of `plan`.

        Raises:
            SettingsError: the certificates to trust cannot be read.
        """
        self._plan = plan
        self._context = _tls_context(plan) if plan.tls else None
        self._address: tuple[str, int] = (plan.host, plan.port)

    def connect(self) -> socket.socket:
        """Return a new non-blocking connection, after its TLS handshake.

        Raises:
            ConnectError: it could not be opened within the time limit; says why.
        """
        plan = self._plan
        try:
            sock = self._connected()
        except (OSError, UnicodeError) as error:
            why = "timed out" if isinstance(error, TimeoutError) else _reason(error)
            raise ConnectError(f"cannot connect to {plan.target}: {why}") from None
        if self._context is not None:
            name = plan.server_hostname or (plan.host if plan.path is None else None)
            try:
                sock = self._context.wrap_socket(sock, server_hostname=name)
            except (OSError, ValueError) as error:
                sock.close()
                why = "timed out" if isinstance(error, TimeoutError) else _tls_reason(error)
                raise ConnectError(f"TLS handshake with {plan.target}: {why}") from None
        sock.setblocking(False)
        return sock

    def _connected(self) -> socket.socket:
        plan = self._plan
        if plan.path is not None:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.settimeout(plan.timeout_s)
                sock.connect(plan.path)
            except BaseException:
                sock.close()
                raise
            return sock
        sock = socket.create_connection(self._address, plan.timeout_s)
        with contextlib.suppress(OSError):  # the next connections need no name service
            self._address = sock.getpeername()[:2]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def allow_descriptors(number: int) -> None:
    """Raise the soft limit of descriptors so that `number` connections can be opened.

    Raises:
        SettingsError: the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = number + _BESIDE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingsError(
            f"-c {number} connections in one process need {needed} descriptors, and the limit is "
            f"{hard}; raise it with ulimit -n, or give fewer connections or more --processes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _tls_context(plan: Plan) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=plan.ca_certs)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"--ca-certs {plan.ca_certs}: {_reason(error)}") from None
    if plan.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif plan.path is not None and plan.server_hostname is None:
        raise SettingsError(
            "a UNIX socket has no host name to compare the certificate with; give "
            "--server-hostname, or --insecure"
        )
    return context


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _tls_reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"{error.verify_message}; give --ca-certs or --server-hostname, or --insecure to leave "
            "the certificate unchecked"
        )
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return _reason(error)
