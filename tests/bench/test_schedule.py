"""schedule: messages are due at a fixed rate, whatever happens meanwhile."""

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.bench.schedule import Schedule

NS_PER_S = 1_000_000_000


@given(
    rate=st.floats(0.5, 1e6),
    connections=st.integers(1, 40),
    processes=st.integers(1, 4),
    looks=st.lists(st.integers(0, NS_PER_S // 100), min_size=1, max_size=20),
)
def test_messages_of_all_processes_are_evenly_spaced(
    rate: float, connections: int, processes: int, looks: list[int]
) -> None:
    """However late one looks: each message is taken once, in order, and none before its time."""
    processes = min(processes, connections)
    taken: list[tuple[int, int]] = []
    start_ns = 5_000_000_000
    end_ns = start_ns + sum(looks)
    for index in range(processes):
        numbers = range(index, connections, processes)
        schedule = Schedule(rate, numbers, connections, start_ns)
        sent = dict.fromkeys(numbers, 0)
        now_ns = start_ns
        for look_ns in looks:
            now_ns += look_ns
            before = schedule.next_ns
            due = [numbers[at] for at, _ in schedule.take(now_ns)]
            assert bool(due) == (before <= now_ns)
            for number in due:
                due_ns = schedule.due_ns(number, sent[number])
                assert due_ns <= now_ns
                sent[number] += 1
                taken.append((due_ns, number))
            assert schedule.next_ns > now_ns
            assert schedule.untaken(now_ns) == 0
    times = sorted(due_ns for due_ns, _ in taken)
    wanted = [start_ns + int(k * NS_PER_S / rate) for k in range(len(times))]
    assert times == wanted
    assert start_ns + int(len(times) * NS_PER_S / rate) > end_ns


def test_far_behind_it_returns_a_part_and_counts_the_rest() -> None:
    """So a rate that no process can send does not hold it up for ever."""
    schedule = Schedule(1_000_000.0, range(1, 7, 2), 7, 0)
    wanted = sum(1 for k in range(70_001) if k % 7 in (1, 3, 5))
    assert schedule.untaken(70_000_000) == wanted
    assert len(schedule.take(70_000_000)) == Schedule.MOST_AT_ONCE
    assert schedule.untaken(70_000_000) == wanted - Schedule.MOST_AT_ONCE


def test_a_late_look_takes_all_that_was_due() -> None:
    """Nothing is omitted because the server, or this program, was slow."""
    schedule = Schedule(1000.0, range(4), 4, 0)
    assert schedule.take(0) == [(0, 0)]
    assert schedule.take(NS_PER_S) == [(n % 4, n * 1_000_000) for n in range(1, 1001)]
    assert schedule.next_ns == 1_001_000_000
