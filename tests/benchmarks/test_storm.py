"""The benchmark of a storm of handshakes: a short run, what it computes, what it refuses."""

import ctypes
import json
import math
import platform
import struct
import sys
from typing import Any

import pytest

from benchmarks import storm, tls
from benchmarks.build import have_compiler
from benchmarks.servers import SERVERS, custom

SHORT = ("--rounds", "1", "--seconds", "0.3", "--clients", "4")

needs_openssl = pytest.mark.skipif(
    not have_compiler() or tls.missing() is not None, reason="no gcc, or no OpenSSL for it"
)


def figures(**known: float) -> dict[str, float]:
    return {**dict.fromkeys(storm.FIGURES, 1.0), **known}


@pytest.mark.process
@needs_openssl
def test_short_run_has_every_figure_of_every_server(capsys: pytest.CaptureFixture[str]) -> None:
    """With and without a limit, beside asyncio's own TLS."""
    code = storm.main([*SHORT, "--servers", "asyncrev,asyncio", "--limits", "1", "--json"])
    *_, as_json = capsys.readouterr().out.splitlines()
    assert code == 0
    (of_round,) = json.loads(as_json)
    assert sorted(of_round) == ["asyncio", "asyncrev", "asyncrev-1"]
    for run in of_round.values():
        assert set(run) == set(storm.FIGURES)
        assert all(run[name] >= 0 and math.isfinite(run[name]) for name in storm.FIGURES)
        assert run["handshakes_per_s"] > 0
        assert run["quiet_p50_us"] <= run["quiet_p99_us"]


@pytest.mark.process
@needs_openssl
def test_wrong_replies_fail_the_run() -> None:
    """And are said in words, with the server's name."""
    command = f"{sys.executable} -m tests.benchmarks.swapping {{port}} {{framing}} {{certificate}}"
    with tls.made("1.3", "ecdsa") as used:
        rounds, failures = storm.measure({"swapping": custom(command)}, 2, 1, 0.5, used)
    assert rounds == [{}]
    assert len(failures) == 1
    assert failures[0].startswith("swapping: ")
    assert "wrong replies" in failures[0]


def test_table_compares_within_rounds_and_gives_medians() -> None:
    """A round that one server has missed counts for the others."""
    rounds = [
        {
            "asyncrev": figures(storm_p99_us=2.0, storm_lag_p99_us=3.0),
            "asyncio": figures(storm_lag_p99_us=6.0),
        },
        {"asyncrev": figures(storm_p99_us=4.0, storm_lag_p99_us=1.0)},
        {
            "asyncrev": figures(storm_p99_us=9.0, storm_lag_p99_us=1.0),
            "asyncio": figures(storm_lag_p99_us=10.0),
        },
    ]
    _, ours, theirs = storm.table(rounds).splitlines()
    assert ours.split() == (
        [
            "asyncrev",
            "1",
            "1",
            "1",
            "1",
            "4",
            "4.00",
            "(2.00-9.00)",
            "1",
            "1",
            "0.30",
            "(0.10-0.50)",
        ]
    )
    assert theirs.split()[-2:] == ["1.00", "(1.00-1.00)"]


def test_table_without_the_reference_has_no_ratio_to_it() -> None:
    """The rest stands."""
    _, ours = storm.table([{"asyncrev": figures()}]).splitlines()
    assert " ".join(ours.split()) == "asyncrev 1 1 1 1 1 1.00 (1.00-1.00) 1 1"


def test_limits_are_further_servers_of_ours() -> None:
    """They differ in the option only."""
    options = storm._parse(["--limits", "2,8", "--server", "mine=serve {port} {certificate}"])
    chosen = storm._chosen(options)
    ours: Any = SERVERS["asyncrev"].tls_command
    assert chosen["asyncrev-2"].tls_command == (*ours, "--tls-handshakes-in-flight", "2")
    assert chosen["asyncrev-8"].tls_command == (*ours, "--tls-handshakes-in-flight", "8")
    assert chosen["mine"].tls_command == ("serve", "{port}", "{certificate}")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--servers", "asyncrev,apache"], "there is no apache; there are native, asyncrev"),
        (["--servers", "janus"], "there is no janus; there are native, asyncrev"),
        (["--server", "x=serve {port}"], "x: the command must have {certificate} in it"),
        (["--server", "x=serve {certificate}"], "must be NAME=COMMAND, with {port}"),
    ],
)
def test_server_that_cannot_take_part_is_refused(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, as for every bad option."""
    with pytest.raises(SystemExit) as caught:
        storm.main(arguments)
    assert caught.value.code == 2
    assert part in capsys.readouterr().err


def test_short_slices_end_with_the_block() -> None:
    """The kernel says what was set (sched_getattr(2)), where it knows of slices at all."""
    with storm.short_slices(200_000) as can:
        within_ns = slice_ns()
    if not can or within_ns == 0:
        pytest.skip("this kernel has no slices that can be set")
    assert within_ns == 200_000
    assert slice_ns() != 200_000


def slice_ns() -> int:
    number = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
    if number is None:
        return 0
    attributes = ctypes.create_string_buffer(48)
    assert not ctypes.CDLL(None).syscall(number, 0, attributes, 48, 0)
    found: int = struct.unpack_from("=Q", attributes, 24)[0]
    return found
