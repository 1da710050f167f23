"""supervision: who is live, and who is not there."""

from collections.abc import Mapping

import pytest

from asyncrev.admin.gathering import Answer
from asyncrev.admin.sources import NoWorker
from asyncrev.admin.supervision import NOT_SUPERVISED, AbsentSource, Supervision

FACTS = {"pid": 1, "workers": 2, "generation": 1, "restarts": {}}
WELL, OTHER = Answer("0", {}), Answer("1", {})
SILENT = Answer("1", None, "it does not answer")
STUCK = ["the event loop has not moved for 10 s"]


@pytest.mark.parametrize(
    ("answers", "stuck", "live", "live_alone"),
    [
        ([WELL, OTHER], {}, True, True),
        ([WELL, SILENT], {}, True, True),
        ([WELL, SILENT], {"1": STUCK}, True, False),
        ([WELL, OTHER], {"0": STUCK, "1": STUCK}, False, False),
        ([Answer("0", None, "x"), SILENT], {}, False, True),
        ([SILENT], {"1": STUCK}, False, False),
        ([], {}, False, True),
    ],
)
def test_live(
    answers: list[Answer], stuck: Mapping[str, list[str]], live: bool, live_alone: bool
) -> None:
    """A supervisor mends one worker; nobody mends a single process from inside."""
    every = {answer.worker: [] for answer in answers} | dict(stuck)
    assert Supervision(lambda: FACTS).is_live(answers, every) is live
    assert NOT_SUPERVISED.is_live(answers, every) is live_alone


@pytest.mark.asyncio
async def test_absent_worker_is_not_there() -> None:
    """Which is not the same as one that is stuck."""
    source = AbsentSource("2")
    assert source.worker == "2"
    with pytest.raises(NoWorker, match="is being started"):
        await source.ask("health")
    source.close()
