"""limits: every bound with its message, and the derived values."""

import dataclasses
import math
import sys

import pytest

from asyncrev.errors import LocalError, SettingsError
from asyncrev.limits import (
    SMALL_SLOT_BYTES,
    SMALL_SLOT_GAP_BYTES,
    WRITE_BUFFER_OVERHEAD,
    Limits,
)

FROM_ONE = [
    "slots",
    "slot_bytes",
    "in_flight_entries",
    "in_flight_bytes",
    "overflow_bytes",
    "max_frame_bytes",
    "tls_handshakes_in_flight",
    "max_connections",
    "backlog",
]
SECONDS = [
    "write_stall_timeout_s",
    "drain_timeout_s",
    "linger_timeout_s",
    "accept_retry_s",
    "tls_handshake_timeout_s",
]
SECONDS_OR_NEVER = [
    "first_byte_timeout_s",
    "idle_timeout_s",
    "frame_timeout_s",
    "max_connection_age_s",
]
FROM_ZERO = ["max_connections_per_ip", "min_rate_bytes_per_s"]


def test_defaults_are_valid_and_documented() -> None:
    """Every field has its unit in its name and its line in the docstring."""
    limits = Limits()
    assert Limits.__doc__ is not None
    for field in dataclasses.fields(limits):
        assert f"{field.name}: " in Limits.__doc__
    assert limits.low_water_bytes == limits.high_water_bytes // 4


@pytest.mark.parametrize("name", FROM_ONE)
def test_count_of_one_is_the_least(name: str) -> None:
    """1 works; 0, less, and what is no whole number are refused, with value and bound."""
    assert getattr(Limits(**{name: 1}), name) == 1
    for value in (0, -1, 1.5, "3", None, True):
        with pytest.raises(SettingsError) as caught:
            Limits(**{name: value})
        assert str(caught.value) == f"{name} is {value!r}; it must be a whole number >= 1"


@pytest.mark.parametrize("name", FROM_ZERO)
def test_limit_of_zero_is_none(name: str) -> None:
    """It is the default, and said in the message."""
    assert getattr(Limits(), name) == 0
    assert getattr(Limits(**{name: 1}), name) == 1
    for value in (-1, 1.5, "3", None, True):
        with pytest.raises(SettingsError) as caught:
            Limits(**{name: value})
        assert str(caught.value) == (
            f"{name} is {value!r}; it must be a whole number >= 0 (0: no limit)"
        )


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("backlog", 2**31 - 1),  # a C int (listen(2)); it used to be an OverflowError there
        ("max_connections", 2**31 - 1),  # descriptors are
        ("max_connections_per_ip", 2**31 - 1),
        ("min_rate_bytes_per_s", sys.maxsize >> 3),
        ("tls_handshakes_in_flight", 2**31 - 1),
        ("in_flight_entries", sys.maxsize),
        ("in_flight_bytes", sys.maxsize),
        ("high_water_bytes", sys.maxsize >> 3),  # uvloop takes a C size
    ],
)
def test_count_is_at_most_what_the_system_takes(name: str, most: int) -> None:
    """It is refused when the limits are made, and not by a traceback when they are used."""
    assert getattr(Limits(**{name: most}), name) == most
    with pytest.raises(SettingsError) as caught:
        Limits(**{name: most + 1})
    assert str(caught.value) == f"{name} is {most + 1}; it must be at most {most}"


def test_longest_frame_leaves_values_derived_from_it_in_range() -> None:
    """The message names it, and not the pool's quota that is derived from it."""
    most = sys.maxsize >> 3
    assert Limits(max_frame_bytes=most, pool_bytes=sys.maxsize).max_frame_bytes == most
    with pytest.raises(SettingsError, match=r"max_frame_bytes is .*; it must be at most"):
        Limits(max_frame_bytes=most + 1, pool_bytes=sys.maxsize)


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_are_finite_and_above_zero(name: str) -> None:
    """Zero would abort everybody, infinity nobody ever."""
    assert getattr(Limits(**{name: 0.001}), name) == 0.001
    assert getattr(Limits(**{name: 1e9}), name) == 1e9
    for value in (0, -1.0, 0.0009, 1e10, 10**400, math.inf, math.nan, "5", None):
        with pytest.raises(SettingsError) as caught:
            Limits(**{name: value})
        assert str(caught.value) == (
            f"{name} is {value!r}; it must be a number of seconds from 0.001 to 1e+09"
        )


@pytest.mark.parametrize("name", SECONDS_OR_NEVER)
def test_deadline_of_a_peer_may_be_switched_off(name: str) -> None:
    """By infinity, and by nothing else."""
    for value in (0.001, math.inf):
        assert getattr(Limits(**{name: value}), name) == value
    for value in (0, -1.0, 0.0009, 1e10, 10**400, -math.inf, math.nan, "5", None):
        with pytest.raises(SettingsError) as caught:
            Limits(**{name: value})
        assert str(caught.value) == (
            f"{name} is {value!r}; it must be a number of seconds from 0.001 to 1e+09, or inf for "
            "never"
        )


def test_shortest_deadline_is_that_of_the_six_a_sweep_looks_after() -> None:
    """Others have timers of their own."""
    swept = [*SECONDS_OR_NEVER, "write_stall_timeout_s", "tls_handshake_timeout_s"]
    times = dict.fromkeys(swept, 20.0)
    for name in times:
        assert Limits(**{**times, name: 3.5}).shortest_deadline_s == 3.5
    assert Limits(**times, linger_timeout_s=0.1, drain_timeout_s=0.1).shortest_deadline_s == 20.0


@pytest.mark.parametrize(
    ("max_frame_bytes", "least_bytes"),
    [(1, 1024), (504, 1024), (505, 2048), (1 << 16, 1 << 17), (1 << 20, 1 << 21)],
)
def test_quota_of_the_pool_holds_the_longest_frame_and_by_default_twice(
    max_frame_bytes: int, least_bytes: int
) -> None:
    """A power of two, above the frame, its length or line end, and one small read."""
    limits = Limits(max_frame_bytes=max_frame_bytes)
    assert limits.least_pool_connection_bytes == least_bytes
    assert limits.pool_connection_bytes == 2 * least_bytes
    chosen = Limits(max_frame_bytes=max_frame_bytes, pool_connection_bytes=least_bytes)
    assert chosen.pool_connection_bytes == least_bytes
    with pytest.raises(SettingsError) as caught:
        Limits(max_frame_bytes=max_frame_bytes, pool_connection_bytes=least_bytes - 1)
    assert str(caught.value) == (
        f"pool_connection_bytes is {least_bytes - 1}; it must be a whole number >= {least_bytes} "
        "for frames of max_frame_bytes"
    )


def test_pool_holds_at_least_one_connections_quota() -> None:
    """Else that connection could wait for ever."""
    assert Limits(pool_connection_bytes=1 << 22, pool_bytes=1 << 22).pool_bytes == 1 << 22
    with pytest.raises(SettingsError) as caught:
        Limits(pool_connection_bytes=1 << 22, pool_bytes=(1 << 22) - 1)
    assert str(caught.value) == (
        "pool_bytes is 4194303; it must be a whole number >= 4194304, "
        "which is pool_connection_bytes"
    )


def test_partial_frame_bytes_cover_two_small_reads() -> None:
    """One that is held, one that comes: so a lane that holds little never waits (I15)."""
    assert Limits(partial_frame_bytes=1024).partial_frame_bytes == 1024
    with pytest.raises(SettingsError) as caught:
        Limits(partial_frame_bytes=1023)
    assert str(caught.value) == "partial_frame_bytes is 1023; it must be a whole number >= 1024"


def test_high_water_of_zero_is_allowed() -> None:
    """Then a connection is read only while it owes nothing."""
    assert Limits(high_water_bytes=0).low_water_bytes == 0
    with pytest.raises(SettingsError, match="high_water_bytes is -1; it must be a whole number"):
        Limits(high_water_bytes=-1, low_water_bytes=0)
    with pytest.raises(SettingsError, match="high_water_bytes is None; it must be a whole number"):
        Limits(high_water_bytes=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("low", [-2, 101])
def test_low_water_lies_between_zero_and_high_water(low: int) -> None:
    """The message has all three numbers."""
    assert Limits(high_water_bytes=100, low_water_bytes=100).low_water_bytes == 100
    assert Limits(high_water_bytes=100, low_water_bytes=0).low_water_bytes == 0
    with pytest.raises(SettingsError) as caught:
        Limits(high_water_bytes=100, low_water_bytes=low)
    assert str(caught.value) == (
        f"low_water_bytes is {low}; it must lie between 0 and high_water_bytes, which is 100"
    )


def test_ring_beyond_the_address_space_is_refused() -> None:
    """It used to be an OverflowError, with a traceback, when the ring was made."""
    most_bytes = sys.maxsize - SMALL_SLOT_BYTES - SMALL_SLOT_GAP_BYTES
    assert Limits(slots=1, entries=1, slot_bytes=most_bytes).ring_bytes == sys.maxsize
    with pytest.raises(SettingsError) as caught:
        Limits(slots=1, entries=1, slot_bytes=most_bytes + 1)
    assert str(caught.value) == (
        f"a ring of 1 slots of {most_bytes + 1} bytes and 1 entries takes {sys.maxsize + 1} bytes; "
        f"it must be at most {sys.maxsize}"
    )


def test_entries_follow_the_slots_unless_they_were_chosen() -> None:
    """Every slot needs one; small chunks need no slot."""
    assert Limits(slots=3).entries == 12
    assert Limits().replace(slots=7).entries == 28
    assert Limits(slots=3, entries=3).entries == 3
    assert Limits(slots=3, entries=9).replace(slots=5, entries=6).entries == 6
    with pytest.raises(SettingsError) as caught:
        Limits(slots=3, entries=2)
    assert str(caught.value) == "entries is 2; it must be a whole number >= 3, which is slots"


def test_settings_error_is_value_error_and_local_error() -> None:
    """Who catches ValueError for bad settings catches this one."""
    assert {LocalError, ValueError} <= set(SettingsError.__mro__)
    with pytest.raises(ValueError, match="slots is 0"):
        Limits(slots=0)


def test_limits_are_frozen() -> None:
    """A running server's limits do not change under it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().slots = 3  # type: ignore[misc]


def test_replace_changes_what_is_named_and_checks_again() -> None:
    """Everything else stays."""
    limits = Limits(slots=3, backlog=7)
    other = limits.replace(slots=4)
    assert (other.slots, other.backlog) == (4, 7)
    assert limits.slots == 3
    with pytest.raises(SettingsError, match="slots is 0"):
        limits.replace(slots=0)


def test_replace_of_high_water_moves_low_water_along() -> None:
    """A low water that was never chosen must not contradict a new high water."""
    assert Limits().replace(high_water_bytes=100).low_water_bytes == 25
    assert Limits().replace(high_water_bytes=100, low_water_bytes=50).low_water_bytes == 50
    assert Limits(low_water_bytes=9).replace(slots=2).low_water_bytes == 9


def test_replace_of_the_longest_frame_moves_the_pools_quota_along() -> None:
    """A quota that was never chosen follows the longest frame; a chosen one stays."""
    assert Limits().replace(max_frame_bytes=100).pool_connection_bytes == 2048
    chosen = Limits().replace(max_frame_bytes=100, pool_connection_bytes=5000)
    assert chosen.pool_connection_bytes == 5000
    assert chosen.replace(slots=2).pool_connection_bytes == 5000


def test_longest_reply_follows_the_longest_frame_and_has_a_term_of_memory() -> None:
    """As much as a frame may have, or what is asked for; 0 is no bound, hence no term."""
    assert Limits().max_reply_bytes == Limits().max_frame_bytes
    assert Limits().replace(max_frame_bytes=5000).max_reply_bytes == 5000
    limits = Limits(max_reply_bytes=7000, high_water_bytes=10_000)
    assert limits.replace(slots=3).max_reply_bytes == 7000
    assert limits.window_bytes == 10_000
    assert limits.amplified_bytes == int(17_000 * (1 + WRITE_BUFFER_OVERHEAD))
    assert Limits(high_water_bytes=0).window_bytes == 4096
    assert Limits(max_reply_bytes=0).amplified_bytes == 0
    with pytest.raises(SettingsError, match=r"max_reply_bytes is -2; .*, or 0 for no bound"):
        Limits(max_reply_bytes=-2)
