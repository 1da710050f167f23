"""The engine in any order of what may happen, with a scripted executor."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import ProcessorError
from tests.executors import work
from tests.executors.jobs import Job, ScriptedExecutor, engine_of, started


@given(data=st.data(), frames=st.integers(1, 60), workers=st.integers(1, 4))
def test_any_order_of_completions_answers_each_frame_once(
    data: st.DataObject, frames: int, workers: int
) -> None:
    """Calls finish in any order, fail, are cancelled, and frames are cancelled meanwhile."""

    async def main() -> None:
        executor = ScriptedExecutor(workers)
        async with engine_of(executor, work.flip, batch_frames=3) as engine:
            jobs: list[Job] = []
            cancelled: set[Job] = set()
            failed: set[bytes] = set()
            while len(jobs) < frames or any(not job.answer.done() for job in jobs):
                steps = ["start"] * (len(jobs) < frames) + ["run", "fail"] * bool(executor.calls)
                steps += ["cancel"] * bool(jobs) + ["loop"]
                step = data.draw(st.sampled_from(steps)) if len(steps) > 2 else steps[0]
                if step == "start":
                    jobs += started(engine, b"x%d" % len(jobs))
                elif step == "cancel" and len(cancelled) < frames // 3:
                    job = data.draw(st.sampled_from(jobs))
                    if not job.answer.done():
                        engine.cancel(job)
                        cancelled.add(job)
                elif step in ("run", "fail"):
                    at = data.draw(st.integers(0, len(executor.calls) - 1))
                    if step == "run":
                        executor.run(at)
                    else:
                        failed |= set(executor.payloads(at))
                        executor.fail(at, OSError("no such luck"))
                assert len(executor.calls) <= 2 * workers
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            for job in jobs:
                payload, answer = job.request.payload, job.answer.result()
                if payload in failed:
                    assert isinstance(answer, ProcessorError)
                else:
                    assert answer == payload.upper() or (answer is None and job in cancelled)
            assert engine.statistics().running == engine.statistics().ready == 0

    asyncio.run(main())
