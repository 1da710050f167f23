"""What TLS a connection speaks is checked where it is given."""

import ssl

import pytest

from asyncrev import StartTls
from asyncrev.errors import SettingsError
from asyncrev.work.tls_parameters import TlsParameters
from tests.tls_pair import client_context, server_context


def test_side_is_the_contexts() -> None:
    """Of an upgrade, too."""
    assert TlsParameters(server_context()).server_side
    assert not StartTls(client_context(), server_hostname="localhost").parameters.server_side
    start = StartTls(server_context(), b"go")
    assert start.parameters == TlsParameters(server_context())
    assert (start.reply, StartTls(server_context()).reply) == (b"go", None)


@pytest.mark.parametrize(
    ("context", "name", "text"),
    [
        (None, None, "must be an ssl.SSLContext"),
        (server_context(), "localhost", "only clients check a name"),
        (client_context(), None, "give server_hostname"),
        (client_context(), ".localhost", "must be a name"),
        (client_context(), "a..example", "must be a name"),
        (client_context(), "x" * 64 + ".example", "must be a name"),
        (client_context(), "a\0.example", "must be a name"),
    ],
)
def test_what_does_not_fit_is_refused(context: ssl.SSLContext, name: str | None, text: str) -> None:
    """In words, and at once."""
    with pytest.raises(SettingsError, match=text):
        TlsParameters(context, name)
    with pytest.raises(SettingsError, match=text):
        StartTls(context, b"go", server_hostname=name)


def test_context_of_neither_side_is_refused() -> None:
    """As old programs make them."""
    with pytest.warns(DeprecationWarning, match="PROTOCOL_TLS"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS)
    with pytest.raises(SettingsError, match="PROTOCOL_TLS_SERVER or"):
        StartTls(context)
