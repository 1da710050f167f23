"""config_show: values with their origins, in three forms; the TOML gives the same options again."""

import json
import math
import pathlib
import tempfile
import tomllib
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.command.config_document import parse_document
from asyncrev.command.config_file import options_in
from asyncrev.command.config_show import as_json, as_text, as_toml, effective
from asyncrev.command.config_values import with_file
from asyncrev.command.option import TABLES, Option
from asyncrev.command.option_types import (
    ALPN,
    BYTES,
    DESCRIPTOR,
    FILE_MODE,
    SECONDS,
    WORKERS,
)
from asyncrev.command.option_values import OptionValue, Source, contradictions, default_of
from asyncrev.command.options import OPTIONS, option_named
from asyncrev.errors import SettingsError

IN_A_FILE = [row for row in OPTIONS if row.table]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def values_for(row: Option) -> st.SearchStrategy[Any]:
    """Return values that a row may have, whether or not a server can be made of them."""
    kind = row.type
    if kind is SECONDS:
        one = st.floats(0, allow_nan=False) | st.sampled_from([0.5, 60.0, 90.0, 3600.0, math.inf])
    elif isinstance(kind, click.Choice):
        one = st.sampled_from(kind.choices)
    elif kind is FILE_MODE:
        one = st.integers(0, 0o777)
    elif kind is WORKERS:
        one = st.just("auto") | st.integers(1, 512)
    elif kind is ALPN:
        names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
        names = names.filter(lambda name: "," not in name)
        return st.lists(names, min_size=1, max_size=3).map(tuple)
    elif isinstance(kind, type(BYTES)):
        one = st.integers(0, 1 << 50) | st.integers(0, 1 << 20).map(lambda n: n << 10)
    elif isinstance(kind, click.IntRange):
        one = st.integers(kind.min or 0, kind.max or 1 << 60)
    elif kind is DESCRIPTOR:
        one = st.integers(0, 1 << 20) | st.from_regex(
            r"[A-Za-z][A-Za-z0-9._-]{0,8}", fullmatch=True
        )
    elif kind.name == "integer":
        one = st.integers(-5, 1 << 60)
    else:
        one = TEXTS
    return st.lists(one, min_size=1, max_size=3).map(tuple) if row.repeatable else one


@st.composite
def all_values(draw: st.DrawFn) -> list[OptionValue]:
    """Return values of all options, some of them given in one of three ways."""
    chosen = draw(st.sets(st.sampled_from([row.name for row in IN_A_FILE])))
    sources = st.sampled_from([source for source in Source if source is not Source.DEFAULT])
    return [
        OptionValue(row, draw(values_for(row)), draw(sources), "f.toml:1")
        if row.name in chosen
        else default_of(row)
        for row in OPTIONS
    ]


@given(all_values())
def test_toml_gives_the_same_values_again(values: list[OptionValue]) -> None:
    """All that were given, and no default."""
    found = options_in(parse_document("again.toml", as_toml(values)))
    assert found.mistakes == []
    wanted = {value.option.name: value.value for value in values if value.is_given}
    assert {name: value.value for name, value in found.values.items()} == wanted


@given(all_values())
def test_toml_as_a_file_gives_the_same_effective_values(values: list[OptionValue]) -> None:
    """Read as --config reads it, what follows from other options follows again."""
    if contradictions(values):
        return
    try:
        shown = effective(values)
    except SettingsError:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "f.toml")
        path.write_text(as_toml(shown), encoding="utf-8")
        config = OptionValue(option_named("config"), str(path), Source.COMMAND_LINE)
        plain = [default_of(row) if row.table else config for row in OPTIONS]
        again = effective(with_file(plain))
    assert [one.value for one in again if one.option.table] == [
        one.value for one in shown if one.option.table
    ]


@given(all_values())
def test_every_form_has_every_option_once(values: list[OptionValue]) -> None:
    """The text has no control characters, and the JSON is for every reader."""
    text = as_text(values)
    names = [line.partition(" ")[0] for line in text.splitlines() if line and line[0] != "["]
    assert sorted(names) == sorted(row.name for row in OPTIONS)
    assert all(char.isprintable() for line in text.split("\n") for char in line)
    data = json.loads(as_json(values), parse_constant=pytest.fail)
    assert data["schema"] == 1
    assert list(data["options"]) == [row.name for row in OPTIONS]


def values(**given: Any) -> list[OptionValue]:
    """Return values of all options; `given` has those of the command line."""
    return [
        OptionValue(row, given[row.name], Source.COMMAND_LINE)
        if row.name in given
        else default_of(row)
        for row in OPTIONS
    ]


def test_defaults_that_follow_have_their_effective_value() -> None:
    """As the server would have them, with the rule beside."""
    shown = effective(values(slots=8, high_water_bytes=1 << 20, ssl_ca_certs="a", framing="line"))
    found = {value.option.name: value for value in shown}
    assert found["entries"].value == 32
    assert found["low_water_bytes"].value == 1 << 18
    assert found["max_reply_bytes"].value == found["max_frame_bytes"].value
    assert found["ssl_cert_reqs"].value == "required"
    assert not found["entries"].is_given
    lines = as_text(shown).splitlines()
    assert "entries 32 default: four times --slots" in [" ".join(line.split()) for line in lines]
    assert "slots 8 --slots" in [" ".join(line.split()) for line in lines]
    assert all(v.value is not None for v in effective(values()) if v.option.follows)


def test_limits_that_contradict_each_other_are_refused() -> None:
    """Nothing effective follows from them."""
    with pytest.raises(SettingsError, match="low_water_bytes"):
        effective(values(low_water_bytes=1 << 30))


def test_text_has_units_tables_and_what_yields() -> None:
    """A value that does not count is named, with what took its place."""
    port = default_of(option_named("port"))
    low = OptionValue(port.option, 1, Source.FILE, "f.toml:7")
    yielding = OptionValue(port.option, 9090, Source.DEFAULT, yielded=low, yields_to="--uds")
    shown = [yielding if value.option.name == "port" else value for value in values(uds="s\n")]
    text = as_text(shown)
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines() if line}
    assert rows["port"] == "9090 default: f.toml:7 yields to --uds"
    assert rows["uds"] == r"s\n --uds"
    assert rows["uds_mode"] == "0600 default"
    assert rows["idle_timeout_s"] == "5m default"
    assert rows["slot_bytes"] == "256KiB default"
    assert rows["tee"] == "- default"
    assert [line[1:-1] for line in text.splitlines() if line.startswith("[")] == [*TABLES]
    assert "# port = 9090  # default: f.toml:7 yields to --uds" in as_toml(shown)
    assert "# tee: not set  # default" in as_toml(shown)
    assert tomllib.loads(as_toml(shown)) == {
        **{name: {} for name in TABLES},
        "serve": {"uds": "s\n"},
    }


def test_json_has_plain_values_sources_and_origins() -> None:
    """A number that JSON has not is text."""
    data = json.loads(as_json(values(idle_timeout_s=math.inf, ssl_certfile=("a", "b"))))["options"]
    assert data["idle_timeout_s"] == {
        "table": "limits",
        "value": "inf",
        "text": ["inf"],
        "source": "command line",
        "origin": "--idle-timeout-s",
    }
    assert data["ssl_certfile"]["value"] == data["ssl_certfile"]["text"] == ["a", "b"]
    assert data["slot_bytes"]["value"] == 1 << 18
    assert data["slot_bytes"]["text"] == ["256KiB"]
    assert data["port"]["source"] == "default"


def test_bytes_that_are_not_utf_8_cannot_be_toml() -> None:
    """The message says which form can have them; text and JSON escape them."""
    odd = values(tee="\udcff")
    with pytest.raises(SettingsError, match=r"^--tee is .* use --format json$"):
        as_toml(odd)
    assert r"\udcff" in as_text(odd)
    assert json.loads(as_json(odd))["options"]["tee"]["value"] == "\udcff"
