"""option_values: where values come from, what excludes what, variables that are no option's."""

import pytest

from asyncrev.command.option_values import (
    OptionValue,
    Source,
    contradictions,
    default_of,
    warnings_of_variables,
    without_yielding,
)
from asyncrev.command.options import OPTIONS, option_named
from asyncrev.command.settings import ServeSettings
from tests.command_line import invoke


@pytest.mark.parametrize(
    ("args", "env", "part"),
    [
        (["--uds", "s", "--fd", "3"], {}, "--uds and --fd exclude each other"),
        (["--host", "::", "--uds", "s"], {}, "--host and --uds exclude each other"),
        (["--port", "0", "--fd", "3"], {}, "--port and --fd exclude each other"),
        (
            ["--port", "0", "--host", "::", "--fd", "3", "--uds", "s"],
            {},
            "--host, --port, --uds and --fd exclude each other; say where to listen in one way",
        ),
        (
            [],
            {"ASYNCREV_PORT": "1", "ASYNCREV_FD": "3"},
            "ASYNCREV_FD (of the environment) exclude",
        ),
        (["--uds-mode", "0660"], {}, "--uds-mode without --uds; name the UNIX socket, too"),
        ([], {"ASYNCREV_UDS_MODE": "0660"}, "ASYNCREV_UDS_MODE (of the environment) without --uds"),
        (["--ssl-keyfile", "k"], {}, "--ssl-keyfile without --ssl-certfile; name the cert"),
        ([], {"ASYNCREV_SSL_KEYFILE": "k"}, "ASYNCREV_SSL_KEYFILE (of the environment) without"),
    ],
)
def test_options_that_exclude_each_other_are_refused_by_name(
    served: list[ServeSettings], args: list[str], env: dict[str, str], part: str
) -> None:
    """One of them would be ignored in silence; a variable that nobody sees is named as one."""
    result = invoke("serve", *args, env=env)
    assert result.exit_code == 2
    assert part in result.output
    assert result.output.count("\n") == 1
    assert not served


def test_options_that_go_together_are_taken(served: list[ServeSettings]) -> None:
    """Defaults are not given, so they exclude nothing."""
    for args in (
        ["--host", "::", "--port", "1"],
        ["--uds", "s", "--uds-mode", "0660"],
        ["--fd", "3"],
    ):
        assert invoke("serve", *args).exit_code == 0
    assert [options.uds_mode for options in served] == [0o600, 0o660, 0o600]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ASYNCREV_PROT", "ASYNCREV_PORT"),
        ("ASYNCREV_MAX_CONNECTION", "ASYNCREV_MAX_CONNECTIONS"),
        ("ASYNCREV_IDLE_TIMEOUT", "ASYNCREV_IDLE_TIMEOUT_S"),
        ("ASYNCREV_LOGLEVEL", "ASYNCREV_LOG_LEVEL"),
        ("ASYNCREV_tee", "ASYNCREV_TEE"),
    ],
)
def test_mistyped_variable_is_warned_of_with_the_nearest_option(name: str, nearest: str) -> None:
    """It would be ignored in silence otherwise."""
    assert warnings_of_variables([name, "ASYNCREV_HOST", "HOME"]) == [
        f"{name} is ignored: no option has that variable; perhaps {nearest} was meant"
    ]


def test_variable_that_is_near_to_none_is_warned_of_too() -> None:
    """Without a guess."""
    (warning,) = warnings_of_variables(["ASYNCREV_XYZZY"])
    assert warning == "ASYNCREV_XYZZY is ignored: no option of asyncrev serve has that variable"


@pytest.mark.parametrize(
    "name",
    [
        *(row.variable for row in OPTIONS),
        "ASYNCREV_PLANE",
        "ASYNCREV_BUILD",
        "ASYNCREV_TEST_SCALE",
        "ASYNCREV_SERVICE_HOST",
        "ASYNCREV_SERVICE_PORT",
        "ASYNCREV_SERVICE_PORT_ECHO",
        "ASYNCREV_PORT_9090_TCP",
        "ASYNCREV_PORT_9090_TCP_ADDR",
        "_ASYNCREV_COMPLETE",
    ],
)
def test_other_peoples_variables_are_not_warned_of(name: str) -> None:
    """Those of options, kernels, builds, our tests, Kubernetes for our service, and click."""
    assert warnings_of_variables([name]) == []


def test_rows_name_rows_and_exclude_each_other_both_ways() -> None:
    """A name that is misspelt in the table would never match."""
    for row in OPTIONS:
        assert all(row.name in option_named(name).excludes for name in row.excludes)
        assert not row.needs or option_named(row.needs)
        assert bool(row.needs) == bool(row.needs_hint)


# -- ranks -----------------------------------------------------------------------------------------


def value(name: str, source: Source, given: object = 1) -> OptionValue:
    """Return a value that `source` gives."""
    return OptionValue(option_named(name), given, source, "f.toml:3")


def test_default_has_the_value_that_a_server_without_options_has() -> None:
    """Converted from its text."""
    found = {row.name: default_of(row).value for row in OPTIONS}
    assert found["slot_bytes"] == 262144
    assert found["idle_timeout_s"] == 300.0
    assert found["uds_mode"] == 0o600
    assert (found["port"], found["tee"], found["entries"]) == (9090, None, None)
    assert found["ssl_certfile"] == ()


def test_names_of_a_value_are_those_of_its_source() -> None:
    """For a message, and for a column."""
    names = [(one.origin, one.place) for one in (value("port", source) for source in Source)]
    assert names == [
        ("--port", "--port"),
        ("ASYNCREV_PORT (of the environment)", "ASYNCREV_PORT"),
        ("port (f.toml:3)", "f.toml:3"),
        ("default", "default"),
    ]


def test_lower_rank_yields_and_says_so() -> None:
    """The file's address to the variable's, and that to the flag's; equals stay."""
    given = [
        value("host", Source.FILE),
        value("port", Source.FILE),
        value("uds", Source.ENVIRONMENT),
        value("uds_mode", Source.ENVIRONMENT),
        value("fd", Source.COMMAND_LINE),
    ]
    found = without_yielding(given)
    assert [one.source for one in found[:4]] == [Source.DEFAULT] * 4
    assert [one.yields_to for one in found[:4]] == ["--fd"] * 4
    assert [one.yielded for one in found[:4]] == given[:4]
    assert found[4] is given[4]
    assert contradictions(found) == []
    same = [value("uds", Source.FILE), value("fd", Source.FILE)]
    assert without_yielding(same) == same
    assert [message for message, _ in contradictions(same)] == [
        "uds (f.toml:3) and fd (f.toml:3) exclude each other; say where to listen in one way"
    ]


def test_what_needs_a_value_that_yielded_goes_with_it_unless_it_ranks_as_high() -> None:
    """A mode on the command line is not dropped in silence."""
    given = [
        value("port", Source.COMMAND_LINE),
        value("uds", Source.FILE),
        value("uds_mode", Source.ENVIRONMENT),
    ]
    assert [one.source for one in without_yielding(given)[1:]] == [Source.DEFAULT] * 2
    given[2] = value("uds_mode", Source.COMMAND_LINE)
    ((message, involved),) = contradictions(without_yielding(given))
    assert message.startswith("--uds-mode without --uds; ")
    assert involved == [given[2]]


def test_value_yields_to_none_that_yields_itself() -> None:
    """The variable's socket yields to the flag's port; the file's host may stay."""
    given = [
        value("port", Source.COMMAND_LINE),
        value("uds", Source.ENVIRONMENT),
        value("host", Source.FILE),
    ]
    assert [one.is_given for one in without_yielding(given)] == [True, False, True]
