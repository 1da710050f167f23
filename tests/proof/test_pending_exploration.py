"""Replies that come later, in every order of their steps, within a bound: nothing forbidden."""

from collections.abc import Hashable

import pytest

from tests.proof.pending_scenarios import pending
from tests.proof.scenarios import limits_of
from tests.proof.stepped import explore_real
from tests.proof.test_exploration import ends_of, hooked

LITTLE = {"pending_per_connection": 1, "pending_total": 1}
ONE = limits_of(1, 2, slot_bytes=6, pending_per_connection=2, pending_total=2)
TIGHT = limits_of(1, 2, slot_bytes=6, **LITTLE)

# Of each scenario: what it is, and with how many preemptions it is run fast and slowly.
PENDING = {
    "two at once": ({"chunks": (2,), "limits": ONE}, 1, 2),
    "room for one": ({"chunks": (2,), "limits": TIGHT}, 1, 2),
    "two connections, one at a time": ({"chunks": (1, 1), "limits": TIGHT}, 1, 1),
    "raw chunks": ({"chunks": (2,), "limits": TIGHT, "framed": False}, 1, 2),
    "replies by a thread": ({"chunks": (2,), "limits": ONE, "meanwhile": "answer"}, 1, 1),
    "one fails": ({"chunks": (2,), "limits": ONE, "fails_at": 2}, 1, 2),
    "a lane is closed": ({"chunks": (2,), "limits": ONE, "meanwhile": "close"}, 0, 1),
    "the bridge is stopped": ({"chunks": (1,), "limits": ONE, "meanwhile": "stop"}, 0, 1),
}


def wanted_ends(name: str) -> set[tuple[Hashable, ...]]:
    """Return how the connections of a scenario may end; some order must end in each."""
    settings, _, _ = PENDING[name]
    end = "RuntimeError" if settings.get("fails_at") else "end"
    ends = {(end,) * len(settings["chunks"])}
    other = {"close": "closed", "stop": "BridgeStopped"}.get(settings.get("meanwhile", ""))
    return ends if other is None else {*ends, (other,)}


@hooked
@pytest.mark.parametrize("name", PENDING)
def test_pending_in_every_order(name: str, hooked: bool) -> None:
    """A whole bridge, its connections, an engine, and what may happen to them."""
    settings, preemptions, _ = PENDING[name]
    found = explore_real(pending(hooked=hooked, **settings), preemptions=preemptions)
    assert ends_of(found) == wanted_ends(name)
    assert found.runs > 10


@pytest.mark.slow
@pytest.mark.timeout(600)
@hooked
@pytest.mark.parametrize("name", [name for name, (_, fast, slow) in PENDING.items() if slow > fast])
def test_pending_with_more_preemptions(name: str, hooked: bool) -> None:
    """The same, deeper."""
    settings, _, slow = PENDING[name]
    found = explore_real(pending(hooked=hooked, **settings), preemptions=slow)
    assert ends_of(found) == wanted_ends(name)
