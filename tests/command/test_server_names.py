"""server_names: the name that a client sends leads to a certificate, or to the default."""

import ssl
from typing import Any

import pytest

from asyncrev.command.server_names import ByName

FIRST, SECOND, THIRD = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(3))
BY_NAME = ByName(
    [
        (FIRST, ["a.test", "*.wild.test"]),
        (SECOND, ["b.test", "a.test", "special.wild.test"]),
        (THIRD, ["*.b.test", "localhost"]),
    ]
)


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("a.test", FIRST),
        ("b.test", SECOND),
        ("B.Test.", SECOND),
        ("x.wild.test", FIRST),
        ("special.wild.test", SECOND),
        ("x.b.test", THIRD),
        ("localhost", THIRD),
        ("x.y.wild.test", None),
        ("wild.test", None),
        (".wild.test", None),
        (".wild.test.extra", None),
        ("test", None),
        ("", None),
    ],
)
def test_name_leads_to_the_first_certificate_that_has_it(
    name: str, context: ssl.SSLContext | None
) -> None:
    """A whole name before a wildcard, which stands for one label; case means nothing."""
    assert BY_NAME.find(name) is context


class Connection:
    """The one attribute of an SSLObject that is set."""

    context: Any = FIRST


@pytest.mark.parametrize(
    ("name", "context"), [(None, FIRST), ("nowhere.test", FIRST), ("b.test", SECOND)]
)
def test_connection_keeps_the_default_without_a_known_name(
    name: str | None, context: ssl.SSLContext
) -> None:
    """The callback returns None: anything else would be an alert."""
    connection: Any = Connection()
    answer: Any = BY_NAME(connection, name, FIRST)  # type: ignore[func-returns-value]
    assert answer is None
    assert connection.context is context


def test_contexts_that_no_name_leads_to_are_known() -> None:
    """The default needs no name."""
    assert BY_NAME.unreachable == []
    contexts = [(FIRST, []), (SECOND, ["a"]), (THIRD, ["a"]), (FIRST, [])]
    assert ByName(contexts[:3]).unreachable == [2]
    assert ByName([(FIRST, []), (SECOND, [])]).unreachable == [1]
