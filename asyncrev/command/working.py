"""Run one worker of several until its supervisor, or a signal, has it drain."""

import asyncio
import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from typing import Any

from asyncrev.admin.answers import Answers
from asyncrev.command.affinity import core_of_worker
from asyncrev.command.config_values import name_places
from asyncrev.command.core_follower import following
from asyncrev.command.exit_codes import EXIT_CLEAN, EXIT_RUNTIME_ERROR, EXIT_USAGE
from asyncrev.command.listen_fds import ListenSockets, PassedSocket
from asyncrev.command.log_setup import ProcessLog
from asyncrev.command.option_values import OptionValue
from asyncrev.command.output_files import OutputFiles
from asyncrev.command.process_run import run_process
from asyncrev.command.server_setup import listen, server_with
from asyncrev.command.settings import ServeSettings, settings_of
from asyncrev.command.signals import ProcessSignals
from asyncrev.command.start_line import start_fields
from asyncrev.command.stopping import Stops, run_until_stopped, start_unless_stopped
from asyncrev.command.value_json import values_from_json
from asyncrev.command.worker_setup import WorkerPipes
from asyncrev.errors import LocalError, SettingsError
from asyncrev.server.server import Server
from asyncrev.supervisor.channel import MOST_DESCRIPTORS
from asyncrev.supervisor.questions import answer_questions
from asyncrev.supervisor.worker import Control

__all__ = ["work_until_told"]

# Its own three, a copy of one, and those that come in one packet.
WORKER_DESCRIPTORS = 4 + MOST_DESCRIPTORS
MOST_FIELDS_BYTES = 6000  # of a packet


def work_until_told(numbers: str, signals: ProcessSignals | None = None) -> int:
    """Serve what the supervisor hands over, until it says so; return the exit code. Thread: main.

    Options come from the supervisor: neither arguments nor variables are read. Why it cannot serve
    is said to the supervisor, too.

    Args:
        numbers: the descriptors that the supervisor has passed.
        signals: the owner of the process's signals; see `run_process`.

    Raises:
        SettingsError: there is no supervisor.
    """
    pipes = WorkerPipes(numbers)
    values: list[OptionValue] = []
    try:
        setup = pipes.read_setup()
        if setup is None:
            return EXIT_CLEAN
        values = values_from_json(setup["values"])
        settings = _settings(values, setup)
        serve = functools.partial(_serve, pipes, bool(setup["listen"]))
        return run_process(
            serve, settings, signals, more_descriptors=WORKER_DESCRIPTORS, worker=setup["worker"]
        )
    except SettingsError as error:
        return _failed(pipes, EXIT_USAGE, name_places(str(error), values))
    except LocalError as error:
        return _failed(pipes, EXIT_RUNTIME_ERROR, str(error))
    except OSError as error:
        text = error.strerror if error.filename is None else None
        return _failed(pipes, EXIT_RUNTIME_ERROR, text or str(error))


def _failed(pipes: WorkerPipes, code: int, text: str) -> int:
    pipes.tell_failure(code, text)
    return code


def _settings(values: list[OptionValue], setup: Mapping[str, Any]) -> ServeSettings:
    listening = tuple(PassedSocket(fd) for fd in setup["listen"])
    for one in listening:
        os.set_inheritable(one.fd, False)
    settings = settings_of(values, ListenSockets(activated=listening))
    wanted = next(value.value for value in values if value.option.name == "cpu")
    if wanted == "auto" and settings.cpu is not None:
        settings = dataclasses.replace(settings, cpu=core_of_worker(setup["index"]))
    return settings


class _Orders:
    """Carries out what the supervisor orders."""

    def __init__(self, stops: Stops, outputs: OutputFiles) -> None:
        self._stops = stops
        self._outputs = outputs

    def drain(self) -> None:
        self._stops.requested.set()

    def close(self) -> None:
        self._stops.force("the supervisor says so")

    def reopen(self) -> None:
        self._outputs.reopen_soon("the supervisor says so")


async def _serve(
    pipes: WorkerPipes,
    listens: bool,
    settings: ServeSettings,
    signals: ProcessSignals,
    log: ProcessLog,
) -> int:
    loop = asyncio.get_running_loop()
    stops = Stops()
    outputs = OutputFiles()

    def on_signal(number: int, again: bool) -> None:
        stops.heed(number, again, lambda: outputs.reopen_soon("SIGHUP"))

    def note_stop_word() -> None:  # on a worker's thread
        loop.call_soon_threadsafe(control.note_stop_word)

    code = EXIT_RUNTIME_ERROR
    signals.deliver_to(loop, on_signal)
    control = Control(pipes.open_control(), _Orders(stops, outputs))
    try:
        outputs.open(settings)
        server = server_with(settings, outputs, note_stop_word)
        # They have durations measured, so only for an endpoint that somebody may ask.
        answers = None if settings.admin is None else Answers(server)

        async def before_drain(_: "asyncio.Task[None]") -> None:
            if answers is not None:
                answers.is_stopping = True
            await _unless_forced(stops, control)

        try:
            if await start_unless_stopped(listen(server, settings, listens=listens), stops):
                pipes.questions.setblocking(False)
                answering = _begin_answering(pipes, answers)
                control.start(server, _fields(settings, server))
                with following(server, settings.cpu, settings.more_cpus):
                    code = await run_until_stopped(
                        server,
                        stops,
                        spread_s=settings.drain_spread_s,
                        report_left_out=log.report_left_out,
                        before_drain=before_drain,
                    )
                if answering is not None:
                    answering.cancel()
            else:
                code = EXIT_CLEAN
        finally:
            await server.close()  # `run_until_stopped` has nearly always done it
        return code
    finally:
        signals.end(code)
        control.close()
        outputs.close()


def _begin_answering(pipes: WorkerPipes, answers: Answers | None) -> "asyncio.Task[None] | None":
    if answers is None:
        return None
    return asyncio.create_task(answer_questions(pipes.questions, answers.answer))


async def _unless_forced(stops: Stops, control: Control) -> None:
    """Wait until nothing more is handed over, or this worker is to end at once."""
    leaving = asyncio.create_task(control.leave())
    forcing = asyncio.create_task(stops.forced.wait())
    await asyncio.wait((leaving, forcing), return_when=asyncio.FIRST_COMPLETED)
    for task in (leaving, forcing):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _fields(settings: ServeSettings, server: Server) -> dict[str, Any]:
    """Return what the supervisor logs of its workers; without long lists, which it knows."""
    fields = start_fields(settings, server)
    for name in ("addresses", "proxy_from"):
        if len(json.dumps(fields)) > MOST_FIELDS_BYTES:
            fields.pop(name, None)
    return fields
