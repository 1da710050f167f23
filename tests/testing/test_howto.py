"""docs/howto/testing.md: its snippets are tests that pass, and its message is what is said."""

import re
from typing import Any

import pytest

from asyncrev.testing import check_processor
from tests.unit.test_docs import snippets

PAGE = "docs/howto/testing.md"

pytest_plugins = ["pytester"]


@pytest.mark.slow
def test_snippets_of_testing_are_tests_that_pass(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one file, in the order of the page, with its conftest.py beside it."""
    codes = snippets(PAGE)
    (conftest,) = [code for code in codes if code.startswith("# conftest.py\n")]
    tests = "\n".join(code for code in codes if code is not conftest)
    count = len(re.findall(r"^def test_", tests, re.M))
    assert count >= 8
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest(conftest)
    pytester.makepyfile(tests)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=count)


def test_message_of_testing_is_what_the_check_says(snippet_names: dict[str, Any]) -> None:
    """The one that the page shows for its wrong processor.

    The smallest of three: once in sixty times Hypothesis is content with a chunk more.
    """
    (code,) = [code for code in snippets(PAGE) if "class Censor" in code]
    said: list[str] = []

    def check_and_keep(*args: Any, **settings: Any) -> None:
        try:
            check_processor(*args, **settings)
        except AssertionError as error:
            said.append(str(error))
            raise

    snippet_names["check_processor"] = check_and_keep
    exec(code, snippet_names)
    for _ in range(3):
        snippet_names["test_censor"]()
    (shown,) = snippets(PAGE, "text")
    assert min(said, key=len) == shown.rstrip()
