"""Seeded bugs of replies that come later; see `seeded`."""

from tests.mutants.seeded import Bug

__all__ = ["PENDING_BUGS"]

_PENDING = "tests/bridge/test_pending.py::test_"
_LANE = "tests/bridge/test_lane_pending.py::test_"
_WORK = "tests/work/test_pending_work.py::test_"
_REQUESTS = "tests/work/test_requests.py::test_"

PENDING_BUGS = (
    Bug(
        "replies are handed back as they come",
        "bridge.lane_pending",
        "        if not queue[0].is_settled:\n            return\n",
        "        queue.extendleft([one for one in queue if one.is_settled][:1])\n",
        (_PENDING + "replies_go_out_in_the_order_of_their_frames",),
    ),
    Bug(
        "one request more runs than may",
        "bridge.pending",
        "while waiting and self.running < self._most:",
        "while waiting and self.running <= self._most:",
        (_PENDING + "all_connections_have_a_number_together_and_take_turns",),
    ),
    Bug(
        "a lane starts all that it may before the next has its turn",
        "bridge.pending",
        "                    waiting.append(lane)\n",
        "                    waiting.appendleft(lane)\n",
        (_PENDING + "all_connections_have_a_number_together_and_take_turns",),
    ),
    Bug(
        "a lane without a started request waits for bytes, too",
        "bridge.pending",
        "if lane.held and self.held_bytes >= self._most_bytes:",
        "if self.held_bytes >= self._most_bytes:",
        (_PENDING + "bytes_have_a_bound_but_a_lane_without_any_may_start_one",),
    ),
    Bug(
        "what is given out is not released",
        "bridge.lane_pending",
        "            pending.release(self._handed_bytes.popleft())\n        if self.is_blocked",
        "            self._handed_bytes.popleft()\n        if self.is_blocked",
        (_LANE + "worker_is_resumed_for_what_is_at_the_head",),
    ),
    Bug(
        "eof is asked for beside frames",
        "bridge.lane_pending",
        "request.kind is not RequestKind.FRAME or head.kind is RequestKind.CONNECTED",
        "head.kind is RequestKind.CONNECTED",
        (_LANE + "connected_is_before_all_others_and_eof_behind_them",),
    ),
    Bug(
        "what runs is not cancelled when its connection has gone",
        "bridge.lane_pending",
        "        for job in tuple(self._jobs):\n            self._cancel(job)\n",
        "",
        (_LANE + "closed_lane_gives_everything_back",),
    ),
    Bug(
        "a request that takes too long frees its place at once",
        "bridge.lane_pending",
        "        self.settle(job.request, None, error)\n        self._cancel(job)\n",
        "        self._cancel(job)\n        job.finish(None, error)\n",
        (_PENDING + "a_request_that_takes_too_long_ends_its_lane_and_keeps_its_place",),
    ),
    Bug(
        "the end does not wait for replies",
        "work.pending_work",
        "if not (self.broken or self.requests.pending):",
        "if not self.broken:",
        (_WORK + "end_of_input_is_the_end_when_all_replies_are_given",),
    ),
    Bug(
        "a bad frame does not wait for the replies before it",
        "work.pending_work",
        "            self._failure, entry.error = entry.error, None\n",
        "            self.fail(entry, entry.error)\n",
        (_WORK + "bad_input_waits_for_the_replies_before_it",),
    ),
    Bug(
        "the window is not looked at",
        "work.pending_work",
        "while not window.is_full() and (request",
        "while (request",
        (_WORK + "window_bounds_what_is_given_out",),
    ),
    Bug(
        "bytes give no bound of requests",
        "work.requests",
        "        if self.made_bytes - self.given_bytes >= self._most_bytes:\n"
        "            return 0\n",
        "",
        (_REQUESTS + "there_is_no_room_while_bytes_are_used_up",),
    ),
    Bug(
        "a TLS record is decrypted while there is no room for a request in it",
        "work.tls_work",
        "            and inner.has_room\n",
        "",
        (
            "tests/protocol/test_later_tls.py::"
            "test_with_one_request_at_a_time_no_reply_before_a_bad_record_is_lost",
        ),
    ),
    Bug(
        "a frame whose worker was lost is tried for ever",
        "executors.lost_frames",
        "elif self.may_retry and frame.tries < MOST_TRIES:",
        "elif self.may_retry:",
        (
            "tests/executors/test_lost_frames.py::"
            "test_frames_are_tried_once_more_each_alone_where_they_may_be",
        ),
    ),
    Bug(
        "the search for frames is left out before there was one",
        "work.pending_work",
        "self.deferred is None and self._is_ready:",
        "self.deferred is None:",
        (
            "tests/protocol/test_coroutines.py::"
            "test_class_greets_first_and_says_its_last_word_behind_all_replies",
        ),
    ),
)
