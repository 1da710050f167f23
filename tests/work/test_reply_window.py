"""reply_window: surplus is bounded while a peer takes nothing."""

from hypothesis import given
from hypothesis import strategies as st

from asyncrev.work.reply_window import ReplyWindow


@given(st.lists(st.sampled_from(["produce", "deliver", "stall", "go on"]), max_size=60))
def test_surplus_on_its_way_is_at_most_the_window_and_one_reply(steps: list[str]) -> None:
    """Whatever the loop does; and a peer that takes its replies gets on."""
    window, waiting = ReplyWindow(100), [0] * 0
    unsent_bytes = 0  # delivered while stalled
    for step in steps:
        if step == "produce" and not window.is_full():
            assert window.allowed_bytes() > 0
            window.produce(70)
            waiting.append(70)
        elif step == "deliver" and waiting:
            unsent_bytes += 70 * window.is_stalled
            window.deliver(waiting.pop())
        elif step == "stall":
            window.stall()
        elif step == "go on":
            window.go_on()
            unsent_bytes = 0
        assert sum(waiting) + unsent_bytes < 100 + 70 + 100
    if not waiting:
        window.go_on()
        assert not window.is_full()


STEPS = ["produce", "deliver", "stall", "go on"]


@given(
    st.integers(0, 300),
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 200)), max_size=60),
)
def test_window_agrees_with_a_plain_history(
    window_bytes: int, steps: list[tuple[str, int]]
) -> None:
    """Never open by more than its size, and no further while its peer takes nothing."""
    window = ReplyWindow(window_bytes)
    made: list[int] = []
    given_out = 0
    for step, nbytes in steps:
        limit_bytes = window.limit_bytes
        if step == "produce":
            made.append(nbytes)
            window.produce(nbytes)
        elif step == "deliver" and given_out < len(made):
            window.deliver(made[given_out])
            given_out += 1
        elif step == "stall":
            window.stall()
        elif step == "go on":
            window.go_on()
        assert (window.produced_bytes, window.delivered_bytes) == (
            sum(made),
            sum(made[:given_out]),
        )
        if window.is_stalled:
            assert window.limit_bytes == limit_bytes
        else:
            assert window.limit_bytes == window.delivered_bytes + window_bytes
        assert window.allowed_bytes() == max(0, window.limit_bytes - sum(made))
        assert window.allowed_bytes() <= window_bytes
        assert window.is_full() is (window.allowed_bytes() == 0)


def test_delivery_while_stalled_opens_the_window_only_when_the_peer_goes_on() -> None:
    """All of it at once then."""
    window = ReplyWindow(10)
    window.produce(10)
    window.stall()
    window.deliver(10)
    assert window.is_full()
    window.go_on()
    assert (window.is_full(), window.allowed_bytes()) == (False, 10)


def test_window_without_a_size_is_never_full() -> None:
    """So is that of a lane whose replies have no bound."""
    window = ReplyWindow()
    window.stall()
    window.produce(1 << 40)
    assert not window.is_full()
