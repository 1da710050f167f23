"""BridgeProtocol: a connection as users make it, for servers and clients of their own."""

import ssl
from typing import Any

from asyncrev.bridge.bridge import Bridge
from asyncrev.connection.protocol import ConnectionProtocol
from asyncrev.connection.settings import checked_settings
from asyncrev.errors import SettingsError
from asyncrev.frames.grammar import Grammar
from asyncrev.limits import Limits
from asyncrev.work.reverse import Reverse
from asyncrev.work.tls_parameters import TlsParameters

__all__ = ["BridgeProtocol"]


class BridgeProtocol(ConnectionProtocol):
    """One connection on a bridge: its input is processed in order, the replies go back.

    An `asyncio.BufferedProtocol`, for asyncio's, uvloop's, aiofastnet's and our loop, over TCP,
    UNIX sockets and TLS, as server or as client. Use one instance per connection:
    `loop.create_server(lambda: BridgeProtocol(bridge), host, port)`. All methods: loop's thread.

    Attributes:
        abort_reason: why this side ended the connection, as in `ServerStatistics.aborted`; or None.
    """

    def __init__(
        self,
        bridge: Bridge,
        processor: Any = Reverse,
        *,
        framing: str | Grammar = "raw",
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> None:
        """Prepare a connection on `bridge`.

        Args:
            bridge: does the work; it must run when the connection is made.
            processor: a class or factory of processors, a function from bytes to bytes, or an
                `ExecutorProcessor`, which many connections share.
            framing: what the processor gets at a time: "raw", a chunk as the network split it;
                "line", a line without its end; "len32" or "len64", the payload behind a big-endian
                length of 4 or 8 bytes; or a `Grammar` of your own. Replies are framed in the same
                way.
            limits: water marks, longest frame and timeouts of this connection, by default the
                bridge's; the quotas are the bridge's in any case.
            tls: speak TLS with this context, as server or client, whichever it is made for. The
                worker does it, so the transport must be a plain one.
            server_hostname: with a client's context, the name that the server's certificate must
                have.

        Raises:
            SettingsError: `processor` cannot be used as one, there is no such framing, or there is
                no room for its longest frame; `tls` and `server_hostname` do not fit together; or
                `bridge` or `limits` is something else.
        """
        if not isinstance(bridge, Bridge):
            raise SettingsError(f"bridge is {bridge!r}; it must be an asyncrev.Bridge")
        if limits is None:
            limits = bridge.limits
        elif not isinstance(limits, Limits):
            raise SettingsError(f"limits is {limits!r}; it must be an asyncrev.Limits, or None")
        parameters = None if tls is None else TlsParameters(tls, server_hostname)
        settings = checked_settings(processor, framing, limits, bridge.limits, parameters)
        super().__init__(bridge, settings)
