"""peer_limits: what counts as one peer, how many places it gets, and that all come back."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import asyncrev
from asyncrev import Limits
from asyncrev.errors import TooManyFromAddress
from asyncrev.server.peer_limits import NO_PLACE, PeerLimits, PeerPlace, key_of
from tests.support import DEADLINE_S, reset, until

V6 = (0, 0)  # flow and scope of an IPv6 address


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2)),
        (("192.0.2.1", 1), ("::ffff:192.0.2.1", 2, *V6)),
        (("::ffff:192.0.2.1", 1, *V6), ("::FFFF:c000:201", 2, *V6)),
        (("2001:db8:1:2::1", 1, *V6), ("2001:db8:1:2:ffff:ffff:ffff:ffff", 2, *V6)),
        (("::1", 1, *V6), ("::2", 1, *V6)),
        (("fe80::1%lo", 1, 0, 1), ("fe80::2", 1, 0, 1)),
    ],
)
def test_addresses_of_one_peer_count_together(one: Any, other: Any) -> None:
    """Any port; an IPv4 address in both forms; an IPv6 /64."""
    assert key_of(one) is not None
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("192.0.2.1", 1), ("192.0.2.2", 1)),
        (("::ffff:192.0.2.1", 1, *V6), ("::ffff:192.0.2.2", 1, *V6)),
        (("2001:db8:1:2::1", 1, *V6), ("2001:db8:1:3::1", 1, *V6)),
        (("::1", 1, *V6), ("127.0.0.1", 1)),
        # The first four bytes of a prefix are no IPv4 address.
        (("c000:201::", 1, *V6), ("192.0.2.1", 1)),
    ],
)
def test_addresses_of_two_peers_count_apart(one: Any, other: Any) -> None:
    """Neighbours, and the two families."""
    assert None not in (key_of(one), key_of(other))
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize("address", [None, "", "/run/x", b"\0abstract", (), (3, 1024), ("x", 1)])
def test_peer_without_an_ip_address_is_not_limited(address: Any) -> None:
    """UNIX sockets, and families of which nobody knows what one peer has of them."""
    limits = PeerLimits(1)
    for _ in range(3):
        limits.place().take(address)
    assert len(limits) == 0


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1, *V6), "192.0.2.1"),
        (("2001:db8:1:2::1", 1, *V6), "2001:db8:1:2::/64"),
    ],
)
def test_place_over_the_limit_is_refused_with_both_numbers(address: Any, name: str) -> None:
    """And who it was, as it is counted; the refused place can be left as any."""
    limits = PeerLimits(2)
    taken = [limits.place() for _ in range(2)]
    for place in taken:
        place.take(address)
    over = limits.place()
    with pytest.raises(TooManyFromAddress) as caught:
        over.take(address)
    assert str(caught.value) == f"{name} has 2 connections; max_connections_per_ip is 2"
    over.leave()
    with pytest.raises(TooManyFromAddress):
        limits.place().take(address)
    taken[0].leave()
    taken[0].leave()
    limits.place().take(address)
    with pytest.raises(TooManyFromAddress):
        limits.place().take(address)


def test_limit_of_zero_counts_nobody_and_makes_no_places() -> None:
    """A server without the limit has no object for each connection."""
    limits = PeerLimits(0)
    assert limits.place() is limits.place() is NO_PLACE
    for _ in range(3):
        limits.place().take(("192.0.2.1", 1))
    limits.place().leave()
    assert len(limits) == 0


def packed(number: int) -> tuple[Any, ...]:
    """Return one of a few addresses, of three peers."""
    host = socket.inet_ntop(socket.AF_INET6, bytes([number % 2] * 8) + number.to_bytes(8, "big"))
    return (host, number, 0, 0) if number < 4 else ("192.0.2.9", number)


class PeersAgainstAnOracle(RuleBasedStateMachine):
    """Places of a few peers, taken and left in any order; the oracle is a list of them (I26)."""

    @initialize(most=st.integers(1, 3))
    def begin(self, most: int) -> None:
        self.most = most
        self.limits = PeerLimits(most)
        self.taken: list[tuple[bytes | None, PeerPlace]] = []

    @rule(number=st.integers(0, 5))
    def take(self, number: int) -> None:
        address = packed(number)
        place = self.limits.place()
        have = [key for key, _ in self.taken].count(key_of(address))
        if have < self.most:
            place.take(address)
            self.taken.append((key_of(address), place))
        else:
            with pytest.raises(TooManyFromAddress):
                place.take(address)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), times=st.integers(1, 2))
    def leave(self, data: st.DataObject, times: int) -> None:
        _, place = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        for _ in range(times):
            place.leave()

    @invariant()
    def table_has_who_is_there_and_nobody_else(self) -> None:
        if hasattr(self, "limits"):
            assert len(self.limits) == len({key for key, _ in self.taken})


class TestPeersAgainstAnOracle(PeersAgainstAnOracle.TestCase):
    """Runs the machine above."""


@pytest.mark.asyncio
async def test_every_end_gives_its_place_back() -> None:
    """Served, refused, reset, closed with the server: afterwards the table is empty."""
    limits = Limits(max_connections_per_ip=3, max_connections=64)
    async with await asyncrev.serve("127.0.0.1", 0, limits=limits) as server:

        def churn(number: int) -> None:
            for turn in range(40):
                with contextlib.suppress(ConnectionError):
                    sock = socket.create_connection(
                        ("127.0.0.1", server.port),
                        DEADLINE_S,
                        source_address=(f"127.0.1.{1 + number % 3}", 0),
                    )
                    if turn % 3 == 0:
                        reset(sock)
                        continue
                    with sock:
                        if turn % 3 == 1:
                            sock.sendall(b"abc")
                            sock.recv(3)

        threads = [asyncio.to_thread(churn, number) for number in range(12)]
        await asyncio.gather(*threads)
        await until(lambda: server.connections.is_idle, "all have ended")
        assert len(server._peers) == 0
        assert 0 < server.statistics().aborted["too many of an address"] < 480
        socks = [await asyncio.to_thread(connect, server.port) for _ in range(2)]
        await until(lambda: len(server.connections) == 2, "they are served")
        await until(lambda: not server.connections.arriving, "and have arrived")
        await server.close()
        for sock in socks:
            sock.close()
        assert len(server._peers) == 0


def connect(port: int) -> socket.socket:
    """Return a connection to this machine."""
    return socket.create_connection(("127.0.0.1", port), DEADLINE_S)
