"""Causes have a label for metrics, a text for people and a code for shells."""

import signal

import pytest

from asyncrev.supervisor.causes import cause_of


@pytest.mark.parametrize(
    ("return_code", "hung", "label", "code", "is_clean"),
    [
        (0, False, "exit 0", 0, True),
        (3, False, "exit 3", 3, False),
        (-signal.SIGKILL, False, "SIGKILL", 137, False),
        (-signal.SIGABRT, True, "hung", 134, False),
        (-40, False, "signal 40", 168, False),
    ],
)
def test_causes(return_code: int, hung: bool, label: str, code: int, is_clean: bool) -> None:
    cause = cause_of(return_code, hung=hung)
    assert (cause.label, cause.code, cause.is_clean) == (label, code, is_clean)


def test_a_hung_one_is_said_to_be_so() -> None:
    assert cause_of(-9, hung=True).text == "was ended by SIGKILL, because it did not move"
    assert cause_of(1).text == "ended with code 1"
