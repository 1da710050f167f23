"""Several servers beside each other, as a load balancer has them: `with member(directory) as one`.

Each reads PROXY headers of version 2, has an admin endpoint, and writes an access log in JSON, so
that a test can hold the account of each connection against the one of the client
(`tests.verified_load`).
"""

import collections
import contextlib
import json
import re
import select
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.admin.talking import get
from tests.haproxy import Target
from tests.process.processors import FLIP, HERE
from tests.support import DEADLINE_S, ServerProcess, serving
from tests.verified_load import Conversation, VerifiedLoad

__all__ = ["Member", "admin_address", "differences", "member"]


class Ended(NamedTuple):
    """A connection that a server has had, by its access log."""

    client: tuple[str, int]
    received_bytes: int
    replied_bytes: int


class Member:
    """A server of several.

    Attributes:
        name: its name, in the configuration of the load balancer, too.
        server: its process.
        admin: the address of its admin endpoint.
    """

    def __init__(
        self, name: str, server: ServerProcess, admin: tuple[str, int], access_log: Path
    ) -> None:
        self.name = name
        self.server = server
        self.admin = admin
        self._access_log = access_log

    @property
    def target(self) -> Target:
        """What a load balancer must know."""
        return self.name, self.server.port, self.admin[1]

    def ready(self) -> bool:
        """Return what /readyz says."""
        return get(self.admin, "/readyz")[0] == 200

    def peers(self) -> set[tuple[str, int]]:
        """Return the addresses of those who are connected, as PROXY headers have named them.

        They may be as old as the endpoint keeps its answers, 0.2 s.
        """
        status, body = get(self.admin, "/connections.json?limit=1000")
        assert status == 200, body
        peers = [connection["peer"] for connection in _connections(json.loads(body))]
        return {_address(peer) for peer in peers}

    def ended(self) -> list[Ended]:
        """Return the connections that it has had, once the server has ended."""
        lines = self._access_log.read_text(encoding="utf-8").splitlines()
        return [
            Ended(_address(fields["peer"]), fields["received_bytes"], fields["replied_bytes"])
            for fields in map(json.loads, lines)
        ]


@contextlib.contextmanager
def member(
    directory: Path, name: str, *args: str, port: int = 0, admin_port: int = 0
) -> Iterator[Member]:
    """Run one on these ports; see `tests.support.serving`."""
    access_log = directory / f"{name}.access"
    with serving(
        *(
            "--admin",
            f"127.0.0.1:{admin_port}",
            "--proxy-protocol",
            "v2",
            "--proxy-from",
            "127.0.0.1",
        ),
        *("--access-log", str(access_log), "--log-format", "json"),
        *FLIP,
        *args,
        port=port,
        **HERE,
    ) as server:
        yield Member(name, server, admin_address(server), access_log)


def differences(load: VerifiedLoad, members: Sequence[Member]) -> list[str]:
    """Return in words where the account of a client differs from the one of its server.

    `members` have ended. A conversation that no server knows was with one that is not among them.
    An address may occur several times: ports are used again.
    """
    left = collections.defaultdict(list)
    for conversation in load.conversations:
        left[conversation.own].append(conversation)
    found = []
    for each in members:
        for ended in each.ended():
            ours = [one for one in left[ended.client] if matches(one, ended)]
            if ours:
                left[ended.client].remove(ours[0])
            else:
                found.append(f"{each.name} had {ended}, which none of {left[ended.client]} is")
    return found


def matches(conversation: Conversation, ended: Ended) -> bool:
    """Return whether they are of one connection: all replies came, and nothing else arrived."""
    if conversation.end == "finished":
        received_all = ended.received_bytes == conversation.sent_bytes
    else:  # the server may have ended the stream before the last message arrived
        least_bytes = conversation.verified_bytes
        received_all = least_bytes <= ended.received_bytes <= conversation.sent_bytes
    return received_all and ended.replied_bytes == conversation.verified_bytes


def admin_address(server: ServerProcess) -> tuple[str, int]:
    """Return where the admin endpoint of a server is, from its log in either format."""
    stderr = server.process.stderr
    assert stderr is not None
    while select.select([stderr], [], [], DEADLINE_S)[0] and (line := stderr.readline().decode()):
        if found := re.search(r"admin endpoint on ([0-9.]+):(\d+)", line):
            return found[1], int(found[2])
    raise AssertionError("it did not say where its admin endpoint is")


def _connections(page: Any) -> list[dict[str, Any]]:
    return [each for worker in page["workers"] for each in worker["connections"]]


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
