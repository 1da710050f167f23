"""option_values: where values come from, what excludes what, variables that are no option's."""

import pytest

from asyncrev.command.option_values import warnings_of_variables
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
            ["--uds", "s"],
            {"ASYNCREV_HOST": "::"},
            "ASYNCREV_HOST (of the environment) and --uds exclude each other",
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
