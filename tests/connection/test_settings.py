"""settings: what users give is checked, and what a connection does by it is decided, once."""

from collections.abc import Callable
from typing import Any

import pytest

from asyncrev import Limits, Reverse
from asyncrev.connection.settings import ConnectionSettings, checked_settings
from asyncrev.errors import SettingsError
from asyncrev.frames.registry import FRAMINGS
from asyncrev.work.tls_parameters import TlsParameters
from tests.netstring import Netstring
from tests.tls_pair import client_context, server_context

LIMITS = Limits(max_connections=100)
NETSTRING = Netstring()


def server_tls() -> TlsParameters:
    """What a server's connection speaks."""
    return TlsParameters(server_context())


def client_tls() -> TlsParameters:
    """What a client's connection speaks."""
    return TlsParameters(client_context(), "localhost")


def no_tls() -> None:
    """What most connections speak."""


def checked(
    processor: Any = Reverse,
    framing: Any = "raw",
    *,
    limits: Limits = LIMITS,
    tls: TlsParameters | None = None,
) -> ConnectionSettings:
    """Return the settings of connections on a bridge with the same limits."""
    return checked_settings(processor, framing, limits, limits, tls)


class Greeting(Reverse):
    """A processor that is told of its peer."""

    def connected(self, info: object) -> bytes:
        """Greet."""
        return b"hello"


def declaring(base: Any = Reverse, **attributes: bool) -> Any:
    """Return a class that declares this."""
    return type("Declaring", (base,), attributes)


def function(**attributes: bool) -> Callable[[bytes], bytes]:
    """Return a function that declares this."""

    def reverse(data: bytes) -> bytes:
        return data[::-1]

    reverse.__dict__.update(attributes)
    return reverse


def test_settings_have_what_was_given_in_the_form_that_connections_use() -> None:
    """A class is its own factory, a name becomes its grammar, limits and TLS stay what they are."""
    tls, longer = server_tls(), Limits(slots=512)
    settings = checked_settings(Reverse, "line", LIMITS, longer, tls)
    assert settings.factory is Reverse
    assert settings.framing is FRAMINGS["line"]
    assert settings.limits is LIMITS
    assert settings.tls is tls
    assert checked(framing=NETSTRING).framing is NETSTRING
    assert (checked().framing, checked().tls) == (None, None)


def test_function_becomes_a_factory_of_processors() -> None:
    """As everywhere."""
    processor = checked(bytes.upper).factory()
    assert processor.process(memoryview(b"abc")) == b"ABC"


@pytest.mark.parametrize(
    ("processor", "tls", "begins"),
    [
        (Reverse, no_tls, False),
        (Greeting, no_tls, True),
        (declaring(Greeting, speaks_first=False), no_tls, False),
        (Greeting, server_tls, False),
        (Reverse, client_tls, True),
    ],
    ids=["silent", "speaks first", "does not say so", "TLS", "TLS client"],
)
def test_worker_begins_for_who_speaks_first(
    processor: Any, tls: Callable[[], Any], begins: bool
) -> None:
    """Over TLS it is the client who does, and the processor when the handshake is complete."""
    assert checked(processor, tls=tls()).begins is begins


@pytest.mark.parametrize(
    ("processor", "framing", "text"),
    [
        (7, "raw", "7"),
        (object, "raw", "object"),
        (Reverse, "lines", "framing is 'lines'; it must be one of raw, line"),
    ],
)
def test_what_cannot_be_used_is_refused(processor: Any, framing: str, text: str) -> None:
    """With what was given."""
    with pytest.raises(SettingsError, match=text):
        checked(processor, framing)


def test_longest_frame_must_fit_the_pool_of_the_bridge() -> None:
    """Not one that the connection's own limits would make."""

    class Roomy(Netstring):
        name = "roomy"

        def overhead_bytes(self, max_frame_bytes: int) -> int:
            return 4000

    small = Limits(max_frame_bytes=1000, pool_connection_bytes=4096)
    large, roomy = small.replace(pool_connection_bytes=8192), Roomy()
    with pytest.raises(SettingsError, match="pool_connection_bytes is 4096; roomy frames"):
        checked_settings(Reverse, roomy, large, small, None)
    assert checked_settings(Reverse, roomy, small, large, None).framing is roomy
