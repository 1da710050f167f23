"""cleanup: a step that fails is a line in the log, and the next one is tried."""

import pytest

from asyncrev.cleanup import attempt


def test_step_that_works_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it returns."""
    done: list[int] = []
    assert attempt("note it", lambda: done.append(1))
    assert attempt("return it", lambda: 0)
    assert done == [1]
    assert not caplog.records


def test_step_that_raises_is_one_line_with_what_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """And no traceback, whose frames a kept record would keep."""

    def fail() -> None:
        raise ValueError("as it is")

    assert not attempt("close it", fail)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == (
        "clean-up goes on, but could not close it: ValueError('as it is')"
    )
    assert record.exc_info is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_end_of_the_program_is_no_failure_of_a_step(kind: type[BaseException]) -> None:
    """Somebody else decides about that."""

    def end() -> None:
        raise kind

    with pytest.raises(kind):
        attempt("close it", end)
