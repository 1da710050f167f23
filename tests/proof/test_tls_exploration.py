"""Lanes over TLS in every order of their steps, within a bound: nothing forbidden."""

from collections.abc import Hashable

import pytest

from tests.proof.scenarios import limits_of
from tests.proof.stepped import explore_real
from tests.proof.test_exploration import ends_of, hooked
from tests.proof.tls_scenarios import RECORD_BYTES, tls

FLIGHT_BYTES = 2048  # of a handshake, at most
ONE = limits_of(1, 1, slot_bytes=2 * RECORD_BYTES)
TWO = limits_of(2, 2, slot_bytes=2 * RECORD_BYTES)
DEFERRED = {"chunks": (2,), "limits": TWO, "piece_bytes": 2 * RECORD_BYTES}
DOUBLED = {
    **DEFERRED,
    "doubles": True,
    "share_records": 2,
    "ends": "close_notify after replies",
}
FLIGHTS = limits_of(1, 1, slot_bytes=FLIGHT_BYTES)
LITTLE_CREDIT = limits_of(2, 2, slot_bytes=2 * RECORD_BYTES, in_flight_bytes=RECORD_BYTES + 1)
MORE_FLIGHTS = limits_of(2, 2, slot_bytes=FLIGHT_BYTES)
HANDSHAKE = {"limits": FLIGHTS, "piece_bytes": FLIGHT_BYTES, "handshake": True}

# Of each scenario: what it is, and with how many preemptions it is run fast and slowly.
TLS = {
    "data and close_notify": ({"chunks": (2,), "limits": ONE}, 1, 2),
    "records are deferred": (DEFERRED, 1, 2),
    "the client waits for replies": ({**DEFERRED, "ends": "close_notify after replies"}, 1, 2),
    "records across chunks": (
        {"chunks": (1, 1), "limits": ONE, "piece_bytes": RECORD_BYTES * 3 // 2},
        1,
        2,
    ),
    "lines": ({"chunks": (1,), "limits": TWO, "framed": True}, 1, 2),
    "little credit": ({"chunks": (2,), "limits": LITTLE_CREDIT}, 1, 2),
    "replies fill their window": (DOUBLED, 1, 2),
    "the peer stalls": ({**DOUBLED, "meanwhile": "stall"}, 0, 1),
    "the peer was stalled": ({**DOUBLED, "meanwhile": "stalled"}, 0, 1),
    "a handshake": ({"chunks": (1,), **HANDSHAKE}, 1, 2),
    "a handshake, TLS 1.2": ({"chunks": (1,), **HANDSHAKE, "version": "1.2"}, 0, 1),
    "a client's handshake": ({"chunks": (1,), **HANDSHAKE, "client": True}, 0, 1),
    "two handshakes": (
        {"chunks": (1, 1), **HANDSHAKE, "limits": MORE_FLIGHTS},
        0,
        1,
    ),
    "FIN without close_notify": ({"chunks": (1,), "limits": ONE, "ends": "FIN"}, 1, 2),
    "a bad record": ({**DEFERRED, "ends": "bad record"}, 1, 2),
    "a drain": ({"chunks": (2,), "limits": ONE, "meanwhile": "drain"}, 0, 1),
    "a drain, records are deferred": ({**DEFERRED, "chunks": (3,), "meanwhile": "drain"}, 0, 1),
    "a drain within the handshake": ({"chunks": (1,), **HANDSHAKE, "meanwhile": "drain"}, 0, 1),
    "a deadline": ({"chunks": (2,), "limits": ONE, "meanwhile": "deadline"}, 0, 1),
    "a deadline, records are deferred": ({**DEFERRED, "meanwhile": "deadline"}, 0, 1),
    "an upgrade": ({"chunks": (1,), **HANDSHAKE, "upgrades": "and waits"}, 1, 2),
    "an upgrade, a hello behind it": (
        {"chunks": (1,), **HANDSHAKE, "limits": MORE_FLIGHTS, "upgrades": "at once"},
        1,
        2,
    ),
    "an upgrade, a drain": (
        {"chunks": (1,), **HANDSHAKE, "upgrades": "and waits", "meanwhile": "drain"},
        0,
        1,
    ),
    "an upgrade, the lane is closed": (
        {"chunks": (1,), **HANDSHAKE, "upgrades": "and waits", "meanwhile": "close"},
        0,
        1,
    ),
    "a lane is closed": ({"chunks": (1,), "limits": ONE, "meanwhile": "close"}, 0, 1),
    "a lane is closed within the handshake": (
        {"chunks": (1,), **HANDSHAKE, "meanwhile": "close"},
        0,
        1,
    ),
    "the bridge is stopped": ({"chunks": (1,), "limits": ONE, "meanwhile": "stop"}, 0, 1),
}


def wanted_ends(name: str) -> set[tuple[Hashable, ...]]:
    """Return how the connections of a scenario may end; some order must end in each."""
    settings, _, _ = TLS[name]
    end = {"FIN": "TlsTruncated", "bad record": "TlsError"}.get(settings.get("ends", ""), "end")
    ends = {(end,) * len(settings["chunks"])}
    other = {"close": "closed", "stop": "BridgeStopped"}.get(settings.get("meanwhile", ""))
    return ends if other is None else {*ends, (other,)}


@hooked
@pytest.mark.parametrize("name", TLS)
def test_tls_in_every_order(name: str, hooked: bool) -> None:
    """A whole bridge, its connections over TLS, and what may happen to them."""
    settings, preemptions, _ = TLS[name]
    found = explore_real(tls(hooked=hooked, **settings), preemptions=preemptions)
    assert ends_of(found) == wanted_ends(name)


@pytest.mark.slow
@pytest.mark.timeout(600)
@hooked
@pytest.mark.parametrize("name", TLS)
def test_tls_with_more_preemptions(name: str, hooked: bool) -> None:
    """The same, deeper; an end that comes at any moment finds all that may be there."""
    settings, fast, slow = TLS[name]
    found = explore_real(tls(hooked=hooked, **settings), preemptions=slow)
    assert ends_of(found) == wanted_ends(name)
    assert slow > fast
    assert found.runs > 20
    if settings.get("meanwhile") in ("drain", "deadline"):
        assert len(found.outcomes) > 1, "it always came too late"
