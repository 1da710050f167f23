"""The TLS context that certificate and key of the command line make."""

import ssl
from typing import NoReturn

from asyncrev.errors import SettingsError

__all__ = ["tls_context"]


def tls_context(certfile: str | None, keyfile: str | None) -> ssl.SSLContext | None:
    """Return a server's context with this certificate chain and key; None without a certificate.

    `keyfile`: None if the key is in `certfile`.

    Raises:
        SettingsError: a file cannot be read, or they are no certificate and key, or the key is
            encrypted; names the option.
    """
    if certfile is None:
        return None
    for name, path in (("--ssl-certfile", certfile), ("--ssl-keyfile", keyfile)):
        if path is not None:  # OpenSSL does not say which of them it means
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise SettingsError(f"{name} {path!r}: {error.strerror}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password)
    except OSError as error:  # ssl.SSLError is one
        key = "" if keyfile is None else f" --ssl-keyfile {keyfile!r}"
        raise SettingsError(
            f"--ssl-certfile {certfile!r}{key}: no certificate and key can be read from there: "
            f"{error.strerror or error}"
        ) from None
    return context


def _no_password() -> NoReturn:
    """Stand in for OpenSSL's question on the terminal, which nobody may see."""
    raise SettingsError("the private key is encrypted; give one that is not (openssl pkey -in ...)")
