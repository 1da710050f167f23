"""exit_codes: those that the help promises."""

import pytest

from asyncrev.command import exit_codes
from tests.command_line import invoke


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (exit_codes.EXIT_CLEAN, "0 clean"),
        (exit_codes.EXIT_RUNTIME_ERROR, "1 runtime error"),
        (exit_codes.EXIT_USAGE, "2 usage"),
        (exit_codes.EXIT_DRAIN_ABORTED, "3 the drain deadline aborted connections"),
    ],
)
def test_code_is_the_one_in_the_help(code: int, said: str) -> None:
    """Supervisors rely on them."""
    assert said.startswith(f"{code} ")
    assert said in " ".join(invoke("serve", "--help").output.split())
