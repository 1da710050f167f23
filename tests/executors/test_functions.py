"""What executors may be asked to call."""

import functools
import zlib

import pytest

from asyncrev.errors import SettingsError
from asyncrev.executors.functions import as_executor_function
from tests.executors import work


def test_function_travels_by_its_name() -> None:
    """With what it declares."""
    assert as_executor_function(work.flip_again, travels=True) == (
        "tests.executors.work:flip_again",
        True,
        False,
    )
    assert as_executor_function(work.tried, travels=True).may_be_tried
    assert as_executor_function(work.Holder.static, travels=True).call.endswith(":Holder.static")
    assert as_executor_function(zlib.compress, travels=True).call == "zlib:compress"


def test_function_that_stays_may_be_anything_that_takes_a_frame() -> None:
    """Threads share it."""
    function = lambda frame: frame  # noqa: E731
    assert as_executor_function(function, travels=False).call is function
    method = work.Holder().method
    assert as_executor_function(method, travels=False).call == method


def undecorated(frame: bytes) -> bytes:
    """Is hidden by its decorated form."""
    return frame


hidden = undecorated
undecorated = functools.partial(undecorated)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda frame: frame, "is a lambda"),
        (work.Holder().method, "method of an object"),
        (work.Holder, "is a class"),
        (functools.partial(zlib.compress, level=1), "functools.partial"),
        (list, "is a class"),
        (lambda: work.Holder(), "factory of processors"),
        (hidden, "not this function"),
        (3, "not callable"),
    ],
)
def test_what_cannot_travel_is_refused_with_advice(function: object, why: str) -> None:
    """Before a worker starts."""
    with pytest.raises(SettingsError, match=why):
        as_executor_function(function, travels=True)


def test_closure_is_refused() -> None:
    """Its variables are not in the worker."""

    def closure(frame: bytes) -> bytes:
        return frame

    with pytest.raises(SettingsError, match="within another function"):
        as_executor_function(closure, travels=True)


def test_object_without_a_name_is_refused() -> None:
    """It would be copied with its state."""

    class Call:
        def __call__(self, frame: bytes) -> bytes:
            return frame

    with pytest.raises(SettingsError, match="object of type Call"):
        as_executor_function(Call(), travels=True)


def test_coroutine_function_is_refused() -> None:
    """Workers have no loop."""

    async def fetch(frame: bytes) -> bytes:
        return frame

    with pytest.raises(SettingsError, match="leave the executor out"):
        as_executor_function(fetch, travels=True)
