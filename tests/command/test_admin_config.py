"""admin_config: options with values and origins, in plain JSON types, without secrets."""

import json

from asyncrev.command.admin_config import config_of
from asyncrev.command.option_values import OptionValue, Source
from asyncrev.command.options import OPTIONS, option_named


def test_every_option_has_its_value_and_its_origin() -> None:
    """By name; what JSON has no number for is a text."""
    values = [
        OptionValue(option_named("port"), 1234, Source.COMMAND_LINE),
        OptionValue(option_named("idle_timeout_s"), float("inf"), Source.ENVIRONMENT),
        OptionValue(option_named("tee"), None, Source.DEFAULT),
        OptionValue(option_named("ssl_certfile"), ("/a", "/b"), Source.COMMAND_LINE),
    ]
    config = config_of(values)
    assert json.loads(json.dumps(config, allow_nan=False)) == {
        "options": {
            "port": {"value": 1234, "origin": "--port"},
            "idle_timeout_s": {
                "value": "inf",
                "origin": "ASYNCREV_IDLE_TIMEOUT_S (of the environment)",
            },
            "tee": {"value": None, "origin": "default"},
            "ssl_certfile": {"value": ["/a", "/b"], "origin": "--ssl-certfile"},
        }
    }


def test_secrets_are_hidden() -> None:
    """Whoever knows the stop word can stop the server; that there is one may be seen."""
    row = option_named("stop_word")
    given = OptionValue(row, "please", Source.COMMAND_LINE)
    absent = OptionValue(row, None, Source.DEFAULT)
    assert config_of([given])["options"]["stop_word"]["value"] == "(hidden)"
    assert config_of([absent])["options"]["stop_word"]["value"] is None


def test_whole_table_is_json() -> None:
    """With whatever value a row has."""
    values = [OptionValue(row, row.default, Source.DEFAULT) for row in OPTIONS]
    assert set(json.loads(json.dumps(config_of(values)))["options"]) == {o.name for o in OPTIONS}
