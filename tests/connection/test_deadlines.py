"""deadlines: what passes when, what starts the time anew and what does not; all in virtual time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Limits
from asyncrev.connection.deadlines import (
    MOST_OPAQUE_LOOKS,
    TAKEN_STEP_BYTES,
    Deadlines,
    Unchanged,
)
from asyncrev.errors import (
    DeadlinePassed,
    FirstByteLate,
    FrameLate,
    IdleTooLong,
    InputTooSlow,
    RepliesTooSlow,
    TlsHandshakeLate,
    WriteStalled,
)

INF = float("inf")
# All different, and each the shortest of those that could pass together with it.
LIMITS = Limits(
    first_byte_timeout_s=5, idle_timeout_s=30, frame_timeout_s=10, write_stall_timeout_s=20
)


class Watched:
    """Deadlines, and what a sweep sees of one connection; a look changes what it names."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.deadlines = Deadlines(limits)
        self.seen: dict[str, Any] = {
            "received_bytes": 0,
            "written_bytes": 0,
            "unsent_bytes": 0,
            "busy": False,
            "frame_seq": None,
            "on_way_bytes": 0,
        }
        self.held: tuple[int, bool] = (0, False)
        self.asked = 0

    def _held_input(self) -> tuple[int, bool]:
        self.asked += 1
        return self.held

    def look(
        self, now_s: float, *, held: int | None = None, ended: bool | None = None, **changes: Any
    ) -> type[DeadlinePassed] | None:
        """Return the type of what has passed; `held`, `ended`: what the kernel has of input."""
        self.seen |= changes
        self.held = (
            self.held[0] if held is None else held,
            self.held[1] if ended is None else ended,
        )
        error = self.deadlines.passed(now_s, held_input=self._held_input, **self.seen)
        return None if error is None else type(error)

    def text(self, now_s: float) -> str:
        """Return the message of what has passed."""
        return str(self.deadlines.passed(now_s, **self.seen))


# -- Unchanged -----------------------------------------------------------------------------------


def test_unchanged_counts_from_the_look_that_saw_the_value_first() -> None:
    """0 whenever it is another than before; None and False are values like any."""
    watch = Unchanged()
    assert watch.for_s(100.0, None) == 0.0
    assert watch.for_s(101.5, None) == 1.5
    assert watch.for_s(102.0, False) == 0.0
    assert watch.for_s(102.0, False) == 0.0
    assert watch.for_s(107.0, False) == 5.0
    assert watch.for_s(108.0, None) == 0.0
    assert watch.for_s(109.0, None) == 1.0


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, 0, 1, (0, True)]))))
def test_unchanged_agrees_with_a_plain_history(steps: list[tuple[int, Any]]) -> None:
    """Oracle: back through the looks, as far as they all saw this value."""
    watch = Unchanged()
    history: list[tuple[int, Any]] = []
    now_s = 0
    for waited_s, value in steps:
        now_s += waited_s
        history.append((now_s, value))
        since_s = now_s
        for seen_s, seen in reversed(history):
            if seen != value:
                break
            since_s = seen_s
        assert watch.for_s(now_s, value) == now_s - since_s


# -- the first byte ------------------------------------------------------------------------------


def test_first_byte_passes_at_its_time_and_again() -> None:
    """Counted from the first look, whatever the clock says."""
    watched = Watched()
    assert watched.look(1000.0) is None
    assert watched.look(1004.9) is None
    assert watched.look(1005.0) is FirstByteLate
    assert watched.look(1006.0) is FirstByteLate
    assert watched.text(1006.0) == ("nothing was received within 6.0 s; first_byte_timeout_s is 5")


def test_first_byte_that_came_ends_that_deadline_for_good() -> None:
    """From then on it is the idle one."""
    watched = Watched()
    assert watched.look(0.0) is None
    assert watched.look(4.9, received_bytes=1) is None
    assert watched.look(34.8) is None
    assert watched.look(34.9) is IdleTooLong


def test_first_byte_counts_what_came_before_the_first_look() -> None:
    """A PROXY header, for one; but a first byte that has come starts the idle deadline anew."""
    watched = Watched()
    watched.deadlines.count_from(3.0)
    assert watched.look(1000.0) is None
    assert watched.look(1001.9) is None
    assert watched.look(1002.0) is FirstByteLate
    early = Watched()
    early.deadlines.count_from(3.0)
    assert early.look(1000.0, received_bytes=1) is None
    assert early.look(1029.9) is None
    assert early.look(1030.0) is IdleTooLong


def test_handshake_and_first_byte_have_one_beginning() -> None:
    """The handshake's time is the first byte's, too, and so is that of what came before both."""
    limits = Limits(first_byte_timeout_s=5, tls_handshake_timeout_s=4)
    watched = Watched(limits)
    watched.deadlines.count_from(1.0)
    assert watched.look(1000.0, handshaking=True) is None
    assert watched.look(1002.9) is None
    assert watched.look(1003.0) is TlsHandshakeLate
    assert watched.look(1003.5, handshaking=False, data_bytes=0) is None
    assert watched.look(1003.9) is None
    assert watched.look(1004.0) is FirstByteLate


# -- idle ----------------------------------------------------------------------------------------


def test_idle_passes_at_its_time_and_again() -> None:
    """Its message has both values."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=7) is None
    assert watched.look(29.9) is None
    assert watched.look(30.0) is IdleTooLong
    assert watched.look(31.5) is IdleTooLong
    assert watched.text(31.5) == "nothing was received for 31.5 s; idle_timeout_s is 30"


@pytest.mark.parametrize(
    "sign",
    [{"received_bytes": 8}, {"written_bytes": 1}, {"busy": True}],
    ids=["a byte came", "a reply was taken", "the worker had it"],
)
def test_idle_starts_anew_at_any_sign_of_life(sign: dict[str, Any]) -> None:
    """The peer is owed the whole time after what was answered last."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=7) is None
    assert watched.look(29.0, **sign) is None
    assert watched.look(30.0, busy=False) is None
    assert watched.look(58.9) is None
    since_s = 30.0 if sign.get("busy") else 29.0
    assert watched.look(since_s + 29.9) is None
    assert watched.look(since_s + 30.0) is IdleTooLong


def test_idle_is_not_for_a_peer_that_is_owed_something() -> None:
    """Who takes a byte now and then is slow, not idle; the time starts when all is taken."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=7, written_bytes=50, unsent_bytes=50) is None
    for unsent in range(49, 40, -1):
        assert watched.look(15.0 * (50 - unsent), unsent_bytes=unsent) is None
    assert watched.look(149.0, unsent_bytes=0) is None
    assert watched.look(178.9) is None
    assert watched.look(179.0) is IdleTooLong


# -- the frame -----------------------------------------------------------------------------------


def test_frame_passes_at_its_time_whatever_arrives_meanwhile() -> None:
    """It is absolute: a byte a second buys nothing."""
    watched = Watched()
    for second in range(10):
        assert watched.look(float(second), received_bytes=second + 1, frame_seq=1) is None
    assert watched.look(9.9, received_bytes=11) is None
    assert watched.look(10.0, received_bytes=12) is FrameLate
    assert watched.look(11.0, received_bytes=13) is FrameLate
    assert watched.text(11.0) == ("a frame was not complete after 11.0 s; frame_timeout_s is 10")


def test_frame_that_is_another_has_a_time_of_its_own() -> None:
    """Also when no look ever saw the moment between two frames."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=1, frame_seq=1) is None
    assert watched.look(9.0, received_bytes=2, frame_seq=2) is None
    assert watched.look(18.9) is None
    assert watched.look(19.0) is FrameLate


def test_frame_that_ended_leaves_no_time_behind() -> None:
    """The same number later is a new frame: its time does not go on."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=1, frame_seq=1) is None
    assert watched.look(9.0, frame_seq=None) is None
    assert watched.look(9.5, frame_seq=1) is None
    assert watched.look(19.4) is None
    assert watched.look(19.5) is FrameLate


def test_frame_that_is_late_is_judged_by_what_had_come_when_it_was_seen_so() -> None:
    """Input on its way may hold the rest; what comes after that look does not put it off."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=1, frame_seq=1) is None
    assert watched.look(10.0, received_bytes=50, busy=True, on_way_bytes=49) is None
    assert watched.look(11.0, received_bytes=80, on_way_bytes=31) is None
    assert watched.look(12.0, received_bytes=90, on_way_bytes=40) is FrameLate


def test_frame_that_is_late_but_was_ended_by_what_had_come_is_not_aborted() -> None:
    """It was we who were late; the next frame has all its time."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=1, frame_seq=1) is None
    assert watched.look(10.0, received_bytes=50, busy=True, on_way_bytes=49) is None
    assert watched.look(12.0, received_bytes=90, frame_seq=2, on_way_bytes=40) is None
    assert watched.look(21.9, on_way_bytes=20) is None
    # Late by now: what had come when it was seen so is on its way once more.
    assert watched.look(22.0, received_bytes=100, on_way_bytes=1) is None
    assert watched.look(23.0, received_bytes=101) is FrameLate


def test_frame_that_ended_on_time_leaves_nothing_to_judge_the_next_by() -> None:
    """Between frames, with input on its way, there is no frame to be late."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=1, frame_seq=1) is None
    assert watched.look(10.0, received_bytes=50, busy=True, on_way_bytes=49) is None
    assert watched.look(11.0, frame_seq=None, on_way_bytes=9) is None
    assert watched.look(500.0) is None


def test_frame_time_goes_on_while_we_are_busy_with_no_input_of_it() -> None:
    """The end of input is on its way, or nothing is read any more: when it came back, it counts."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=1, frame_seq=1) is None
    for now_s in (5.0, 10.0, 15.0):
        assert watched.look(now_s, received_bytes=int(now_s), busy=True) is None
    assert watched.look(15.5, busy=False) is FrameLate


def test_frame_is_not_kept_open_by_bytes_on_their_way_at_every_look() -> None:
    """A byte a second in time with the sweeps used to be one for which we were late ourselves."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, busy=True, on_way_bytes=4) is None
    for second in range(1, 12):
        changes = {"received_bytes": 4 + second, "on_way_bytes": 1, "frame_seq": 1}
        assert watched.look(float(second), **changes) is None
    assert watched.look(12.0, received_bytes=16) is FrameLate


def test_frame_that_is_late_waits_for_what_had_come_by_then() -> None:
    """The rest of it may be there, and be ours to work on, for as long as that takes."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, frame_seq=1) is None
    assert watched.look(10.0, received_bytes=10, busy=True, on_way_bytes=6) is None
    assert watched.look(50.0, received_bytes=15, on_way_bytes=6) is None
    assert watched.look(51.0, on_way_bytes=5, frame_seq=2) is None  # it was the rest
    assert watched.look(60.9, on_way_bytes=1) is None
    assert watched.look(61.0, received_bytes=16, on_way_bytes=1) is None  # late for the first time
    assert watched.look(62.0, received_bytes=18, on_way_bytes=2) is FrameLate


def test_frame_begun_stops_the_idle_time() -> None:
    """Within a frame there is one deadline: the frame's."""
    limits = LIMITS.replace(idle_timeout_s=5)
    watched = Watched(limits)
    assert watched.look(0.0, received_bytes=1, frame_seq=1) is None
    assert watched.look(9.9) is None
    assert watched.look(10.0) is FrameLate


# -- write stall ---------------------------------------------------------------------------------


def test_write_stall_passes_at_its_time_and_again() -> None:
    """Its message tells how much was not taken."""
    watched = Watched()
    assert watched.look(100.0, received_bytes=9, written_bytes=50, unsent_bytes=20) is None
    assert watched.look(119.9) is None
    assert watched.look(120.0) is WriteStalled
    assert watched.look(121.0) is WriteStalled
    assert watched.text(121.0) == (
        "the peer took none of 20 unsent bytes for 21.0 s; write_stall_timeout_s is 20"
    )


def test_write_stall_starts_anew_when_one_byte_is_taken() -> None:
    """Slow is not stalled."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=9, written_bytes=50, unsent_bytes=20) is None
    assert watched.look(19.0, unsent_bytes=19) is None
    assert watched.look(38.9) is None
    assert watched.look(39.0) is WriteStalled


def test_write_stall_is_not_put_off_by_input_or_by_more_replies() -> None:
    """A write buffer that only grows is a stall all the same."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=9, written_bytes=50, unsent_bytes=20) is None
    assert watched.look(10.0, received_bytes=99, written_bytes=80, unsent_bytes=50) is None
    assert watched.look(20.0, received_bytes=999, written_bytes=99, unsent_bytes=69) is WriteStalled


def test_write_stall_starts_when_the_write_buffer_fills() -> None:
    """A peer that took everything for long owes nothing; unsent replies are no stall at first."""
    watched = Watched(LIMITS.replace(idle_timeout_s=INF))
    assert watched.look(0.0, received_bytes=9, written_bytes=50) is None
    assert watched.look(500.0) is None
    assert watched.look(500.5, written_bytes=57, unsent_bytes=7) is None
    assert watched.look(520.4) is None
    assert watched.look(520.5) is WriteStalled


def test_write_stall_passes_also_while_busy() -> None:
    """That more replies are coming does not excuse who takes none."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=9, written_bytes=5, unsent_bytes=5, busy=True) is None
    assert watched.look(20.0) is WriteStalled


# -- rates -----------------------------------------------------------------------------------------

# At a hundred bytes per second, and no deadline that passes before a window of ten seconds.
RATES = Limits(min_rate_bytes_per_s=100, frame_timeout_s=INF, write_stall_timeout_s=5000)


def test_rate_of_a_frame_is_judged_after_ten_seconds_with_both_values() -> None:
    """A byte short of it is too slow."""
    watched = Watched(RATES)
    assert watched.look(0.0, received_bytes=10, frame_seq=1) is None
    assert watched.look(9.9, received_bytes=20) is None
    assert watched.look(10.0, received_bytes=1009) is InputTooSlow
    assert watched.text(10.0) == (
        "999 bytes of a frame came in 10.0 s; min_rate_bytes_per_s is 100"
    )
    watched = Watched(RATES)
    assert watched.look(0.0, received_bytes=10, frame_seq=1) is None
    assert watched.look(10.0, received_bytes=1010) is None


def test_rate_is_off_by_default() -> None:
    """A byte an hour is a matter of the other deadlines."""
    watched = Watched(Limits(frame_timeout_s=INF, write_stall_timeout_s=5000))
    assert watched.look(0.0, received_bytes=1, frame_seq=1) is None
    assert watched.look(3600.0, received_bytes=2) is None


def test_rate_of_a_peer_that_owes_no_frame_is_its_own_business() -> None:
    """Raw input and whole frames: a byte now and then is a conversation."""
    watched = Watched(RATES)
    for look in range(100):
        assert watched.look(7.0 * look, received_bytes=look, written_bytes=look) is None


def test_rate_of_short_frames_begins_anew_with_each() -> None:
    """Though every look finds one unfinished."""
    watched = Watched(RATES)
    for look in range(100):
        assert watched.look(9.0 * look, received_bytes=look + 1, frame_seq=look) is None


@pytest.mark.parametrize("ours", [{"paused": True}, {"busy": True}])
def test_time_in_which_a_peer_is_not_read_or_waits_for_us_is_not_held_against_it(
    ours: dict[str, Any],
) -> None:
    """Before and after it, time counts on."""
    watched = Watched(RATES)
    assert watched.look(0.0, received_bytes=10, frame_seq=1) is None
    assert watched.look(5.0) is None
    assert watched.look(6.0, **ours) is None
    assert watched.look(100.0) is None
    assert watched.look(101.0, paused=False, busy=False) is None
    assert watched.look(105.9) is None
    assert watched.look(106.0) is InputTooSlow


def test_slow_frame_waits_for_what_had_come_when_it_was_seen_slow() -> None:
    """On its way or in our kernel it may be the rest; what comes after that look is not."""
    for first in ({"on_way_bytes": 5, "busy": True}, {"held": 5}):
        watched = Watched(RATES)
        assert watched.look(0.0, received_bytes=10, frame_seq=1) is None
        assert watched.look(10.0, **first) is None
        assert watched.look(11.0, received_bytes=20, on_way_bytes=1, held=3) is InputTooSlow
        watched = Watched(RATES)
        assert watched.look(0.0, received_bytes=10, frame_seq=1) is None
        assert watched.look(10.0, **first) is None
        assert watched.look(11.0, on_way_bytes=0, held=0, frame_seq=None, busy=False) is None
        assert watched.look(12.0, frame_seq=2) is None
        assert watched.look(21.9) is None


def test_bytes_in_time_with_the_looks_do_not_put_the_rate_off() -> None:
    """One is on its way at each of them."""
    watched = Watched(RATES)
    assert watched.look(0.0, received_bytes=10, frame_seq=1) is None
    looks = 0
    while watched.look(10.0 + looks, received_bytes=11 + looks, on_way_bytes=1) is None:
        looks += 1
    assert looks == 1


def test_rate_of_replies_is_judged_though_some_are_taken_all_the_time() -> None:
    """One step of a kernel's may be missing; beyond that, it is a slow reader."""
    watched = Watched(RATES)
    total = 1 << 20
    seconds = 0
    while (
        watched.look(
            float(seconds), received_bytes=9, written_bytes=total, unsent_bytes=total - seconds
        )
        is None
    ):
        seconds += 1
    assert seconds == TAKEN_STEP_BYTES // 99 + 1
    found = watched.deadlines.passed(float(seconds), **watched.seen)
    assert type(found) is RepliesTooSlow
    assert str(found) == (
        f"the peer took {seconds} bytes in {seconds}.0 s while {total - seconds} waited for it; "
        "min_rate_bytes_per_s is 100"
    )


def test_rate_of_replies_above_the_least_is_allowed_though_they_are_taken_in_steps() -> None:
    """Of 64 KiB, each after as long as that takes at the least rate."""
    watched = Watched(RATES)
    total = 100 * TAKEN_STEP_BYTES
    for second in range(6000):
        taken = second * 101 // TAKEN_STEP_BYTES * TAKEN_STEP_BYTES
        assert (
            watched.look(
                float(second), received_bytes=9, written_bytes=total, unsent_bytes=total - taken
            )
            is None
        )


def test_rate_of_replies_begins_anew_when_all_are_taken() -> None:
    """What was slow before is forgotten."""
    watched = Watched(RATES)
    assert watched.look(0.0, received_bytes=9, written_bytes=50, unsent_bytes=50) is None
    assert watched.look(600.0) is None
    assert watched.look(601.0, unsent_bytes=0) is None
    assert watched.look(602.0, written_bytes=99, unsent_bytes=49) is None
    assert watched.look(1256.0) is None
    assert watched.look(1258.0) is RepliesTooSlow


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 500), st.booleans(), st.booleans()),
        max_size=80,
    )
)
def test_rate_of_input_agrees_with_a_plain_history(
    steps: list[tuple[int, int, bool, bool]],
) -> None:
    """Oracle: bytes and owed seconds of a window, added up; a pause is nobody's time."""
    watched = Watched(RATES)
    now_s = received = owed_s = come = seq = 0
    owed_before = False
    for waited_s, more, paused, ends in steps:
        now_s += waited_s
        received += more
        come += more
        if ends or not seq:
            seq, owed_s, come = seq + 1, 0, 0
        elif owed_before and not paused:
            owed_s += waited_s
        owed_before = not paused
        slow = not paused and owed_s >= 10 and come < 100 * owed_s
        if not paused and owed_s >= 10 and not slow:
            owed_s = come = 0
        found = watched.look(float(now_s), received_bytes=received, frame_seq=seq, paused=paused)
        assert found is (InputTooSlow if slow else None)
        if slow:
            break


# -- what the kernel holds -------------------------------------------------------------------------


@pytest.mark.parametrize("received_bytes", [0, 7], ids=["first byte", "idle"])
@pytest.mark.parametrize("held", [{"held": 1}, {"ended": True}], ids=["bytes", "an end"])
def test_quiet_deadline_does_not_pass_while_the_kernel_holds_input(
    received_bytes: int, held: dict[str, Any]
) -> None:
    """It came, and it is we who have not read it; once it is read, all time starts anew."""
    watched = Watched()
    late = IdleTooLong if received_bytes else FirstByteLate
    assert watched.look(0.0, received_bytes=received_bytes) is None
    assert watched.look(4.9) is None
    assert watched.asked == 0  # nothing is asked in vain
    for now_s in range(30, 90):
        assert watched.look(float(now_s), **held) is None
        assert watched.deadlines.quiet_until_s == 0.0  # it is looked at again soon
    assert watched.look(90.0, held=0, ended=False) is late
    assert watched.look(91.0, received_bytes=received_bytes + 1) is None
    assert watched.look(120.9) is None
    assert watched.look(121.0) is IdleTooLong


@pytest.mark.parametrize("received_bytes", [0, 7], ids=["first byte", "idle"])
def test_quiet_deadline_is_not_put_off_for_ever_by_what_tls_need_not_show(
    received_bytes: int,
) -> None:
    """Empty records, or one that is never complete; a byte that does come out starts anew."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=received_bytes, opaque=True) is None
    for look in range(MOST_OPAQUE_LOOKS):
        assert watched.look(30.0 + look, held=5) is None
    assert watched.look(50.0) is not None
    watched = Watched()
    assert watched.look(0.0, received_bytes=received_bytes, opaque=True) is None
    for look in range(MOST_OPAQUE_LOOKS):
        assert watched.look(30.0 + look, held=5) is None
    assert watched.look(50.0, received_bytes=received_bytes + 1) is None
    assert watched.look(80.0) is None
    assert watched.look(80.0, held=0) is IdleTooLong


def test_frame_that_is_late_waits_for_what_the_kernel_held_then() -> None:
    """Read and worked on, it completes the frame or it does not; what comes later is too late."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, frame_seq=1) is None
    assert watched.look(10.0, held=6) is None
    assert watched.look(11.0) is None  # not read yet
    assert watched.look(12.0, received_bytes=10, on_way_bytes=6, held=3) is None
    assert watched.look(13.0, received_bytes=13, on_way_bytes=3, held=9) is FrameLate
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, frame_seq=1) is None
    assert watched.look(10.0, held=6) is None
    assert watched.look(12.0, received_bytes=10, on_way_bytes=6, held=0) is None
    assert watched.look(13.0, on_way_bytes=0, frame_seq=None) is None  # it was complete
    assert watched.look(41.9) is None


def test_frame_is_not_kept_open_by_bytes_in_the_kernel_at_every_look() -> None:
    """Dribbled in with the sweeps: the first look that saw it late has settled how much counts."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, frame_seq=1) is None
    looks = 0
    while watched.look(10.0 + looks, received_bytes=4 + looks, held=1) is None:
        looks += 1
    assert looks == 1


def test_frame_that_is_late_waits_for_an_end_that_the_kernel_has() -> None:
    """It completes a line; once it is read there is nothing to be late with."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, frame_seq=1) is None
    assert watched.look(10.0, ended=True) is None
    assert watched.look(11.0) is None
    assert watched.look(12.0, busy=True) is None


@pytest.mark.parametrize("changes", [{}, {"unsent_bytes": 5, "written_bytes": 5}])
def test_frame_that_waits_for_budget_or_for_its_replies_to_be_taken_is_late(
    changes: dict[str, Any],
) -> None:
    """Its input stays in the kernel for that: nothing of it is waited for."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, frame_seq=1, paused=True, **changes) is None
    assert watched.look(9.9, held=100, ended=True) is None
    assert watched.look(10.0) is FrameLate


def test_frame_that_comes_to_wait_for_budget_when_it_is_late_waits_no_longer() -> None:
    """Else it would keep what it holds of the pool, for bytes that are not read for want of it."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, frame_seq=1) is None
    assert watched.look(10.0, held=100) is None
    assert watched.look(11.0, received_bytes=54, on_way_bytes=50, held=50, paused=True) is None
    assert watched.look(12.0, on_way_bytes=0) is FrameLate


def test_frame_over_tls_is_judged_when_fewer_bytes_came_out_than_the_kernel_held() -> None:
    """Records have headers and tags; and what is held for ever is no excuse for ever."""
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, frame_seq=1, opaque=True) is None
    assert watched.look(10.0, held=60) is None
    assert watched.look(11.0, received_bytes=35, on_way_bytes=31, held=0) is None
    assert watched.look(12.0, on_way_bytes=0) is FrameLate
    watched = Watched()
    assert watched.look(0.0, received_bytes=4, frame_seq=1, opaque=True) is None
    for look in range(MOST_OPAQUE_LOOKS):
        assert watched.look(10.0 + look, held=60) is None
    assert watched.look(30.0, held=60) is FrameLate


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=60))
def test_frame_of_a_dribbler_ends_with_what_had_come_by_then(
    steps: list[tuple[int, int, int]],
) -> None:
    """Oracle: bytes are numbered; those there at the first late look count, no others."""
    watched = Watched(LIMITS.replace(frame_timeout_s=5))
    sent = read = back = 4
    counts: int | None = None
    for now_s, (send, do_read, work) in enumerate(steps):
        sent += send
        read = min(sent, read + do_read)
        back = min(read, back + work)
        if now_s >= 5 and counts is None:
            counts = sent
        found = watched.look(
            float(now_s),
            received_bytes=read,
            on_way_bytes=read - back,
            busy=read > back,
            held=sent - read,
            frame_seq=1,
        )
        expected = counts is not None and back >= counts
        assert found is (FrameLate if expected else None)
        if expected:
            break


# -- all together --------------------------------------------------------------------------------


def test_two_deadlines_at_once_tell_the_stall_first() -> None:
    """It is the one that resets the connection: what it is owed would never be taken."""
    watched = Watched(LIMITS.replace(write_stall_timeout_s=10))
    changes = {"received_bytes": 9, "written_bytes": 50, "unsent_bytes": 20, "frame_seq": 1}
    assert watched.look(0.0, **changes) is None
    assert watched.look(10.0) is WriteStalled
    assert watched.look(11.0, unsent_bytes=19) is FrameLate


def test_busy_puts_off_all_but_the_stall() -> None:
    """As long as the worker has input of a connection, it is we who are late."""
    watched = Watched()
    assert watched.look(0.0, busy=True) is None
    assert watched.look(1000.0) is None
    assert watched.look(1000.0, received_bytes=1) is None
    assert watched.look(2000.0) is None
    assert watched.look(3000.0, frame_seq=1) is None
    assert watched.look(4000.0) is None


def test_deadlines_of_inf_never_pass() -> None:
    """Three of them may be switched off."""
    never = LIMITS.replace(first_byte_timeout_s=INF, idle_timeout_s=INF, frame_timeout_s=INF)
    watched = Watched(never)
    assert watched.look(0.0) is None
    assert watched.look(1e9) is None
    assert watched.look(2e9, received_bytes=1) is None
    assert watched.look(3e9) is None
    assert watched.look(4e9, frame_seq=1) is None
    assert watched.look(5e9) is None


steps_of_a_connection = st.lists(
    st.tuples(
        st.integers(0, 4),  # seconds since the last look
        st.integers(0, 1),  # bytes received
        st.integers(0, 2),  # bytes written
        st.integers(0, 3),  # bytes taken
        st.booleans(),  # busy
        st.sampled_from([None, None, 1, 2]),  # the unfinished frame
        st.integers(0, 2),  # bytes on their way, if busy
    ),
    max_size=40,
)


@given(steps_of_a_connection)
def test_deadlines_agree_with_a_plain_history(steps: list[tuple[Any, ...]]) -> None:
    """Oracle: every look is kept, and each question is answered by walking back through them."""
    limits = Limits(
        first_byte_timeout_s=6, idle_timeout_s=8, frame_timeout_s=5, write_stall_timeout_s=7
    )
    watched = Watched(limits)
    history: list[dict[str, Any]] = []
    now_s = received = written = taken = 0

    def since(looks: list[dict[str, Any]], *names: str) -> int:
        """Return for how long all `names` have been what they are in the last of `looks`."""
        start = looks[-1]
        for look in reversed(looks):
            if any(look[name] != looks[-1][name] for name in names):
                break
            start = look
        return int(looks[-1]["now_s"] - start["now_s"])

    for waited_s, more, reply, take, busy, frame_seq, on_way in steps:
        now_s += waited_s
        received += more
        written += reply
        taken = min(written, taken + take)
        unsent = written - taken
        on_way = min(on_way, received) if busy else 0
        history.append(
            {
                "now_s": now_s,
                "received": received,
                "taken": taken,
                "owes": unsent > 0,
                "busy": busy,
                "frame": frame_seq,
                "on_way": on_way,
            }
        )
        expected: type[DeadlinePassed] | None = None
        # The frame is looked at unless we are busy with something that is no input of it.
        known = [look for look in history if not look["busy"] or look["on_way"]]
        if unsent and since(history, "taken", "owes") >= 7:
            expected = WriteStalled
        elif busy and not on_way:
            expected = None
        elif frame_seq is not None and since(known, "frame") >= 5:
            # By what had come at the first look that saw it late; is it back?
            late = [
                look["received"]
                for end, look in enumerate(known, 1)
                if since(known[:end], "frame") >= 5
                and all(later["frame"] == frame_seq for later in known[end - 1 :])
            ]
            expected = FrameLate if received - on_way >= late[0] else None
        elif busy or frame_seq is not None or unsent:
            expected = None
        elif not received:
            expected = FirstByteLate if since(history, "received", "taken", "busy") >= 6 else None
        elif since(history, "received", "taken", "busy") >= 8:
            expected = IdleTooLong
        found = watched.look(
            now_s,
            received_bytes=received,
            written_bytes=written,
            unsent_bytes=unsent,
            busy=busy,
            frame_seq=frame_seq,
            on_way_bytes=on_way,
        )
        assert found is expected
        # A look at which the stall has passed goes no further, as the connection does not.
        if found is WriteStalled:
            break


def test_quiet_connection_needs_no_look_until_its_deadline() -> None:
    """The first byte's, then the idle one's, counted from the last change."""
    watched = Watched()
    assert watched.look(100.0) is None
    assert watched.deadlines.quiet_until_s == 105.0
    assert watched.look(103.0) is None
    assert watched.deadlines.quiet_until_s == 105.0
    assert watched.look(104.0, received_bytes=1, written_bytes=1) is None
    assert watched.deadlines.quiet_until_s == 134.0
    assert watched.look(134.0) is IdleTooLong


@pytest.mark.parametrize(
    "going_on",
    [
        {"busy": True},
        {"busy": True, "on_way_bytes": 1},
        {"frame_seq": 1},
        {"written_bytes": 5, "unsent_bytes": 5},
    ],
)
def test_connection_with_something_going_on_is_never_quiet(going_on: dict[str, Any]) -> None:
    """It is looked at in every sweep, and quiet again afterwards."""
    watched = Watched()
    before = dict(watched.seen)
    assert watched.look(100.0, received_bytes=9) is None
    assert watched.deadlines.quiet_until_s == 130.0
    assert watched.look(101.0, **going_on) is None
    assert watched.deadlines.quiet_until_s == 0.0
    assert watched.look(102.0, **(before | {"received_bytes": 9})) is None
    assert watched.deadlines.quiet_until_s > 102.0


def test_quiet_connection_without_deadlines_is_never_looked_at() -> None:
    """`inf` is never."""
    watched = Watched(Limits(first_byte_timeout_s=INF, idle_timeout_s=INF))
    assert watched.look(100.0) is None
    assert watched.deadlines.quiet_until_s == INF
