"""A bound on how often something is done, so that those who ask for it often take little CPU time.

The generic cell rate algorithm (ITU-T I.371): one number, and no timer while nothing waits.
"""

__all__ = ["Pace"]


class Pace:
    """Says how long each of a sequence of steps has to wait. Time is an argument. Thread: one."""

    def __init__(self, per_s: float, burst: int) -> None:
        """Allow `burst` steps at once, and in the long run `per_s` per second."""
        self._step_s = 1.0 / per_s
        self._burst_s = (burst - 1) * self._step_s
        self._due_s = float("-inf")  # of the next step, if there had been no burst

    def delay_s(self, now_s: float) -> float:
        """Return how long the step that is asked for now has to wait, 0 if it need not.

        Steps are counted where they are asked for, so those that wait go in order.
        """
        due_s = max(self._due_s, now_s)
        self._due_s = due_s + self._step_s
        return max(0.0, due_s - self._burst_s - now_s)
