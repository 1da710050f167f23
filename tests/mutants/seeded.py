"""Seeded bugs: small changes of asyncrev that such a system gets wrong, and who must notice.

Each is a text that stands in a module exactly once, and what takes its place. The tests named must
pass as things are, and at least one of them must fail with the bug. `make mutants` shows it.
"""

import dataclasses

__all__ = ["BUGS", "Bug"]


@dataclasses.dataclass(frozen=True)
class Bug:
    """One of them. `module` is a name below asyncrev; `tests` are what pytest takes."""

    name: str
    module: str
    old: str
    new: str
    tests: tuple[str, ...]
    suffix: str = ".py"

    @property
    def path(self) -> str:
        """The file that it changes, below the root."""
        return f"asyncrev/{self.module.replace('.', '/')}{self.suffix}"


_EXPLORATION = "tests/proof/test_exploration.py::"
_PIPES = _EXPLORATION + "test_pipe_in_every_order"
_BRIDGES = _EXPLORATION + "test_bridge_in_every_order"
_PLANES = _EXPLORATION + "test_plane_in_every_order"
_PLANE = "tests/ring/test_plane.py::"
_COMMAND = "tests/command/test_"
_UNIT = "tests/unit/test_"
_LOOP = "tests/loop/test_"
_CONNECTION = "tests/connection/test_"
_SERVER = "tests/server/test_"
_TLS_WORK = "tests/work/test_tls_work.py::"
_TLS_ERRORS = "tests/work/test_tls_errors.py::"
_TLS_SHARES = "tests/work/test_tls_shares.py::"
_TLS_MEMORY = "tests/work/test_tls_memory.py::"
_START_TLS = "tests/work/test_start_tls_work.py::"
_CONNECTED = "tests/protocol/test_connected.py::"
_HANDSHAKE_ENTRANCE = "tests/server/test_handshake_entrance.py::"
_HANDSHAKE_GATE = "tests/server/test_handshake_gate.py::"
_TLS_SESSION = "tests/work/test_tls_session.py::"
_TLS_SINGLE = "tests/work/test_tls_single_records.py::"

_PROXY_READER = "tests/server/test_proxy_reader.py::"
_PROXY_HEADER = "tests/server/test_proxy_header.py::"
_PROXIED = "tests/server/test_proxied_connections.py::"

BUGS = (
    Bug(
        "what follows a PROXY header is taken with it",
        "server.proxy_reader",
        "self.begun += self.sock.recv(nbytes)",
        "self.begun += self.sock.recv(len(seen))[:nbytes]",
        (_PROXY_READER + "test_what_follows_a_header_is_left_to_be_received",),
    ),
    Bug(
        "a PROXY header that came at the last moment is late",
        "server.proxy_reader",
        "if not taken.take():  # it may have come",
        "if True:  # it may have come",
        (_PROXY_READER + "test_header_that_came_while_the_loop_stood_still_is_in_time",),
    ),
    Bug(
        "a drain waits for PROXY headers",
        "server.server",
        "                self._arrivals.wait_for_no_header()\n",
        "",
        (_PROXIED + "test_drain_waits_for_no_header",),
    ),
    Bug(
        "everybody is read a PROXY header from",
        "server.arrivals",
        "self._proxy is not None and self._proxy.trusts(address)",
        "self._proxy is not None",
        (_PROXIED + "test_who_is_not_listed_is_served_without_a_look",),
    ),
    Bug(
        "the log names the proxy",
        "connection.life",
        "        address = self._accepted_from\n        if not address and",
        "        address = None\n        if not address and",
        (_PROXIED + "test_log_names_the_client",),
    ),
    Bug(
        "ports of a PROXY header may have leading zeros",
        "server.proxy_header",
        ' or (word[:1] == b"0" and word != b"0")',
        "",
        (_PROXY_HEADER + "test_line_against_the_specification_is_refused",),
    ),
    Bug(
        "the time of a PROXY header is not counted for the first byte",
        "connection.deadlines",
        "shaken.for_s(now_s, True) if shaken else self._spent_s",
        "shaken.for_s(now_s, True) if shaken else 0.0",
        (_CONNECTION + "deadlines.py::test_first_byte_counts_what_came_before_the_first_look",),
    ),
    Bug(
        "a release that is interrupted frees slots twice",
        "ring.ring",
        "        self.free_slots += large\n",
        "        self.free_slots.extend(large)\n",
        (_PLANE + "test_interrupt_anywhere_in_a_release_frees_each_slot_once",),
    ),
    Bug(
        "a receive that is interrupted takes a slot",
        "ring.plane",
        "            del free[-1]",
        "            free.pop()",
        (_PLANE + "test_interrupt_anywhere_in_a_receive_takes_no_slot_and_leaves_no_gap",),
    ),
    Bug(
        "a connection whose receive was interrupted goes on",
        "ring.plane",
        """\
            except BaseException as error:
                return index, error
""",
        """\
            except OSError as error:
                return index, error
""",
        (
            "tests/bridge/test_direct.py::test_interrupt_of_a_receive_ends_that_connection_and_no_other",
        ),
    ),
    Bug(
        "an unpark that is interrupted leaves the worker asleep",
        "ring.wakeups",
        "        except BaseException:  # of a signal",
        "        except OSError:  # of a signal",
        ("tests/ring/test_wakeups.py::test_interrupt_anywhere_in_an_unpark_leaves_nobody_asleep",),
    ),
    Bug(
        "a lane whose delivery was interrupted goes on",
        "bridge.delivery",
        "            self._give_up_interrupted(raised)\n",
        "",
        (
            "tests/bridge/test_delivery.py::"
            "test_interrupt_between_two_entries_ends_the_lane_that_may_miss_a_reply",
        ),
    ),
    Bug(
        "a stream whose receive was interrupted goes on",
        "loop.transport",
        "            self._end_interrupted()\n",
        "",
        (_LOOP + "transport.py::test_interrupt_of_a_receive_ends_the_stream_too",),
    ),
    Bug(
        "the worker looks for work, then parks",
        "ring.wakeups",
        """\
        with self._lock:
            if has_work():  # ORDER: under the lock that `unpark` takes after its caller's store.
                return True
            self._parked = True
""",
        """\
        if has_work():
            return True
        with self._lock:
            self._parked = True
""",
        (_PIPES, "tests/ring/test_wakeups.py::test_unpark_between_look_and_sleep_is_not_lost"),
    ),
    Bug(
        "the loop delivers, then clears the flag",
        "ring.loop_side",
        """\
        self.signal.clear()  # ORDER: before the worker's cursor is read (I6).
        self.deliveries += 1
        if self._on_results():  # a delivery""",
        """\
        self.deliveries += 1
        more = self._on_results()
        self.signal.clear()
        if more:  # a delivery""",
        (_PIPES,),
    ),
    Bug(
        "the loop with hooks looks for results, then clears the flag",
        "ring.loop_side",
        """\
        self.signal.clear()  # ORDER: before the worker's cursor is read (I6).
        if ring.processed_seq != ring.released_seq or ring.output_closed:
""",
        """\
        found = ring.processed_seq != ring.released_seq or ring.output_closed
        self.signal.clear()
        if found:
""",
        (_PIPES,),
    ),
    Bug(
        "every result requests its own delivery",
        "ring.wakeups",
        """\
            if self.awaited:
                return False
""",
        "",
        (_PIPES, "tests/ring/test_wakeups.py::test_request_asks_once_until_cleared"),
    ),
    Bug(
        "the worker hands an entry back, then works on it",
        "ring.plane",
        """\
                work.do(ring.entry(seq), storage, pool, share)
            else:
""",
        """\
                entry = ring.entry(seq)
                ring.processed_seq = seq + 1
                work.do(entry, storage, pool, share)
            else:
""",
        (_PIPES,),
    ),
    Bug(
        "the worker hands a plain entry back, then answers it",
        "ring.plane",
        """\
                declined = False
                try:
                    result = processor""",
        """\
                declined = False
                ring.processed_seq = seq + 1
                try:
                    result = processor""",
        (_BRIDGES,),
    ),
    Bug(
        "the plane requests a delivery, then moves the cursor",
        "ring.plane",
        """\
            ring.processed_seq = seq + 1
            if not signal.awaited:
                signal.request()  # ORDER: after the cursor (I6).
""",
        """\
            if not signal.awaited:
                signal.request()
            ring.processed_seq = seq + 1
""",
        (_BRIDGES, _PLANE + "test_chunks_of_many_are_received_answered_and_sent"),
    ),
    Bug(
        "the plane publishes an entry, then fills its row",
        "ring.plane",
        """\
            owners[pos] = row
            slot_of[pos]""",
        """\
            ring.published_seq = seq + 1
            owners[pos] = row
            slot_of[pos]""",
        (_PLANES,),
    ),
    Bug(
        "the plane sends for a lane that was given up",
        "ring.plane",
        "if not row.sends or row.abandoned:",
        "if not row.sends:",
        (_PLANE + "test_what_is_not_a_plain_reply_is_left_to_others",),
    ),
    Bug(
        "the plane sends past what waits to be sent",
        "ring.plane",
        "if not row.sends or row.abandoned:",
        "if row.abandoned:",
        (_PLANE + "test_what_is_not_a_plain_reply_is_left_to_others",),
    ),
    Bug(
        "the plane takes a short write for a whole one",
        "ring.plane",
        """\
                if not is_whole:
                    return sent_bytes
""",
        "",
        (_PLANE + "test_short_write_is_told",),
    ),
    Bug(
        "an interrupt in the plane makes a reply go twice",
        "ring.plane",
        """\
            ring.delivered_seq = seq + 1  # first, so that an interrupt makes no reply go twice
""",
        """\
            ring.delivered_seq = seq
""",
        (_PLANE + "test_interrupt_of_a_send_is_handed_over_and_no_reply_goes_twice",),
    ),
    Bug(
        "what a framed lane holds is reserved for no more",
        "ring.plane",
        """\
            if row.is_framed and row.partial_frame_bytes + in_flight_bytes > little_bytes:
                return index, RESERVE
""",
        "",
        (
            _PLANE + "test_framed_row_is_received_for_while_it_holds_little",
            "tests/bridge/test_direct.py::test_frames_go_past_the_protocol_too",
        ),
    ),
    Bug(
        "a reply is sent and counted without what its report says",
        "ring.plane",
        """\
            bytes_left = row.in_flight_bytes - report.nbytes
""",
        "            bytes_left = row.in_flight_bytes - nbytes\n",
        (
            _PLANE + "test_entry_with_a_report_is_counted_as_it_says",
            "tests/bridge/test_direct.py::test_frames_go_past_the_protocol_too",
        ),
    ),
    Bug(
        "a connection that is drained goes on past its protocol",
        "connection.life",
        "            stop_serving_directly()  # because what is left to be read is counted\n",
        "            pass\n",
        ("tests/bridge/test_direct.py::test_drain_counts_what_is_left_so_it_is_served_no_more",),
    ),
    Bug(
        "a transport with a write buffer lets the plane send",
        "loop.watched_socket",
        "                self._write_buffer or self._eof_written",
        "                self._eof_written",
        (
            _LOOP + "direct.py::test_gate_follows_the_pauses_and_the_write_buffer",
            "tests/bridge/test_direct.py::"
            "test_reply_that_the_kernel_does_not_take_goes_out_later_in_order",
        ),
    ),
    Bug(
        "a lane that waits for a slot is overtaken by its own input",
        "ring.plane",
        "                or not row.reads\n                or row.waits_for_slot\n",
        "                or not row.reads\n",
        (_PLANE + "test_what_is_not_plain_input_is_left_to_others",),
    ),
    Bug(
        "the worker reads the cursor, then whether the input is closed",
        "ring.plane",
        """\
    is_closed = ring.input_closed
    return ring.published_seq, is_closed
""",
        """\
    published_seq = ring.published_seq
    return published_seq, ring.input_closed
""",
        ("tests/ring/test_thread_side.py::test_publish_and_close_at_every_look_loses_nothing",),
    ),
    Bug(
        "an entry is released, then its result is copied",
        "bridge.delivery",
        """\
                if result:
                    excess_bytes = sink.on_reply(result)
""",
        """\
                if result:
                    self._ring.release(1)
                    excess_bytes = sink.on_reply(result)
""",
        (
            "tests/bridge/test_delivery.py::test_slot_of_a_reply_is_not_given_out_while_the_reply_is_taken",
        ),
    ),
    Bug(
        "a lent block is used again before its entry is released",
        "work.block_pool",
        "lent[0].lent_seq < released_seq",
        "lent[0].lent_seq <= released_seq",
        (_BRIDGES, "tests/work/test_block_pool.py::TestPoolAgainstAnOracle"),
    ),
    Bug(
        "results go to who is at the place of their owner now, as with descriptors",
        "bridge.delivery",
        "lane, kind, nbytes, entry = self._ring.returned(seq)\n",
        """\
lane, kind, nbytes, entry = self._ring.returned(seq)
        if lane.sink is None:
            lane = next((each for each in self._lanes if each.sink), lane)
""",
        ("tests/bridge/test_delivery.py::test_results_are_given_to_owners_never_to_places",),
    ),
    Bug(
        "the end of input overtakes data",
        "bridge.admission",
        """\
            if overflow := lane.overflow:
""",
        """\
            if (overflow := lane.overflow) and not lane.eof_waits:
""",
        (_BRIDGES, "tests/bridge/test_admission.py::test_end_and_close_go_behind_the_overflow"),
    ),
    Bug(
        "what overflows later goes in before what overflowed earlier",
        "bridge.admission",
        "        lane.overflow += source[:nbytes]\n",
        "        lane.overflow[:0] = source[:nbytes]\n",
        (
            "tests/bridge/test_admission.py::test_any_schedule_keeps_every_lanes_bytes_in_order",
            "tests/bridge/test_admission.py::"
            "test_lane_that_publishes_although_it_waits_keeps_its_place_and_its_order",
        ),
    ),
    Bug(
        "credit is never given back",
        "bridge.admission",
        """\
        elif not lane.waits_for_credit or lane.waits_for_slot:
            return False
        return self._may_read(lane)
""",
        "        return False\n",
        (
            "tests/bridge/test_admission.py::test_publish_over_the_entry_quota_stops_until_half_is_back",
        ),
    ),
    Bug(
        "who waits for a slot is served last come, first served",
        "bridge.admission",
        "            self._waiters.append(lane)\n",
        "            self._waiters.appendleft(lane)\n",
        ("tests/bridge/test_admission.py::test_lanes_without_a_slot_wait_in_a_fifo",),
    ),
    Bug(
        "who waits for budget is overtaken",
        "bridge.budget",
        "if self._waiters and self._waiters[0] is not lane:",
        "if False:",
        ("tests/bridge/test_budget.py",),
    ),
    Bug(
        "a delivery is not bounded",
        "bridge.delivery",
        "min(ring.processed_seq, released_seq + DELIVERY_ENTRIES)",
        "ring.processed_seq",
        ("tests/bridge/test_delivery.py::test_delivery_takes_a_bounded_number_of_entries",),
    ),
    Bug(
        "a lane that was given up is still told",
        "bridge.bridge",
        """\
        lane.sink = None
        lane.abandon()
""",
        "        lane.abandon()\n",
        (
            _BRIDGES,
            "tests/bridge/test_delivery.py::test_closed_lane_is_called_no_more_and_others_are",
        ),
    ),
    Bug(
        "an error is swallowed",
        "bridge.delivery",
        """\
                if entry.error is not None:
                    self._end_without_reply(lane, entry)
                    return
""",
        """\
                if entry.error is not None:
                    return
""",
        ("tests/bridge/test_delivery.py::test_processor_error_ends_its_lane_only",),
    ),
    Bug(
        "nobody notices that the worker died",
        "work.worker",
        "error, event = raised, WorkerEvent.FAIL",
        "event = WorkerEvent.FAIL",
        ("tests/bridge/test_life.py::test_worker_death_is_reported_once_and_told_to_every_sink",),
    ),
    Bug(
        "a cancelled submission stays open",
        "bridge.bridge",
        """\
        finally:
            self.close_lane(lane)
""",
        """\
        except Exception:
            self.close_lane(lane)
            raise
""",
        (_EXPLORATION + "test_submissions_in_every_order",),
    ),
    Bug(
        "connections that come after a swap of the certificate get the one before",
        "server.server",
        "        self._settings = self._settings._replace(tls=self._tls.parameters)\n",
        "",
        (_SERVER + "server_tls.py::test_new_connections_use_the_new_context_and_old_ones_go_on",),
    ),
    Bug(
        "other transports get views, which they keep",
        "connection.protocol",
        'getattr(transport, "keeps_no_views", False)',
        "True",
        (
            "tests/bridge/test_bridge.py::test_protocol_takes_views_only_for_a_transport_that_keeps_none",
        ),
    ),
    Bug(
        "the rest of a short write is forgotten",
        "loop.write_side",
        "        del write_buffer[:sent_bytes]\n",
        "        write_buffer.clear()\n",
        (_LOOP + "write_side.py::test_writes_on_any_schedule_come_out_in_order",),
    ),
    Bug(
        "the sending side stays watched when all is sent",
        "loop.write_side",
        "            self._watch((self._watched_events or 0) & ~WRITABLE)\n",
        "",
        (_LOOP + "write_side.py::test_write_buffer_that_was_sent_leaves_the_loop_asleep",),
    ),
    Bug(
        "a batch of ready descriptors takes the event of another's with it",
        "loop.ready_batches",
        """\
                if event[0] in self._watches:
                    break
""",
        "                pass\n",
        (
            _LOOP
            + "ready_batches.py::test_handler_gets_its_events_up_to_the_next_of_another_in_order",
        ),
    ),
    Bug(
        "a socket is closed with unread input, which resets it",
        "connection.ends",
        "    if peer_ended or not transport.can_write_eof():\n",
        "    if True:\n",
        ("tests/protocol/test_drain.py",),
    ),
    Bug(
        "a frame's deadline starts anew with each byte",
        "connection.deadlines",
        "self._frame.for_s(now_s, frame_seq)",
        "self._frame.for_s(now_s, (frame_seq, received_bytes))",
        (_CONNECTION + "deadlines.py::test_frame_passes_at_its_time_whatever_arrives_meanwhile",),
    ),
    Bug(
        "a deadline counts time in which the loop did not run",
        "bridge.running_time",
        "            self.now_s += min(passed_s, planned_s)\n",
        "            self.now_s += passed_s\n",
        (
            "tests/bridge/test_running_time.py::test_clock_counts_no_more_than_planned_and_no_less_than_half",
        ),
    ),
    Bug(
        "a loop that only ever stalls has endless deadlines",
        "bridge.running_time",
        " and self.now_s - self._excused_at_s >= planned_s:",
        ":",
        (
            "tests/bridge/test_"
            + "running_time.py::test_clock_counts_every_second_interval_of_a_loop_that_only_stalls",
        ),
    ),
    Bug(
        "a peer is aborted as idle while its bytes lie in the kernel",
        "connection.deadlines",
        "        if any(held_input()) and self._put_off(opaque=opaque):\n            return None\n",
        "",
        (
            _CONNECTION
            + "deadlines.py::test_quiet_deadline_does_not_pass_while_the_kernel_holds_input",
        ),
    ),
    Bug(
        "bytes that come in time with the sweeps keep a late frame open",
        "connection.deadlines",
        "if self._late_bytes is None or come_bytes < self._late_bytes:",
        "if True:",
        (_CONNECTION + "deadlines.py::test_frame_of_a_dribbler_ends_with_what_had_come_by_then",),
    ),
    Bug(
        "prefixes are read little-endian",
        "frames/prefixed",
        '{4: ">I", 8: ">Q"}',
        '{4: "<I", 8: "<Q"}',
        ("tests/frames/test_prefixed.py::test_prefix_is_read_and_written_unsigned_and_big_endian",),
    ),
    Bug(
        "a length is waited for before it is held against the limit",
        "frames/prefixed",
        """\
                if payload_bytes > max_frame_bytes:
                    error = _announced(payload_bytes, max_frame_bytes)
                    break
                if off + prefix_bytes + payload_bytes > data_bytes:
                    break
""",
        """\
                if off + prefix_bytes + payload_bytes > data_bytes:
                    break
                if payload_bytes > max_frame_bytes:
                    error = _announced(payload_bytes, max_frame_bytes)
                    break
""",
        ("tests/frames/test_prefixed.py",),
    ),
    Bug(
        'a "\\r\\n" that is split between two chunks leaves its "\\r"',
        "frames/lines",
        "_first_line(chunk, held[-1])",
        "_first_line(chunk, 0)",
        ("tests/frames/test_grammar.py::test_frames_split_anywhere_are_found_the_same",),
    ),
    Bug(
        "both threads slice views of one buffer, which a build without a GIL miscounts",
        "ring.ring",
        "[self._worker_view(off, nbytes) for off, nbytes in spans]",
        "self.loop_views.copy()",
        (
            "tests/ring/test_ring.py::test_two_threads_never_slice_what_counts_its_slices_in_one_place",
        ),
    ),
    Bug(
        "a slow reader that lives on what kernels hold is aborted as a stall",
        "connection.socket_probe",
        " + unacknowledged_bytes(transport) if buffered_bytes else 0",
        "",
        (
            "tests/protocol/test_deadlines.py::"
            "test_write_stall_is_not_seen_in_who_takes_what_the_kernel_holds",
        ),
    ),
    Bug(
        "the loop polls past a timer that a delivery has set",
        "loop.iterations",
        " or len(self._scheduled) != timers",
        "",
        (_LOOP + "iterations.py::test_timer_that_a_hook_sets_is_polled_for",),
    ),
    Bug(
        "two servers look at a UNIX path at once",
        "server.unix_path",
        """\
            await _lock(fd, directory, timeout_s)
            yield
""",
        """\
            yield
""",
        (_SERVER + "unix_path.py::test_of_servers_that_start_at_once_on_a_dead_path_one_owns_it",),
    ),
    Bug(
        "a UNIX socket has its mode after its bind",
        "server.unix_path",
        """\
        os.fchmod(sock.fileno(), self._mode)
        sock.bind(self.path)
""",
        """\
        sock.bind(self.path)
""",
        (_SERVER + "unix_path.py::test_file_has_the_mode_asked_for_whatever_the_umask",),
    ),
    Bug(
        "a UNIX path that may not be removed ends the close",
        "server.listeners",
        "except (LocalError, OSError) as error:",
        "except LocalError as error:",
        (
            _SERVER
            + "server.py::test_path_that_may_not_be_removed_is_logged_and_the_rest_is_closed",
        ),
    ),
    Bug(
        "a tee follows a connection that was planted meanwhile",
        "command/tee_file",
        " | os.O_NOCTTY | os.O_NOFOLLOW",
        " | os.O_NOCTTY",
        (_COMMAND + "tee_file.py::test_link_that_comes_after_the_look_is_not_followed_either",),
    ),
    Bug(
        "cores that others keep busy are taken for long chunks",
        "command.core_follower",
        " and most_idle_s >= LEAST_IDLE_S",
        "",
        (_COMMAND + "core_follower.py::test_cores_that_others_keep_busy_are_not_taken",),
    ),
    Bug(
        "threads that a processor has placed are moved, too",
        "command.affinity",
        """\
            if thread_id not in others and os.sched_getaffinity(thread_id) == before:
                os.sched_setaffinity(thread_id, cpus)
""",
        """\
            if thread_id not in others and os.sched_getaffinity(thread_id):
                os.sched_setaffinity(thread_id, cpus)
""",
        (_COMMAND + "affinity.py::test_thread_that_ends_meanwhile_is_passed_over",),
    ),
    Bug(
        "TLS reads the next record, then encrypts the reply",
        "work.tls_work",
        """\
        off, inner, view = 0, self._inner, share.scratch.view
        while (
            off < len(chunk)
            and self._records_left > 0
            and not (session.input_ended or self.broken)
            and inner.deferred is None
            and inner.has_room
            and not inner.window.is_full()
        ):
            before_off, off = off, session.feed(chunk, off)
            if self._hello is not None:
                self._hello.see(chunk[before_off:off])
            if not session.has_record:
                continue
            self._records_left -= 1
            entry.calls += 1
            if session.is_established:
                nbytes = session.read(view)
                if nbytes:
                    self.data_bytes += nbytes
                    self._give(session, DATA, nbytes, entry, pool, output)
""",
        """\
        off, inner, view, late = 0, self._inner, share.scratch.view, b""
        while (
            off < len(chunk)
            and self._records_left > 0
            and not (session.input_ended or self.broken)
            and inner.deferred is None
            and not inner.window.is_full()
        ):
            before_off, off = off, session.feed(chunk, off)
            if self._hello is not None:
                self._hello.see(chunk[before_off:off])
            if not session.has_record:
                continue
            self._records_left -= 1
            entry.calls += 1
            if session.is_established:
                nbytes = session.read(view)
                for data in (late, bytes(view[:nbytes]) if off == len(chunk) else b""):
                    if data:
                        view[: len(data)] = data
                        self.data_bytes += len(data)
                        self._give(session, DATA, len(data), entry, pool, output)
                late = bytes(view[:nbytes])
""",
        (_TLS_ERRORS + "test_replies_before_a_bad_record_come_and_then_the_alert",),
    ),
    Bug(
        "a chunk of TLS is fed whole",
        "work.tls_work",
        "            before_off, off = off, session.feed(chunk, off)\n",
        """\
            before_off = off
            while off < len(chunk):
                off = session.feed(chunk, off)
""",
        (
            _TLS_WORK + "test_bytes_through_tls_are_those_of_the_inner_work",
            _TLS_SHARES + "test_lane_decrypts_its_share_of_records_in_a_batch",
        ),
    ),
    Bug(
        "TLS takes a chunk that begins with a record for one",
        "work.tls_single_records",
        "            and nbytes == HEADER_BYTES + (view[3] << 8 | view[4])\n",
        "            and nbytes >= HEADER_BYTES + (view[3] << 8 | view[4])\n",
        (_TLS_SINGLE + "test_single_record_takes_the_way_and_nothing_else_does",),
    ),
    Bug(
        "single records of TLS take nothing of a share",
        "work.tls_single_records",
        """\
        self._records_left -= 1
        entry.ended = False
""",
        """\
        entry.ended = False
""",
        (_TLS_SINGLE + "test_single_records_of_a_batch_use_the_share_up",),
    ),
    Bug(
        "a single record of TLS that fills the window is not seen to",
        "work.tls_single_records",
        "        if self.broken or work.deferred is not None or entry.surplus_bytes:\n",
        "        if self.broken or work.deferred is not None:\n",
        (_TLS_SINGLE + "test_single_record_behind_one_that_fills_the_window_waits",),
    ),
    Bug(
        "input of a single record of TLS that is deferred is credited",
        "work.tls_single_records",
        "        if self.broken or work.deferred is not None or entry.surplus_bytes:\n",
        "        if self.broken or entry.surplus_bytes:\n",
        (_TLS_SINGLE + "test_single_record_that_the_inner_work_defers_stays_in_flight",),
    ),
    Bug(
        "TLS ends without close_notify",
        "work.tls_work",
        "                session.shut_down()\n",
        "",
        (_TLS_WORK + "test_close_notify_ends_the_input_and_replies_go_before_ours",),
    ),
    Bug(
        "a session of TLS stays after its end",
        "work.tls_work",
        """\
                session.shut_down()
                self._session = None
""",
        """\
                session.shut_down()
""",
        (_TLS_MEMORY + "test_openssl_is_let_go_at_the_end",),
    ),
    Bug(
        "ciphertext that is deferred is credited",
        "work.tls_work",
        "            held_bytes = self.deferred.nbytes\n",
        "            held_bytes = 0\n",
        (_TLS_SHARES + "test_lanes_share_the_handshakes_of_a_batch",),
    ),
    Bug(
        "plaintext that is deferred is credited",
        "work.tls_work",
        "            held_bytes += self._inner.deferred.nbytes\n",
        "            held_bytes += 0\n",
        (_TLS_SHARES + "test_rest_of_a_record_whose_beginning_is_credited_stays_in_flight",),
    ),
    Bug(
        "what a record was credited with is held again",
        "work.tls_work",
        "        held_bytes = min(held_bytes, self._uncredited_bytes)\n",
        "",
        (_TLS_SHARES + "test_rest_of_a_record_whose_beginning_is_credited_stays_in_flight",),
    ),
    Bug(
        "records of TLS take nothing of a share",
        "work.tls_work",
        "            self._records_left -= 1\n",
        "",
        (_TLS_SHARES + "test_lane_decrypts_its_share_of_records_in_a_batch",),
    ),
    Bug(
        "handshakes take nothing of a share",
        "work.tls_work",
        "                share.handshakes_left -= takes_step  # one for all records of a flight\n",
        "",
        (_TLS_SHARES + "test_lanes_share_the_handshakes_of_a_batch",),
    ),
    Bug(
        "TLS decrypts while the inner work defers",
        "work.tls_work",
        "            and inner.deferred is None\n",
        "",
        (_TLS_SHARES + "test_inner_work_that_defers_stops_the_decrypting",),
    ),
    Bug(
        "TLS decrypts while the window is full",
        "work.tls_work",
        "            and not inner.window.is_full()\n",
        "",
        (_TLS_SHARES + "test_full_window_stops_the_decrypting",),
    ),
    Bug(
        "a stream of TLS that was truncated is taken for whole",
        "work.tls_work",
        "        truncated = self.input_end is InputEnd.PEER and not session.input_ended\n",
        "        truncated = False\n",
        (
            _TLS_WORK + "test_end_that_comes_with_the_stream_only",
            _TLS_WORK + "test_stream_that_ends_within_a_record_is_truncated",
        ),
    ),
    Bug(
        "a deadline over TLS waits for what is deferred",
        "work.tls_work",
        "                self.deferred = self._inner.deferred = None\n",
        "                pass\n",
        (_TLS_SHARES + "test_deadline_drops_what_is_deferred",),
    ),
    Bug(
        "an empty record with a split header is not seen",
        "work.tls_session",
        """\
            self._missing_bytes = missing_bytes
            self.has_record = not missing_bytes
            return end
""",
        """\
            self._missing_bytes = missing_bytes
            return end
""",
        (
            _TLS_SESSION + "test_feed_knows_a_records_end_wherever_chunks_end",
            _TLS_SESSION + "test_feed_knows_a_records_end_at_every_split_of_two_records",
        ),
    ),
    Bug(
        "half a header of TLS is forgotten",
        "work.tls_session",
        "            self._head = head\n",
        "",
        (_TLS_SESSION + "test_feed_knows_a_records_end_wherever_chunks_end",),
    ),
    Bug(
        "output of TLS is taken after it has grown",
        "work.tls_session",
        "            if out.pending + nbytes > OUTPUT_BYTES:\n",
        "            if out.pending > OUTPUT_BYTES:\n",
        (
            _TLS_SESSION + "test_output_is_taken_before_it_is_longer_than_a_record",
            _TLS_MEMORY + "test_idle_session_that_was_used_keeps_at_most_64_kib",
        ),
    ),
    Bug(
        "an error over TLS stands in a frame that its traceback leads to",
        "work.tls_single_records",
        "                result = inner.result\n",
        "                result, error = inner.result, inner.error\n",
        (_TLS_ERRORS + "test_failed_lane_over_tls_keeps_no_error",),
    ),
    Bug(
        "text behind STARTTLS is processed",
        "work.framer",
        "            while chunk and answers.calls < most_calls and answers.start_tls is None:\n",
        "            while chunk and answers.calls < most_calls:\n",
        (
            _START_TLS + "test_text_behind_the_upgrade_is_never_processed",
            _START_TLS + "test_every_message_is_answered_once_and_in_order",
        ),
    ),
    Bug(
        "what was deferred is forgotten at an upgrade",
        "work.tls_work",
        "            self.deferred = deferred if deferred.nbytes else None\n",
        "            self.deferred = None\n",
        (_START_TLS + "test_every_message_is_answered_once_and_in_order",),
    ),
    Bug(
        "an upgraded lane does not see that nobody wants its replies",
        "work.start_tls_work",
        "        work.abandoned = self.abandoned\n",
        "",
        (_START_TLS + "test_lane_that_is_abandoned_works_no_more",),
    ),
    Bug(
        "a greeting takes the place of the reply behind it",
        "work.raw_work",
        "        if entry.result is not None:  # what the processor said to who the peer is\n",
        "        if entry.result is not None:\n            return\n        if entry.result:\n",
        (_CONNECTED + "test_factory_that_does_not_say_so_is_told_with_the_first_input",),
    ),
    Bug(
        "a handshake that waits is let in though no place is free",
        "server.handshake_gate",
        "        while self._waiting and not self.is_full:\n",
        "        while self._waiting:\n",
        (_HANDSHAKE_GATE + "test_gate_with_one_place_has_one_at_a_time",),
    ),
    Bug(
        "who has waited least is let in first",
        "server.handshake_gate",
        "popitem(last=False)",
        "popitem(last=True)",
        (
            _HANDSHAKE_GATE + "test_gate_gives_its_places_and_then_has_others_wait_in_order",
            _HANDSHAKE_ENTRANCE + "test_who_waits_is_let_in_in_order",
        ),
    ),
    Bug(
        "a handshake that is complete keeps its place until the next sweep",
        "server.handshake_entrance",
        """\
            entrance.end_step()
        self._bridge.ask_credit(lane)
""",
        """\
            entrance.end_step()
""",
        (
            _HANDSHAKE_ENTRANCE
            + "test_last_flight_that_was_deferred_gives_its_place_back_without_an_answer",
        ),
    ),
    Bug(
        "what has waited for a step is counted against what a drain still reads",
        "server.handshake_entrance",
        "            entrance.hand_on_held()  # it is not among what the kernel still has\n",
        "            pass\n",
        (_HANDSHAKE_ENTRANCE + "test_second_flight_waits_for_a_step_and_loses_nothing",),
    ),
    Bug(
        "the peer of a handshake pays for the time that the worker takes",
        "server.handshake_entrance",
        "        if is_owed or not entrance.is_wanted",
        "        if not entrance.is_wanted",
        (_HANDSHAKE_ENTRANCE + "test_second_flight_waits_for_a_step_and_loses_nothing",),
    ),
    Bug(
        "the end of input does not wait for the window",
        "work.raw_work",
        "        elif entry.kind is EOF and (deferred or self.window.is_full()):\n",
        "        elif entry.kind is EOF and deferred:\n",
        ("tests/work/test_raw_work.py::test_end_behind_a_full_window_waits_for_it",),
    ),
    Bug(
        "a drain accepts what systemd keeps for the next process",
        "server.listeners",
        "if accept_queued and not self._leaves_queue:",
        "if accept_queued:",
        (
            _SERVER
            + "listeners.py::test_queue_of_sockets_that_somebody_else_has_is_left_to_the_next",
        ),
    ),
    Bug(
        "the watchdog is pinged while a worker hangs",
        "command.notify",
        "if watchdog_s is not None and self._workers_move(now_s):",
        "if watchdog_s is not None:",
        ("tests/process/test_systemd.py::test_pings_stop_while_a_worker_hangs_and_come_again",),
    ),
    Bug(
        "a reload before the start says that the service is ready",
        "command.notify",
        "if self._is_ready and not self._reloads:",
        "if not self._reloads:",
        (_COMMAND + "notify.py::test_reload_that_fails_or_outlives_the_service",),
    ),
    Bug(
        "a lone frame does not wait for the window",
        "work.framed_work",
        "framer.partial_frame_bytes or self.deferred or self.broken or self.window.is_full()",
        "framer.partial_frame_bytes or self.deferred or self.broken",
        ("tests/work/test_lone_frames.py",),
    ),
    Bug(
        "a close cancels an arrival that becomes a connection",
        "server.arrivals",
        "for task in self._tasks - self._connecting:",
        "for task in set(self._tasks):",
        (_SERVER + "server.py::test_close_ends_while_a_connection_arrives",),
    ),
)
