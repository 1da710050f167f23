"""plugin: its fixtures in a run of pytest of their own."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

GOOD = """
import os

def test_two_servers(asyncrev_server):
    upper = asyncrev_server(bytes.upper, framing="line")
    lower = asyncrev_server(processor=bytes.lower)
    assert upper.port != lower.port
    with upper.connect() as one, lower.connect() as other:
        one.sendall(b"aBc\\n")
        assert one.recv(9) == b"ABC\\n"
        other.sendall(b"aBc")
        assert other.recv(9) == b"abc"

def test_leaks_looks_last(asyncrev_server, asyncrev_leaks):
    asyncrev_server(bytes.upper)

def test_leaks_is_first(asyncrev_leaks, asyncrev_server):
    asyncrev_server(bytes.upper)
"""

BAD = """
import os

def fail(data):
    raise ZeroDivisionError("in the processor")

def test_that_leaks(asyncrev_leaks):
    os.open("/dev/null", os.O_RDONLY)

def test_whose_processor_fails(asyncrev_server):
    server = asyncrev_server(fail)
    with server.connect() as client:
        client.sendall(b"x")
        assert client.recv(9) == b""
"""


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out those that are installed, which have settings of their own."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with a conftest that loads the plugin, and nothing else."""
    pytester.makeconftest('pytest_plugins = ["asyncrev.testing.plugin"]')
    return pytester


def test_fixtures_serve_and_leave_nothing(run: pytest.Pytester) -> None:
    """Several servers a test, and with the check in any order."""
    run.makepyfile(GOOD)
    result = run.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=3)


def test_fixtures_fail_the_test_that_leaves_something(run: pytest.Pytester) -> None:
    """At its teardown: the test itself has passed."""
    run.makepyfile(BAD)
    result = run.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "*AssertionError: descriptors left: *'/dev/null'*",
            "*ZeroDivisionError: in the processor*",
        ]
    )


def test_plugin_is_loaded_on_purpose_only(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of asyncrev comes into a run that did not ask; `-p` asks."""
    pytester.makepyfile("def test_it(asyncrev_leaks):\n    pass\n")
    asked = pytester.runpytest_subprocess("-p", "asyncrev.testing.plugin")
    asked.assert_outcomes(passed=1)
    pytester.makepyfile("import sys\n\ndef test_it():\n    assert 'asyncrev' not in sys.modules\n")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")  # an entry point would bring it in
    pytester.runpytest_subprocess("-p", "no:asyncio").assert_outcomes(passed=1)
    code = "import asyncrev.testing, sys; print('pytest' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert shown.stdout.strip() == b"False"
