"""Seeded bugs of the supervisor and its side of the workers; see `seeded`."""

from tests.mutants.seeded import Bug

__all__ = ["SUPERVISOR_BUGS"]

_SUPERVISOR = "tests/supervisor/test_supervisor.py::test_"
_FLEET = "tests/supervisor/test_fleet.py::test_"
_HANDLE = "tests/supervisor/test_handle.py::test_"
_HANDOUT = "tests/supervisor/test_handout.py::test_"
_PROCESS = "tests/supervisor/test_process.py::test_"
_LEDGER = "tests/supervisor/test_ledger.py::test_"
_DOORS = "tests/supervisor/test_doors.py::test_"
_SUPERVISING = "tests/command/test_supervising.py::test_"

SUPERVISOR_BUGS = (
    Bug(
        "a connection on its way is forgotten when its worker dies",
        "supervisor.fleet",
        "        self.note_untaken(worker.take_untaken())\n",
        "        worker.take_untaken()\n",
        (_HANDLE + "a_connection_that_was_not_taken_goes_to_another_worker",),
    ),
    Bug(
        "what is taken back comes in the reverse order",
        "supervisor.handout",
        "extendleft(reversed(connections))",
        "extendleft(connections)",
        (_HANDOUT + "what_is_taken_back_comes_first",),
    ),
    Bug(
        "doors stay open without a place",
        "supervisor.handout",
        "        self._set_open(not self._waiting and any(load is not None for load in loads))\n",
        "        self._set_open(not self._waiting)\n",
        (_SUPERVISOR + "nothing_is_accepted_beyond_the_limits",),
    ),
    Bug(
        "who has the most connections gets the next",
        "supervisor.balance",
        "least = min((",
        "least = max((",
        (_SUPERVISOR + "the_next_go_to_who_has_fewest",),
    ),
    Bug(
        "a burst goes to whoever has room for more on the way",
        "supervisor.handout",
        "        if worker is None or not (worker.has_room or at_the_end):\n",
        "        if worker is None:\n",
        (_HANDOUT + "who_has_fewest_is_waited_for",),
    ),
    Bug(
        "a worker that takes nothing goes on to be given connections",
        "supervisor.ledger",
        "        return bool(self._untaken) and now_s - self._untaken_s >= SLOW_TAKE_S\n",
        "        return False\n",
        (_HANDLE + "who_takes_nothing_for_a_while_gets_no_more",),
    ),
    Bug(
        "an end that was counted is taken back by a late beat",
        "supervisor.ledger",
        "        self._ended = max(self._ended, ended)\n",
        "        self._ended = ended\n",
        (_LEDGER + "ends_are_never_taken_back",),
    ),
    Bug(
        "a reload does not wait for the end of the old worker",
        "supervisor.fleet",
        "            await before.ended.wait()\n",
        "            pass\n",
        (_SUPERVISOR + "reload_replaces_one_after_the_other",),
    ),
    Bug(
        "a reload drains the old worker before the new one is ready",
        "supervisor.fleet",
        "            slot.successor = self._start_worker(slot, plan)\n",
        "            slot.successor = self._start_worker(slot, plan)\n"
        "            assert before is not None\n"
        "            before.drain()\n",
        (_SUPERVISOR + "reload_replaces_one_after_the_other",),
    ),
    Bug(
        "a slot stays empty when its worker dies while its successor fails",
        "supervisor.fleet",
        "            if slot.current is None and not self._is_stopping:\n",
        "            if False:\n",
        (_SUPERVISOR + "a_worker_that_dies_while_its_successor_fails_is_started_again",),
    ),
    Bug(
        "after a reload a worker that dies is started with the old options",
        "supervisor.fleet",
        "            slot.plan = worker.plan\n",
        "",
        (_SUPERVISOR + "who_dies_after_a_reload_is_started_with_its_plan",),
    ),
    Bug(
        "a stopped worker gets no chance to write its stacks",
        "supervisor.process",
        "        self.send_signal(signal.SIGCONT)\n",
        "",
        (_PROCESS + "a_hung_one_that_is_stopped_writes_its_stacks",),
    ),
    Bug(
        "who survives SIGABRT is let live",
        "supervisor.process",
        "        self._kill_later(ABORT_S)\n",
        "",
        (_FLEET + "who_does_not_die_of_an_abort_is_killed",),
    ),
    Bug(
        "workers are in the group of the supervisor",
        "supervisor.process",
        "                process_group=0,\n",
        "",
        (_PROCESS + "a_life",),
    ),
    Bug(
        "a worker has its supervisor's end of the pair, too",
        "supervisor.process",
        "                pass_fds=(*numbers, *listening),\n",
        "                pass_fds=(*numbers, *listening, self.control.fileno()),\n",
        (_PROCESS + "a_life",),
    ),
    Bug(
        "who drains in vain is waited for without an end",
        "supervisor.handle",
        "            self.bound_leaving()\n",
        "",
        (_SUPERVISOR + "who_does_not_end_its_drain_is_ended",),
    ),
    Bug(
        "a worker that is told to stop by somebody else is never told to drain",
        "supervisor.handle",
        '                    self._channel.send({"kind": "drain"})\n'
        "                    self._owner.note_leaving(self)\n",
        "                    self._owner.note_leaving(self)\n",
        (_SUPERVISOR + "a_worker_that_somebody_else_stops_is_replaced_at_once",),
    ),
    Bug(
        "a drain leaves who is queued",
        "supervisor.supervisor",
        "        await self._doors.close(accept_queued=True)\n",
        "        await self._doors.close(accept_queued=False)\n",
        (_SUPERVISOR + "drain_takes_who_is_queued_and_ends_cleanly",),
    ),
    Bug(
        "nobody is lost in a drain, it is said",
        "supervisor.supervisor",
        "        return clean and not left\n",
        "        return clean\n",
        (_SUPERVISOR + "who_is_lost_in_a_drain_makes_it_unclean",),
    ),
    Bug(
        "deaths have no limit",
        "restarts",
        "        full = 0 < self._limit == len(self._times_s)\n",
        "        full = False\n",
        (_FLEET + "too_many_deaths_are_the_end",),
    ),
    Bug(
        "a second service shares the port",
        "server.listen_sockets",
        "    first = await open_tcp(host, port, backlog)",
        "    first = _listen_on_all(await _resolve(host, port), port, backlog, True)[0]",
        (_DOORS + "a_port_that_somebody_else_shares_is_in_use",),
    ),
    Bug(
        "the queue of a slot without a worker waits",
        "supervisor.doors",
        "            wanted = has_place and not serves\n",
        "            wanted = False\n",
        (_DOORS + "slot_doors_serve_for_a_slot_without_a_worker",),
    ),
    Bug(
        "a reload takes what systemd has passed anew",
        "command.supervisor_plan",
        "supervisor_settings_of(values, before.inherited, before.notify)",
        "supervisor_settings_of(values, type(before.inherited)(), before.notify)",
        (
            "tests/command/test_supervisor_plan.py::"
            "test_the_file_is_read_again_and_what_was_passed_stays",
        ),
    ),
    Bug(
        "a bad configuration ends reloads for good",
        "command.supervising",
        '            logger.error("reload: nothing has changed: %s", error)\n            return\n',
        "            raise SystemExit(1) from error\n",
        (_SUPERVISING + "reload_takes_a_new_file",),
    ),
)
