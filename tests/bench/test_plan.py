"""plan: bad settings are refused with the allowed values, and shares add up to the whole."""

import json
from typing import Any

import pytest

from asyncrev.bench.plan import Plan, Share, parse_target
from asyncrev.errors import SettingsError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"framing": "xml"}, "--framing is 'xml'; it must be one of raw, line, len32, len64"),
        ({"size_bytes": 0}, "--size is 0; give 1 to"),
        ({"size_bytes": 1 << 40}, "--size is"),
        ({"connections": 0}, "-c is 0; give 1 to 60000"),
        ({"depth": 0}, "-P is 0"),
        ({"processes": 99}, "--processes is 99; give 1 to 64"),
        ({"processes": 4, "connections": 3}, "each process needs a connection"),
        ({"count": 0}, "-n is 0"),
        ({"duration_s": 0.0}, "-z is 0 s; give 0.1 to 86400 s"),
        ({"duration_s": float("nan")}, "-z is nan s"),
        ({"duration_s": None}, "neither -z nor -n"),
        ({"warmup_s": -1.0}, "--warmup is -1 s"),
        ({"timeout_s": 0.0}, "--timeout is 0 s"),
        ({"rate_per_s": 0.0}, "--rate is 0 messages per second"),
        ({"rate_per_s": float("nan")}, "--rate is nan"),
        ({"depth": 1000, "size_bytes": 1 << 20}, "bytes in flight per connection"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, Any], words: str) -> None:
    """With the option, its value, and what may be given."""
    with pytest.raises(SettingsError) as caught:
        Plan(**settings)
    assert words in str(caught.value)


def test_empty_payloads_need_frames() -> None:
    """A frame without a payload is a message."""
    assert Plan(size_bytes=0, framing="len32").size_bytes == 0


@pytest.mark.parametrize(
    ("duration_s", "interval_s"), [(0.1, 0.1), (2.0, 0.2), (10.0, 1.0), (600.0, 1.0), (None, 0.1)]
)
def test_intervals_are_ten_at_least_but_not_short(
    duration_s: float | None, interval_s: float
) -> None:
    """A percentile of a few messages says little."""
    assert Plan(duration_s=duration_s, count=5).interval_s == interval_s


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_shares_are_the_whole(processes: int) -> None:
    """Every connection is one process's, and the counts add up."""
    plan = Plan(connections=23, processes=processes, count=1000)
    shares = [Share(index, processes) for index in range(processes)]
    numbers = [number for share in shares for number in share.connections(plan)]
    assert sorted(numbers) == list(range(23))
    assert sum(share.count(plan) or 0 for share in shares) == 1000
    assert Share().count(Plan()) is None


def test_plan_goes_through_json() -> None:
    """As it is saved."""
    plan = Plan(rate_per_s=5.5, path="/x", count=7)
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("127.0.0.1:9090", ("127.0.0.1", 9090, None)),
        ("[::1]:7", ("::1", 7, None)),
        ("localhost:1", ("localhost", 1, None)),
        ("unix:/run/x", ("", 0, "/run/x")),
    ],
)
def test_targets(text: str, target: tuple[str, int, str | None]) -> None:
    """And the plan writes them as they were given."""
    host, port, path = parse_target(text)
    assert (host, port, path) == target
    assert Plan(host=host, port=port, path=path).target == text


@pytest.mark.parametrize("text", ["", "90", "host:", ":9090", "host:0", "host:x", "::1:7", "unix:"])
def test_what_is_no_target_is_refused(text: str) -> None:
    """With the forms that are."""
    with pytest.raises(SettingsError):
        parse_target(text)
