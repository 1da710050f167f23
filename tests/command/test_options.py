"""options: each row of the table has its type, its default, its variable and its setting."""

import dataclasses
import re
from typing import Any

import pytest

from asyncrev.command.admin_address import AdminAddress
from asyncrev.command.option import Option
from asyncrev.command.options import OPTIONS
from asyncrev.command.settings import ServeSettings
from asyncrev.limits import Limits
from asyncrev.loop.eventloop import EpollEventLoop
from asyncrev.work.reverse import Reverse
from tests.command_line import invoke
from tests.support import ROOT

LIMITS = [row for row in OPTIONS if row.limit]


def test_defaults(served: list[ServeSettings]) -> None:
    """What `asyncrev serve` alone means."""
    assert invoke("serve").exit_code == 0
    (options,) = served
    assert (options.host, options.port, options.uds) == ("127.0.0.1", 9090, None)
    assert (options.loop_name, options.loop_factory) == ("epoll", EpollEventLoop)
    assert (options.processor_name, options.factory) == ("asyncrev:Reverse", Reverse)
    assert options.framing == "raw"
    assert options.limits == Limits()
    assert (options.stop_word, options.tee, options.log_level) == (None, None, "info")


VALUES = {
    "host": ("::1", "::1"),
    "port": ("1234", 1234),
    "uds": ("/tmp/x", "/tmp/x"),
    "fd": ("7", 7),
    "threads": ("3", 3),
    "loop": ("asyncio", "asyncio"),
    "processor": ("zlib:compress", "zlib:compress"),
    "framing": ("len64", "len64"),
    "max-frame-bytes": ("70000", 70000),
    "max-reply-bytes": ("80000", 80000),
    "pool-bytes": ("10000000", 10_000_000),
    "pool-connection-bytes": ("3000000", 3_000_000),
    "slots": ("7", 7),
    "slot-bytes": ("4K", 4096),
    "entries": ("2100", 2100),
    "tls-handshakes-in-flight": ("9", 9),
    "max-connections": ("3", 3),
    "backlog": ("17", 17),
    "in-flight-entries": ("5", 5),
    "in-flight-bytes": ("9999", 9999),
    "high-water-bytes": ("1kB", 1000),
    "low-water-bytes": ("0.5KiB", 512),
    "partial-frame-bytes": ("2048", 2048),
    "tls-handshake-timeout-s": ("750ms", 0.75),
    "linger-timeout-s": ("1m30s", 90.0),
    "first-byte-timeout-s": ("3.5", 3.5),
    "idle-timeout-s": ("inf", float("inf")),
    "frame-timeout-s": ("4.5", 4.5),
    "write-stall-timeout-s": ("1.5", 1.5),
    "drain-timeout-s": ("2.5", 2.5),
    "drain-delay-s": ("5s", 5.0),
    "admin": ("unix:/tmp/x", AdminAddress(path="/tmp/x")),
    "cpu": ("any", None),
    "log-level": ("error", "error"),
    "stop-word": ("exit", b"exit"),
    "tee": ("-", "-"),
    "log-format": ("json", "json"),
    "access-log": ("log", "log"),
}
FIELDS = {"loop": "loop_name", "processor": "processor_name"}


def value_of(options: ServeSettings, option: str) -> Any:
    name = FIELDS.get(option, option.replace("-", "_"))
    return getattr(options if hasattr(options, name) else options.limits, name)


@pytest.mark.parametrize("option", VALUES)
def test_option_comes_from_flag_or_environment(served: list[ServeSettings], option: str) -> None:
    """Both give the same; of the two the flag wins."""
    text, value = VALUES[option]
    variable = "ASYNCREV_" + option.upper().replace("-", "_")
    assert invoke("serve", f"--{option}", text).exit_code == 0
    assert invoke("serve", env={variable: text}).exit_code == 0
    assert invoke("serve", f"--{option}", text, env={variable: "wrong"}).exit_code == 0
    assert [value_of(options, option) for options in served] == [value] * 3


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: row.name)
def test_limit_takes_the_unit_of_its_name_from_flag_or_environment(
    served: list[ServeSettings], row: Option
) -> None:
    """Bytes and seconds with units, counts as plain numbers; the message has the forms."""
    variable = row.variable
    good, wrong, part = ("16777216", "5x", "'5x' is not a valid integer")
    if row.limit.endswith(("_bytes", "_bytes_per_s")):
        good, part = ("16MiB", "'5x' is not a number of bytes; give bytes as 65536, 64K or")
    elif row.follows:
        part = "'5x' is not a whole number; give 0 or more"
    elif row.limit.endswith("_s"):
        good, part = ("1500ms", "'5x' is not a time; give seconds as 30 or 0.5, or with units")
    others = ["--high-water-bytes", "1G", "--pool-bytes", "1G", "--slots", "4"]
    others += ["--pool-connection-bytes", "16M"] if row.limit != "max_frame_bytes" else []
    assert invoke("serve", *others, row.flag, good).exit_code == 0
    given = [name for name in others if name != row.flag]
    if row.flag in others:
        del given[others.index(row.flag)]
    assert invoke("serve", *given, env={variable: good}).exit_code == 0
    wanted = {"16777216": 1 << 24, "16MiB": 1 << 24, "1500ms": 1.5}[good]
    assert [getattr(options.limits, row.limit) for options in served] == [wanted] * 2
    for result in (invoke("serve", row.flag, wrong), invoke("serve", env={variable: wrong})):
        assert result.exit_code == 2
        assert part in result.output
        assert row.flag in result.output
        assert result.output.count("\n") == 1


def test_every_limit_has_an_option_or_the_page_says_why_not() -> None:
    """And an option that sets no field would set nothing."""
    page = (ROOT / "docs" / "howto" / "choose-limits.md").read_text(encoding="utf-8")
    section = page.split("\n## Settings without an option\n")[1].split("\n## ")[0]
    without = set(re.findall(r"^- \*\*`(\w+)`\*\*: \w", section, re.MULTILINE))
    with_one = {row.limit for row in LIMITS}
    fields = {field.name for field in dataclasses.fields(Limits)}
    assert with_one | without == fields
    assert with_one & without == set()


def test_high_water_moves_low_water_along(served: list[ServeSettings]) -> None:
    """Else a small one would contradict the default low water."""
    assert invoke("serve", "--high-water-bytes", "100").exit_code == 0
    assert served[0].limits.low_water_bytes == 25


def test_longest_frame_moves_the_pools_quota_along(served: list[ServeSettings]) -> None:
    """Else a longer one would contradict the default quota."""
    assert invoke("serve", "--max-frame-bytes", "5000000").exit_code == 0
    assert served[0].limits.pool_connection_bytes == 16 << 20


@pytest.mark.parametrize("framing", ["raw", "line", "len32", "len64"])
def test_framing_is_one_of_four(served: list[ServeSettings], framing: str) -> None:
    """And reaches the server by its name."""
    assert invoke("serve", "--framing", framing).exit_code == 0
    assert served[0].framing == framing
