"""Options of an executor."""

from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import pytest

from asyncrev.command.executor_options import executor_of
from asyncrev.errors import SettingsError
from asyncrev.executors.settings import ExecutorSettings
from tests.executors import work
from tests.support import run_asyncrev


def make_threads() -> Executor:
    """Return an executor, as a user's factory does."""
    return ThreadPoolExecutor(1)


def asked(executor: str | None, **more: Any) -> dict[str, Any]:
    """Return option values by name."""
    return {
        "executor": executor,
        "executor_workers": None,
        "executor_address": None,
        "executor_batch_frames": 16,
        "executor_batch_bytes": 262144,
        "executor_timeout_s": 30.0,
        **more,
    }


def test_without_an_executor_there_is_none() -> None:
    """The processor is called on the worker thread."""
    assert executor_of(asked(None), work.flip) is None


def test_kind_and_its_settings_are_taken() -> None:
    """Nothing starts yet."""
    values = asked("processes", executor_workers=3, executor_timeout_s=5.0)
    assert executor_of(values, work.flip) == (
        "processes",
        work.flip,
        ExecutorSettings(workers=3, timeout_s=5.0),
    )


def test_factory_is_imported_and_not_called() -> None:
    """That is for the engine."""
    choice = executor_of(asked("tests.command.test_executor_options:make_threads"), work.flip)
    assert choice is not None
    assert choice.executor is make_threads


@pytest.mark.parametrize(
    ("values", "function", "why"),
    [
        (asked("process"), work.flip, "--executor 'process': give one of processes"),
        (asked("tests.executors.work:no"), work.flip, "--executor 'tests.executors.work:no'"),
        (asked("tests.executors.work:__name__"), work.flip, "makes no executors"),
        (asked("processes"), work.Holder, "--executor processes: .* is a class"),
        (asked("threads", executor_address="tcp://a:1"), work.flip, "only dask has one"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_option(
    values: dict[str, Any], function: object, why: str
) -> None:
    """Before the server starts."""
    with pytest.raises(SettingsError, match=why):
        executor_of(values, function)


def test_its_options_need_it() -> None:
    """Alone they would do nothing."""
    run = run_asyncrev("serve", "--executor-workers", "3")
    assert run.returncode == 2
    assert "--executor-workers without --executor; say which executor" in run.stderr
