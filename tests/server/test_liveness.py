"""liveness: what moves, what is stuck, and what has nothing to do."""

from typing import Any

from asyncrev.server.liveness import Liveness


def health(*threads: tuple[int, int], steps: int = 0) -> dict[str, Any]:
    """Return an answer whose threads have (published, processed), and as many steps each."""
    return {
        "threads": [
            {"published": many, "processed": done, "steps": steps} for many, done in threads
        ]
    }


def test_loop_that_answers_moves() -> None:
    """For as long as it does."""
    liveness = Liveness(0.0, 10.0)
    for now_s in range(0, 100, 5):
        liveness.note(now_s, health((0, 0)))
        assert liveness.stuck(now_s + 5) == []


def test_loop_that_does_not_answer_is_stuck_after_the_time() -> None:
    """Also one that never has."""
    liveness = Liveness(0.0, 10.0)
    assert liveness.stuck(9.9) == []
    assert liveness.stuck(10.0) == ["the event loop has not moved for 10 s"]


def test_worker_with_work_and_without_progress_is_stuck() -> None:
    """The other one, which is idle, is not."""
    liveness = Liveness(0.0, 10.0)
    for now_s in (0.0, 5.0, 10.0, 15.0):
        liveness.note(now_s, health((7, 6), (3, 3)))
    assert liveness.stuck(15.0) == ["worker thread 0 has not moved for 15 s"]


def test_worker_that_progresses_under_constant_load_moves() -> None:
    """It is never done, and always a little further."""
    liveness = Liveness(0.0, 10.0)
    for second in range(60):
        liveness.note(second, health((second + 100, second)))
    assert liveness.stuck(60.0) == []


def test_worker_that_was_idle_for_long_has_its_whole_time() -> None:
    """Its work comes now."""
    liveness = Liveness(0.0, 10.0)
    liveness.note(0.0, health((3, 3)))
    liveness.note(100.0, health((3, 3)))
    liveness.note(105.0, health((4, 3)))
    assert liveness.stuck(109.0) == []
    liveness.note(110.0, health((4, 3)))
    assert liveness.stuck(110.0) == ["worker thread 0 has not moved for 10 s"]


def test_worker_that_moves_within_an_entry_is_not_stuck() -> None:
    """A chunk of a thousand frames may take long; the last of them begins anew."""
    liveness = Liveness(0.0, 10.0)
    for second in range(60):
        liveness.note(second, health((1, 0), steps=second // 5))
        assert liveness.thread_idle_s(second) == second % 5
        assert liveness.stuck(second) == []
    liveness.note(65.0, health((1, 0), steps=11))
    assert liveness.thread_idle_s(65.0) == 10.0


def test_idle_time_of_threads_is_that_of_the_worst() -> None:
    """None without threads; whoever has nothing to do has none."""
    liveness = Liveness(0.0, 10.0)
    assert liveness.thread_idle_s(9.0) == 0.0
    for now_s in (0.0, 3.0, 7.0):
        liveness.note(now_s, health((2, 2), (2, 1 if now_s else 0), (5, 1)))
    assert liveness.thread_idle_s(7.0) == 7.0
