"""click_options: the help, and values with their sources from a context."""

import re

import click
from click.testing import CliRunner

from asyncrev.command import cli
from asyncrev.command.click_options import OptionsCommand, parameters, values_of
from asyncrev.command.option import GROUPS
from asyncrev.command.option_values import OptionValue, Source
from asyncrev.command.options import OPTIONS
from tests.command_line import invoke

SERVE_OPTIONS = [
    "host", "port", "uds", "uds-mode", "fd", "ssl-certfile", "ssl-keyfile", "ssl-ca-certs",
    "ssl-cert-reqs", "ssl-ciphers", "ssl-min-version", "ssl-alpn", "threads", "loop",
    "proxy-protocol", "proxy-from", "proxy-timeout-s",
    "processor", "framing", "max-frame-bytes", "max-reply-bytes", "pool-bytes",
    "pool-connection-bytes", "slots", "slot-bytes", "entries", "max-connections", "backlog",
    "max-connections-per-ip", "min-rate-bytes-per-s", "max-connection-age-s",
    "in-flight-entries", "in-flight-bytes", "high-water-bytes",
    "first-byte-timeout-s", "idle-timeout-s", "frame-timeout-s", "write-stall-timeout-s",
    "drain-timeout-s", "low-water-bytes", "partial-frame-bytes", "tls-handshake-timeout-s",
    "tls-handshakes-in-flight", "linger-timeout-s", "cpu", "log-level", "stop-word", "tee",
    "log-format", "access-log",
    "admin", "drain-delay-s", "config",
    "workers", "balance", "restart-limit", "hung-after-s", "drain-spread-s",
    "executor", "executor-workers", "executor-address", "executor-batch-frames",
    "executor-batch-bytes", "executor-timeout-s",
    "pending-per-connection", "pending-total", "pending-total-bytes", "processor-timeout-s",
]  # fmt: skip


def help_text() -> str:
    """Return the help of `serve`, unwrapped."""
    result = invoke("serve", "--help")
    assert result.exit_code == 0
    return " ".join(result.output.split())


def test_every_option_is_declared_and_in_the_help() -> None:
    """Nothing is hidden, and the list above is all there is."""
    declared = {p.opts[0].removeprefix("--") for p in cli.serve.params}
    assert declared == set(SERVE_OPTIONS) == {row.flag.removeprefix("--") for row in OPTIONS}
    text = help_text()
    for option in SERVE_OPTIONS:
        assert f"--{option} " in text
    assert "Exit codes: 0 clean, 1 runtime error, 2 usage, 3 the drain deadline" in text


def test_every_parameter_reads_the_variable_of_its_row() -> None:
    """The rule that the help gives for variables holds for each."""
    assert {p.name: p.envvar for p in cli.serve.params} == {
        row.name: "ASYNCREV_" + row.flag.removeprefix("--").upper().replace("-", "_")
        for row in OPTIONS
    }
    assert "--max-connections as ASYNCREV_MAX_CONNECTIONS" in help_text()


def test_defaults_are_shown_as_they_would_be_written() -> None:
    """With units, or with the option that they follow from."""
    text = help_text()
    for shown in (
        "largest chunk. [default: 256KiB]",
        "inf for no limit. [default: 5m]",
        "at once. [default: 256]",
        "small and large. [default: four times --slots]",
        "BYTES here and below: 65536, 64K or 64KiB (1024 each), 64kB (1000 each)",
        "SECONDS: 30 or 0.5, or with units as 500ms",
    ):
        assert shown in text


def test_help_has_an_example_on_top_and_groups_that_fit_a_screen() -> None:
    """At most seven groups, each with some rows, in the order of the table; 80 columns."""
    lines = invoke("serve", "--help").output.splitlines()
    assert max(map(len, lines)) <= 80
    assert "    asyncrev serve --port 9090 --processor work:Upper --framing line" in lines[:8]
    headings = [line.removesuffix(":") for line in lines if re.fullmatch(r"[A-Z][\w ]+:", line)]
    assert headings == list(GROUPS)
    assert len(GROUPS) <= 7
    assert {row.group for row in OPTIONS} == set(GROUPS)


def test_values_of_a_context_have_their_sources() -> None:
    """What `config show` will print; what follows from another option has no value yet."""
    found: dict[str, OptionValue] = {}

    @click.command(cls=OptionsCommand, params=parameters())
    @click.pass_context
    def show(context: click.Context, /, **_: object) -> None:
        found.update({value.option.name: value for value in values_of(context)})

    environment = {"ASYNCREV_SLOT_BYTES": "4K", "ASYNCREV_PORT": "1"}
    result = CliRunner().invoke(show, ["--port", "2"], env=environment)
    assert result.exit_code == 0, result.output
    assert list(found) == [row.name for row in OPTIONS]
    given = {name: value for name, value in found.items() if value.is_given}
    assert {name: (value.value, value.source) for name, value in given.items()} == {
        "port": (2, Source.COMMAND_LINE),
        "slot_bytes": (4096, Source.ENVIRONMENT),
    }
    assert given["port"].origin == "--port"
    assert given["slot_bytes"].origin == "ASYNCREV_SLOT_BYTES (of the environment)"
    assert (found["slots"].value, found["slots"].origin) == (256, "default")
    assert found["entries"].value is None
    assert found["ssl_keyfile"].value == ()


def test_option_that_can_be_repeated_has_a_tuple() -> None:
    """By flags in their order, or by a variable with separators; a space is none, a path has it."""
    found: list[OptionValue] = []

    @click.command(cls=OptionsCommand, params=parameters())
    @click.pass_context
    def show(context: click.Context, /, **_: object) -> None:
        found.extend(value for value in values_of(context) if value.is_given)

    for given, environment in (
        (["--ssl-certfile", "a b", "--ssl-certfile", "c:d"], {}),
        ([], {"ASYNCREV_SSL_CERTFILE": "a b:c"}),
        (["--ssl-certfile", "a"], {"ASYNCREV_SSL_CERTFILE": "b"}),
    ):
        assert CliRunner().invoke(show, given, env=environment).exit_code == 0
    assert [value.value for value in found] == [("a b", "c:d"), ("a b", "c"), ("a",)]
