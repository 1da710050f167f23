"""config_check: as many mistakes as can be found, and none that only follow from another."""

from typing import Any

import pytest

from asyncrev.command import config_check
from asyncrev.command.config_check import check, summary
from asyncrev.command.option_values import OptionValue, Source, default_of
from asyncrev.command.options import OPTIONS
from asyncrev.command.settings import ServeSettings, settings_of
from asyncrev.errors import SettingsError


def values(source: Source = Source.COMMAND_LINE, **given: Any) -> list[OptionValue]:
    """Return values of all options; each that is given has a line of its own in a file."""
    lines = {name: f"f.toml:{number}" for number, name in enumerate(given, start=1)}
    return [
        OptionValue(row, given[row.name], source, lines[row.name])
        if row.name in given
        else default_of(row)
        for row in OPTIONS
    ]


def test_defaults_can_be_served() -> None:
    """Without a mistake or a warning."""
    verdict = check(values())
    assert (verdict.mistakes, verdict.warnings) == ([], [])


def test_independent_mistakes_are_all_found() -> None:
    """Of the combination, the processor, TLS, limits, addresses and the stop word."""
    found = check(
        values(
            Source.FILE,
            uds="s",
            fd=3,
            processor="no_module:X",
            ssl_certfile=("none.pem",),
            slots=0,
            admin="nowhere",
            cpu="x",
            proxy_protocol="v1",
            stop_word="a\n",
            framing="line",
        )
    ).mistakes
    starts = [
        "uds (f.toml:1) and fd (f.toml:2) exclude each other",
        "f.toml:3: --processor 'no_module:X'",
        "f.toml:4: --ssl-certfile 'none.pem'",
        "f.toml:5: slots is 0",
        "f.toml:6: --admin",
        "f.toml:7: --cpu is 'x'",
        "f.toml:8: --proxy-protocol v1 without --proxy-from",
        "f.toml:9: the stop word",
    ]
    assert [[one for one in found if one.startswith(start)] != [] for start in starts] == [True] * 8
    assert len(found) == len(starts), found


def test_several_limits_are_found_one_after_the_other() -> None:
    """Each is checked by `Limits` alone."""
    found = check(values(slots=0, max_connections=0, idle_timeout_s=-1.0)).mistakes
    assert sorted(message.partition(" ")[0] for message in found) == [
        "idle_timeout_s",
        "max_connections",
        "slots",
    ]


@pytest.mark.parametrize(
    "given",
    [
        # A key whose certificate cannot be loaded, a mode whose socket is refused.
        {"ssl_certfile": ("none.pem",), "ssl_keyfile": ("none.key",), "ssl_alpn": ("h2",)},
        {"uds": "s", "fd": 3, "uds_mode": 0o660},
        {"low_water_bytes": 1 << 20, "high_water_bytes": 1 << 10},
        {"low_water_bytes": 1 << 30},
        {"uds_mode": 0o660},
        {"tee": "x", "access_log": "x"},
        {"proxy_protocol": "v1", "proxy_from": ("nowhere",)},
        {"max_frame_bytes": 1 << 40, "framing": "len32"},
    ],
)
def test_what_follows_from_a_mistake_is_no_second_one(given: dict[str, Any]) -> None:
    """It would be gone with the first."""
    assert len(check(values(**given)).mistakes) == 1


@pytest.mark.parametrize(
    ("given", "begin"),
    [
        ({"balance": "kernel", "uds": "s"}, "--balance kernel beside --uds"),
        ({"hung_after_s": 1.0}, "f.toml:2: --hung-after-s is 1"),
    ],
)
def test_what_a_supervisor_refuses_is_a_mistake(given: dict[str, Any], begin: str) -> None:
    """And only with several workers, because a single process does not look at it."""
    mistakes = check(values(Source.FILE, workers=2, **given)).mistakes
    assert [one[: len(begin)] for one in mistakes] == [begin]
    assert check(values(Source.FILE, workers=1, **given)).mistakes == []


def test_summary_counts_sources() -> None:
    """In one line."""
    some = values(port=1, config="/f.toml")
    assert summary(some) == "ok: 2 from the command line; the rest are defaults"
    assert summary(values()) == "ok: all are defaults"
    both = [
        OptionValue(one.option, 5, Source.FILE, "f:1") if one.option.name == "slots" else one
        for one in some
    ]
    assert summary(both).startswith("ok: 1 from /f.toml, 2 from the command line; ")


def test_error_that_names_no_given_option_ends_the_search_at_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was given in the table of the option that it names may be its cause."""
    asked: list[set[str]] = []

    def refuse_slots(some: list[OptionValue]) -> ServeSettings:
        asked.append({value.option.name for value in some if value.is_given})
        if "slots" in asked[-1]:
            raise SettingsError("entries is 1; it must be more")
        if "cpu" in asked[-1]:
            raise SettingsError("it is too late today")
        return settings_of(some)

    monkeypatch.setattr(config_check, "settings_of", refuse_slots)
    assert check(values(slots=8, port=1)).mistakes == ["entries is 1; it must be more"]
    assert check(values(cpu="any", port=1)).mistakes == ["it is too late today"]
    assert asked == [{"slots", "port"}, {"port"}, {"cpu", "port"}]
