"""What workers report of exceptions."""

import pickle

import pytest

from asyncrev.errors import PeerRefused, ProcessorError
from asyncrev.executors.results import MOST_TEXT_CHARS, failure_of
from tests.executors.work import Unpicklable


def failed(error: BaseException) -> BaseException:
    """Return the error as it comes out at the other end."""
    try:
        raise error
    except BaseException as raised:
        return pickle.loads(pickle.dumps(failure_of(raised))).error()


def test_exception_that_can_travel_is_itself() -> None:
    """With where it was raised, and its attributes."""
    refused = failed(PeerRefused("go away", reply=b"bye"))
    assert isinstance(refused, PeerRefused)
    assert (str(refused), refused.reply) == ("refused: go away", b"bye")
    assert "test_results.py" in refused.__notes__[0]


class Mute(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unpicklable(1, 2), "Unpicklable: one argument"),
        (SystemExit(3), "SystemExit: 3"),
        (Mute(lambda: 0), r"Mute: \(it cannot"),
    ],
)
def test_exception_that_cannot_travel_is_an_error_of_the_processor(
    error: BaseException, text: str
) -> None:
    """It is named."""
    got = failed(error)
    assert type(got) is ProcessorError
    assert got.args[0].startswith(f"a processor raised {text}".replace("\\", ""))


def test_text_is_bounded() -> None:
    """However much a function says."""
    failure = failure_of(ValueError("x" * 100_000))
    assert len(failure.text) == len(failure.where) == MOST_TEXT_CHARS
