"""bench_cli: `asyncrev bench` as it is typed; what it does is tested in tests/process."""

import re
import subprocess
import sys

import pytest

from asyncrev.command.bench_cli import bench
from tests.command_line import invoke
from tests.support import ROOT


def test_help_lists_it_and_has_its_exit_codes() -> None:
    """Beside serve."""
    assert re.search(r"bench +Load a server that answers", invoke("--help").output)
    text = " ".join(invoke("bench", "--help").output.split())
    assert "-c, --connections" in text
    assert "5 the client was the bottleneck, 99 a threshold was broken" in text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("nonsense",), "'nonsense' is no target; give HOST:PORT"),
        (("-c", "many"), "'many' is not a whole number"),
        (("-z", "soon"), "'soon' is not a time"),
        (("--size", "64X"), "'64X' is not a number of bytes"),
        (("--framing", "xml"), "--framing is 'xml'"),
        (("--rate", "0"), "--rate is 0"),
        (("--rate", "fast"), "--rate"),
        (("--threshold", "p99"), "--threshold 'p99'"),
        (("--expect", "nonsense"), "--expect 'nonsense': write it as module:attr"),
        (("--expect", "os:sep"), "--expect os:sep: it is no function"),
        (("--report", "r.pdf"), "--report r.pdf: its name must end in .html or .png"),
        (("--compare", "/nowhere.json"), "--compare /nowhere.json: No such file"),
        (("--compare", "a b"), "'a b' is no name of a run"),
        (("--processes", "51"), "each process needs a connection"),
        (("--tls", "--ca-certs", "/nowhere"), "--ca-certs /nowhere: No such file"),
        (("--nonsense",), "No such option"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(args: tuple[str, ...], words: str) -> None:
    """Before anything is sent."""
    result = invoke("bench", *args)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("asyncrev: error: ")
    assert words in line
    assert line.isprintable()


def test_page_describes_every_option() -> None:
    """By its long name, in the table."""
    page = (ROOT / "docs" / "howto" / "load-test.md").read_text(encoding="utf-8")
    names = {name for option in bench.params for name in option.opts if name.startswith("--")}
    described = set(re.findall(r"^\| `(?:-\w`, `)?(--[a-z-]+)", page, re.M))
    assert described == names


def test_serve_imports_nothing_of_it() -> None:
    """Nor does the help."""
    code = (
        "import sys; from asyncrev.command import cli, serving; "
        "print(sorted(name for name in sys.modules if 'bench' in name or 'hdrh' in name))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
