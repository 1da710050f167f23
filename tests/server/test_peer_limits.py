"""peer_limits: what counts as one peer, how many places it gets, and that all come back."""

import socket
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncrev.errors import TooManyFromAddress
from asyncrev.server.peer_limits import NO_PLACE, PeerLimits, PeerPlace, key_of

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
