"""affinity: which core is chosen, and that choosing it works."""

import builtins
import io
import os
import sys
import threading
import time
from typing import Any

import pytest

from asyncrev.command import affinity
from asyncrev.command.affinity import choose_cpu, core_of_worker, idle_of_cpus, move_threads, pin_to
from asyncrev.errors import SettingsError


class Light:
    shares_core = True


class Heavy:
    shares_core = False


@pytest.fixture
def gil(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set whether the GIL counts as on: `gil(False)`; at first it is on."""

    def set_to(on: bool) -> None:
        monkeypatch.setattr(sys, "_is_gil_enabled", lambda: on, raising=False)

    set_to(True)
    return set_to


def test_each_worker_process_has_a_core_of_its_own_while_there_are_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the order of their numbers; with more workers than cores, from the first on again."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 2, 5})
    assert [core_of_worker(index) for index in range(5)] == [2, 5, 9, 2, 5]


def test_auto_leaves_several_workers_to_the_system(gil: Any) -> None:
    """On one core they would gain nothing."""
    assert choose_cpu("auto", Light, threads=1) is not None
    assert choose_cpu("auto", Light, threads=2) is None


def test_any_pins_nothing() -> None:
    """Whatever the processor says."""
    assert choose_cpu("any", Light) is None


def test_number_of_an_allowed_core_is_taken() -> None:
    """As `taskset` and containers left them."""
    for cpu in os.sched_getaffinity(0):
        assert choose_cpu(str(cpu), Heavy) == cpu


@pytest.mark.parametrize("wanted", ["", "x", "-1", "1.0", "99999", "AUTO", "²", "9" * 5000])
def test_anything_else_is_refused_with_what_is_allowed(wanted: str) -> None:
    """A number of 5,000 digits used to be a ValueError of int()."""
    cpus = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    with pytest.raises(SettingsError) as caught:
        choose_cpu(wanted, Light)
    assert str(caught.value).startswith(f"--cpu is {wanted!r}; it must be auto, any, or one of")
    assert str(caught.value).endswith(f"may use: {cpus}")


def test_auto_takes_the_current_core_for_a_processor_that_shares(gil: Any) -> None:
    """Light work on one core saves the wake-up of another."""
    assert choose_cpu("auto", Light) in os.sched_getaffinity(0)


@pytest.mark.parametrize("processor", [Heavy, object(), None])
def test_auto_leaves_others_alone(gil: Any, processor: object) -> None:
    """Work that releases the GIL wants a core of its own."""
    assert choose_cpu("auto", processor) is None


def test_auto_without_gil_pins_nothing(gil: Any) -> None:
    """Then two threads do run at once, on two cores."""
    gil(False)
    assert choose_cpu("auto", Light) is None


@pytest.mark.parametrize("stat", ["", "1 (x) S 1", "1 (a ) b) S" + " y" * 40])
def test_auto_without_a_readable_stat_pins_nothing(
    gil: Any, monkeypatch: pytest.MonkeyPatch, stat: str
) -> None:
    """/proc may be missing or different; that is no reason not to serve."""
    monkeypatch.setattr(builtins, "open", lambda *_, **__: io.StringIO(stat))
    assert choose_cpu("auto", Light) is None


def test_auto_without_proc_pins_nothing(gil: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, when it cannot be opened at all."""

    def missing(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(builtins, "open", missing)
    assert choose_cpu("auto", Light) is None


def test_auto_on_a_core_that_is_no_longer_allowed_pins_nothing(
    gil: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set may have changed since this thread was last moved."""
    monkeypatch.setattr(affinity, "_current_cpu", lambda: 12345)
    assert choose_cpu("auto", Light) is None


def test_stat_is_read_behind_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's name may hold spaces and parentheses (proc(5))."""
    fields = " ".join(str(number) for number in range(4, 53))
    stat = f"17 (a) S (b 1 2) R {fields}\n"
    monkeypatch.setattr(builtins, "open", lambda *_, **__: io.StringIO(stat))
    assert affinity._current_cpu() == 39


def test_pin_to_holds_for_this_thread_and_those_it_starts() -> None:
    """The worker is started after it; threads that ran before stay where they are."""
    before = os.sched_getaffinity(0)
    cpu = max(before)
    found: list[set[int]] = []

    def pin_and_look() -> None:
        pin_to(cpu)
        child = threading.Thread(target=lambda: found.append(os.sched_getaffinity(0)))
        child.start()
        child.join()
        found.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=pin_and_look)
    thread.start()
    thread.join()
    assert found == [{cpu}, {cpu}]
    assert os.sched_getaffinity(0) == before


def test_pin_to_a_core_that_is_not_there_raises() -> None:
    """OSError, as documented, with the option in its words."""
    with pytest.raises(OSError, match="--cpu 1023: Invalid argument"):
        pin_to(1023)


def test_move_threads_moves_those_that_run_and_those_that_they_start() -> None:
    """Each thread has its own set of cores."""
    before = os.sched_getaffinity(0)
    go_on, started = threading.Event(), threading.Event()
    found: list[set[int]] = []

    def look() -> None:
        started.set()
        go_on.wait(10)
        found.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=look)
    thread.start()
    started.wait(10)
    cpu = max(before)
    try:
        move_threads(before, {cpu})
        found.append(os.sched_getaffinity(0))
    finally:
        move_threads({cpu}, before)
        go_on.set()
        thread.join()
    assert found == [{cpu}, before]


def test_move_threads_back_leaves_those_alone_that_were_not_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NumPy's threads, which may use all cores from their start on, used to be put on one."""
    cpus_of = {1: {0}, 2: {0, 1}, 3: {1}}
    monkeypatch.setattr(os, "listdir", lambda _: list(map(str, cpus_of)))
    monkeypatch.setattr(os, "sched_getaffinity", cpus_of.__getitem__)
    monkeypatch.setattr(os, "sched_setaffinity", cpus_of.__setitem__)
    others = move_threads({0}, {0, 1})
    assert cpus_of == {1: {0, 1}, 2: {0, 1}, 3: {1}}
    cpus_of[4] = {0, 1}  # started by the first
    assert move_threads({0, 1}, {0}, others) == others == {2, 3}
    assert cpus_of == {1: {0}, 2: {0, 1}, 3: {1}, 4: {0}}


def test_move_threads_to_a_core_that_is_not_there_raises() -> None:
    """OSError, as documented."""
    with pytest.raises(OSError, match="Invalid argument"):
        move_threads(os.sched_getaffinity(0), {1023})


def test_thread_that_ends_meanwhile_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory was read before."""
    monkeypatch.setattr(os, "listdir", lambda _: ["1", "2", "3"])
    found: list[tuple[int, set[int]]] = []

    def cpus_of(thread_id: int) -> set[int]:
        if thread_id == 1:
            raise ProcessLookupError
        return {1} if thread_id == 2 else {0}

    monkeypatch.setattr(os, "sched_getaffinity", cpus_of)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *moved: found.append(moved))
    move_threads({1}, {0, 1})
    assert found == [(2, {0, 1})]  # the third is where somebody else wants it


def test_idle_of_cpus_grows_for_each_core() -> None:
    """By no more than the time that passes, on all that this process may use."""
    before, before_s = idle_of_cpus(), time.monotonic()
    assert before.keys() >= os.sched_getaffinity(0)
    after, passed_s = idle_of_cpus(), time.monotonic() - before_s
    assert all(0 <= after[cpu] - before[cpu] <= passed_s + 1 for cpu in before)


@pytest.mark.parametrize("stat", ["", "cpu  1 2 3\ncpu0 1 2 3\n", "cpu 1\ncpux 1 2 3 4 5\n"])
def test_idle_of_cpus_that_cannot_be_seen_is_that_of_none(
    monkeypatch: pytest.MonkeyPatch, stat: str
) -> None:
    """/proc may be different."""
    monkeypatch.setattr(builtins, "open", lambda *_, **__: io.StringIO(stat))
    assert idle_of_cpus() == {}


def test_idle_of_cpus_counts_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core is free meanwhile. The sum of all cores is none of them."""
    stat = "cpu  9 9 9 9 9 9\ncpu0 1 2 3 400 50 6\ncpu3 1 2 3 4 0 6\nintr 1\n"
    monkeypatch.setattr(builtins, "open", lambda *_, **__: io.StringIO(stat))
    ticks = os.sysconf("SC_CLK_TCK")
    assert idle_of_cpus() == {0: 450 / ticks, 3: 4 / ticks}
