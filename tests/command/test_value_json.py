import json
import math
from typing import Any

import click
import pytest

from asyncrev.command.option import Option
from asyncrev.command.option_types import converted
from asyncrev.command.option_values import OptionValue, Source, default_of
from asyncrev.command.options import OPTIONS, option_named
from asyncrev.command.value_json import values_from_json, values_to_json
from asyncrev.errors import SettingsError


def _through_json(values: list[OptionValue]) -> list[OptionValue]:
    text = json.dumps(values_to_json(values), allow_nan=False)
    return values_from_json(json.loads(text))


def _other_value(option: Option) -> Any:
    """Return a value that is not the default, of the type that the option's values have."""
    if isinstance(option.type, click.Choice):
        value = next(one for one in option.type.choices if one != option.default)
    else:
        for text in ("7", "unix", "/a/\udcff file"):
            try:
                value = converted(option.type, text)
                break
            except ValueError:
                continue
        else:
            raise AssertionError(f"no text for {option.name}")
    return (value, value) if option.repeatable else value


def test_the_defaults_of_all_options_come_back() -> None:
    defaults = [default_of(option) for option in OPTIONS]
    assert _through_json(defaults) == defaults


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
@pytest.mark.parametrize("source", [Source.COMMAND_LINE, Source.ENVIRONMENT, Source.FILE])
def test_a_value_of_each_option_comes_back(option: Option, source: Source) -> None:
    line = "asyncrev.toml:3" if source is Source.FILE else ""
    given = OptionValue(option, _other_value(option), source, line)
    assert given.value != default_of(option).value
    values = [given if one is option else default_of(one) for one in OPTIONS]
    back = _through_json(values)
    assert back == values
    found = next(value for value in back if value.option is option)
    assert type(found.value) is type(given.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("idle_timeout_s", math.inf),
        ("idle_timeout_s", 0.1),
        ("idle_timeout_s", 5.0),
        ("ssl_alpn", ("h2", "http/1.1")),
        ("ssl_certfile", ()),
        ("fd", "web"),
        ("fd", 3),
        ("stop_word", "st\udcffop \u2028 \n"),
        ("workers", "auto"),
    ],
)
def test_a_value_comes_back_with_its_type(name: str, value: Any) -> None:
    (back,) = (
        one
        for one in _through_json([OptionValue(option_named(name), value, Source.COMMAND_LINE)])
        if one.option.name == name
    )
    assert back.value == value
    assert type(back.value) is type(value)


def test_what_has_yielded_comes_back() -> None:
    port = OptionValue(option_named("port"), 7, Source.FILE, "asyncrev.toml:3")
    yielding = OptionValue(
        port.option, 9090, Source.DEFAULT, yielded=port, yields_to="ASYNCREV_UDS"
    )
    assert yielding in _through_json([yielding])


def test_options_that_are_not_named_have_their_defaults() -> None:
    given = OptionValue(option_named("port"), 7, Source.COMMAND_LINE)
    expected = [given if one.name == "port" else default_of(one) for one in OPTIONS]
    assert _through_json([given]) == expected


def test_an_option_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"gives new_one, .*; restart the service"):
        values_from_json([["new_one", 1, "default", "", None, ""]])


def test_a_value_of_an_unknown_type_is_no_json() -> None:
    with pytest.raises(TypeError, match="no type that options have"):
        values_to_json([OptionValue(option_named("port"), {1}, Source.DEFAULT)])
