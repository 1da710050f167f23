"""The real code in every order of its steps, within a bound: nothing forbidden (docs/proof.md)."""

from collections.abc import Hashable

import pytest

from tests.proof.scenarios import bridge, channel_of, limits_of, pipe, plane, submissions
from tests.proof.scheduler import Explored, Forbidden, Run, explore
from tests.proof.stepped import explore_real

hooked = pytest.mark.parametrize("hooked", [False, True], ids=["asyncio", "hooked"])

# Of each scenario: what it is, and with how many preemptions it is run fast and slowly.
PIPES = {
    "one entry": ({"nchunks": 2, "nentries": 1, "apart": True}, 1, 3),
    "bounded delivery": ({"nchunks": 3, "nentries": 2, "apart": False, "most": 1}, 1, 2),
    "slots for all": ({"nchunks": 2, "nentries": 2, "apart": False}, 2, 3),
}
PLANES = {
    "one connection": ({"chunks": (2,), "nentries": 1, "most_entries": 2}, 1, 2),
    "over its quota": ({"chunks": (3,), "nentries": 3, "most_entries": 1}, 1, 2),
    "two connections": ({"chunks": (2, 2), "nentries": 3, "most_entries": 2}, 1, 2),
}
BRIDGES = {
    "one lane": ({"chunks": (1,), "limits": limits_of(1, 1)}, 1, 2),
    "two lanes, one overflows": ({"chunks": (2, 1), "limits": limits_of(1, 1)}, 1, 2),
    "two lanes, slots for all": ({"chunks": (2, 1), "limits": limits_of(1, 2)}, 1, 2),
    "lines across chunks": (
        {"chunks": (3,), "limits": limits_of(2, 4, slot_bytes=3), "framed": True},
        1,
        2,
    ),
    "a lane is closed": ({"chunks": (1,), "limits": limits_of(1, 1), "meanwhile": "close"}, 1, 2),
    "the bridge is stopped": (
        {"chunks": (1,), "limits": limits_of(1, 1), "meanwhile": "stop"},
        0,
        1,
    ),
    "the worker dies": ({"chunks": (2, 1), "limits": limits_of(1, 2), "meanwhile": "die"}, 1, 3),
}
CHANNELS = {
    "put and get": ({"nbuffers": 2, "nslots": 1}, 1, 2),
    "a put is cancelled": ({"nbuffers": 2, "nslots": 1, "meanwhile": "cancel put"}, 1, 2),
    "a get is cancelled": ({"nbuffers": 2, "nslots": 1, "meanwhile": "cancel get"}, 1, 2),
    "the loop closes": ({"nbuffers": 2, "nslots": 1, "meanwhile": "close"}, 1, 2),
    "the thread closes": ({"nbuffers": 2, "nslots": 1, "answers": 1}, 1, 3),
}
SUBMISSIONS = {
    "two submissions": ({"nchunks": 1, "limits": limits_of(1, 1), "cancelled": False}, 1, 2),
    "one is cancelled": ({"nchunks": 1, "limits": limits_of(1, 2), "cancelled": True}, 0, 1),
}


@hooked
@pytest.mark.parametrize("name", PIPES)
def test_pipe_in_every_order(name: str, hooked: bool) -> None:
    """Ring, sides, wake-ups and worker."""
    settings, preemptions, _ = PIPES[name]
    found = explore_real(pipe(hooked=hooked, **settings), preemptions=preemptions)
    assert found.outcomes == {settings["nchunks"]: found.runs}
    assert found.runs >= 20


@hooked
@pytest.mark.parametrize("name", PLANES)
def test_plane_in_every_order(name: str, hooked: bool) -> None:
    """Plane, ring, sides, wake-ups and worker."""
    settings, preemptions, _ = PLANES[name]
    found = explore_real(plane(hooked=hooked, **settings), preemptions=preemptions)
    assert found.outcomes == {sum(settings["chunks"]): found.runs}
    assert found.runs > 20


@hooked
@pytest.mark.parametrize("name", BRIDGES)
def test_bridge_in_every_order(name: str, hooked: bool) -> None:
    """A whole bridge, its connections, and what may happen to it."""
    settings, preemptions, _ = BRIDGES[name]
    found = explore_real(bridge(hooked=hooked, **settings), preemptions=preemptions)
    assert ends_of(found) == bridge_ends(name)
    assert found.runs > 10


@hooked
@pytest.mark.parametrize("name", CHANNELS)
def test_channel_in_every_order(name: str, hooked: bool) -> None:
    """A whole channel, its two sides, and what may happen to them."""
    settings, preemptions, _ = CHANNELS[name]
    found = explore_real(channel_of(hooked=hooked, **settings), preemptions=preemptions)
    assert found.outcomes.keys() >= channel_outcomes(name)
    assert found.runs > 10


@hooked
@pytest.mark.parametrize("name", SUBMISSIONS)
def test_submissions_in_every_order(name: str, hooked: bool) -> None:
    """`Bridge.submit`, and its cancellation."""
    settings, preemptions, _ = SUBMISSIONS[name]
    found = explore_real(submissions(hooked=hooked, **settings), preemptions=preemptions)
    wanted = {("bytes", "bytes")}
    if settings["cancelled"]:
        wanted.add(("CancelledError", "bytes"))
    assert found.outcomes.keys() == wanted


@hooked
def test_worker_whose_sleep_times_out_loses_nothing(hooked: bool) -> None:
    """I5, I7: the backstop and an unpark may come together."""
    scenario = pipe(2, 2, hooked=hooked, apart=True)
    assert explore_real(scenario, preemptions=1, timeouts=2).outcomes.keys() == {2}


@pytest.mark.slow
@pytest.mark.timeout(600)
@hooked
@pytest.mark.parametrize(
    ("scenario", "name"),
    [
        *((pipe, name) for name in PIPES),
        *((plane, name) for name in PLANES),
        *((bridge, name) for name in BRIDGES),
        *((channel_of, name) for name in CHANNELS),
        *((submissions, name) for name in SUBMISSIONS),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_more_preemptions(scenario: object, name: str, hooked: bool) -> None:
    """The same, deeper: `explore` raises on what is forbidden."""
    tables = {pipe: PIPES, plane: PLANES, bridge: BRIDGES}
    tables |= {channel_of: CHANNELS, submissions: SUBMISSIONS}
    settings, fast, slow = tables[scenario][name]
    found = explore_real(scenario(hooked=hooked, **settings), preemptions=slow)
    assert sum(found.outcomes.values()) == found.runs
    assert slow > fast
    assert found.runs > 200


def ends_of(found: Explored) -> set[tuple[Hashable, ...]]:
    """Return how the connections ended, without how much they had got."""
    return {tuple(end for end, _ in outcome) for outcome in found.outcomes}


def bridge_ends(name: str) -> set[tuple[Hashable, ...]]:
    """Return how the connections of a scenario may end; some order must end in each."""
    settings, _, _ = BRIDGES[name]
    whole = ("end",) * len(settings["chunks"])
    other = {"close": "closed", "stop": "BridgeStopped"}.get(settings.get("meanwhile", ""))
    if settings.get("meanwhile") == "die":
        return {("WorkerDied",) * len(whole)}
    return {whole} if other is None else {whole, (other,)}


def channel_outcomes(name: str) -> set[Hashable]:
    """Return how many were put and got in a scenario; some order must end in each."""
    settings, _, _ = CHANNELS[name]
    if settings.get("answers") == 1:
        return {(1, 1)}
    return {(2, 2), (1, 1)} if settings.get("meanwhile") == "close" else {(2, 2)}


# -- the scheduler itself --------------------------------------------------------------------------


def two_increments(run: Run) -> object:
    """Two actors that add one to a number without a lock."""
    number = [0]

    def add() -> None:
        run.point("read")
        value = number[0]
        run.point("write")
        number[0] = value + 1

    run.spawn("a", add)
    run.spawn("b", add)
    return lambda: number[0]


def test_scheduler_runs_every_order_once() -> None:
    """Two actors of two points and an end each: six orders; the race is in four of them."""
    found = explore(two_increments, preemptions=99)
    assert found.outcomes[2] == found.runs - found.outcomes[1]
    assert found.outcomes[1] > found.outcomes[2] > 0
    again = explore(two_increments, preemptions=99)
    assert again == found


def test_scheduler_without_preemptions_changes_only_at_ends() -> None:
    """Whoever begins goes on to its end."""
    assert explore(two_increments, preemptions=0).outcomes.keys() == {2}


def test_scheduler_reports_a_deadlock_and_the_way_to_it() -> None:
    """Two that wait for each other."""

    def scenario(run: Run) -> object:
        done: list[str] = []
        run.spawn("a", lambda: run.point("wait for b", lambda: "b" in done))
        run.spawn("b", lambda: (run.point("begin"), run.point("wait for a", lambda: "a" in done)))
        return lambda: None

    with pytest.raises(Forbidden, match="a and b would wait for ever") as caught:
        explore(scenario, preemptions=1)
    assert caught.value.what == "ASLEEP"
    assert "b: begin" in caught.value.schedule


def test_scheduler_passes_on_what_an_actor_raises() -> None:
    """A mistake in a scenario is no finding, and no actor is left behind."""

    def scenario(run: Run) -> object:
        def fail() -> None:
            run.point("begin")
            raise KeyError("mistake")

        run.spawn("a", fail)
        run.spawn("b", lambda: run.point("wait", lambda: False))
        return lambda: None

    with pytest.raises(KeyError, match="mistake"):
        explore(scenario, preemptions=1)


def test_scheduler_gives_up_after_so_many_runs() -> None:
    """Whoever asks for too much is told so."""
    with pytest.raises(RuntimeError, match="2 runs were not enough"):
        explore(two_increments, preemptions=99, most_runs=2)
