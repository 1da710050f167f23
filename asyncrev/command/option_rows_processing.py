"""Options of `asyncrev serve`: what is done with input, and by which threads and processes."""

from typing import Any

import click

from asyncrev.command.option import PROCESSING, TIMEOUTS, Option, Said
from asyncrev.command.option_types import BYTES, SECONDS, WORKERS, IntegerRange
from asyncrev.command.units import format_bytes, format_seconds
from asyncrev.executors.settings import MOST_WORKERS
from asyncrev.frames.registry import FRAMINGS

__all__ = ["PROCESSING_OPTIONS"]


def _executor(
    name: str, kind: "click.ParamType[Any]", text: str, group: str = PROCESSING, **more: Any
) -> Option:
    """Return the row of an option that means something with an executor only."""
    return Option(
        name=name,
        type=kind,
        help=text,
        group=group,
        sets="executor",
        needs="executor",
        needs_hint="say which executor",
        **more,
    )


# In the order of the start line and, within a group, of the help.
PROCESSING_OPTIONS = (
    Option(
        name="loop",
        type=click.Choice(["epoll", "asyncio", "uvloop"]),
        default="epoll",
        help="Event loop.",
        group=PROCESSING,
        sets="loop_name",
        said=Said.ALWAYS,
    ),
    Option(
        name="processor",
        type=click.STRING,
        default="asyncrev:Reverse",
        metavar="MODULE:ATTR",
        help="A class with process(chunk) and eof(), a factory of such objects, or a function "
        "bytes -> bytes. The current directory is searched last for the module, and not at all if "
        "PYTHONSAFEPATH is set.",
        group=PROCESSING,
        sets="processor_name",
        once=True,  # two processors are no pipeline
        said=Said.ALWAYS,
    ),
    Option(
        name="framing",
        type=click.Choice(["raw", *FRAMINGS]),
        default="raw",
        help="What is processed at a time: a chunk as the network split it, a line, or the payload "
        "behind a big-endian length of 4 or 8 bytes. Replies are framed in the same way.",
        group=PROCESSING,
        sets="framing",
        said=Said.ALWAYS,
    ),
    Option(
        name="cpu",
        type=click.STRING,
        default="auto",
        metavar="auto|any|N",
        help="Run the loop and the worker on one core, N: the hand-off is cheaper there. auto does "
        "so, on the core where the process starts, for a processor with a true `shares_core`; with "
        "TLS it uses all cores for as long as chunks are long. any leaves it to the system.",
        group=PROCESSING,
        sets="cpu",
        said=Said.ALWAYS,
    ),
    Option(
        name="threads",
        type=IntegerRange(1),
        default=1,
        help="Worker threads, each with its own ring; connections are spread over them. More than "
        "one is useful for a processor that releases the GIL for most of its time.",
        group=PROCESSING,
        sets="threads",
        said=Said.ALWAYS,
    ),
    Option(
        name="executor",
        type=click.STRING,
        metavar="KIND|MODULE:FACTORY",
        help="Have each frame answered by a worker of an executor: processes, threads, "
        "interpreters (Python 3.14), dask (needs asyncrev[dask]), or what a function without "
        "arguments returns. --processor is then a function bytes -> bytes of a module.",
        group=PROCESSING,
        sets="executor",
    ),
    _executor(
        "executor_workers",
        IntegerRange(1, MOST_WORKERS),
        "Workers of that executor; without it, one per core.",
    ),
    _executor(
        "executor_address",
        click.STRING,
        "The scheduler of a Dask cluster; without it, a cluster is started on this machine.",
        metavar="tcp://HOST:PORT",
    ),
    _executor(
        "executor_batch_frames",
        IntegerRange(1, 1024),
        "Frames, of any connections, that a worker gets at once, if so many are ready.",
        default=16,
    ),
    _executor(
        "executor_batch_bytes",
        BYTES,
        "Bytes of frames at which such a batch is full; a longer frame goes alone.",
        default=format_bytes(256 * 1024),
    ),
    _executor(
        "executor_timeout_s",
        SECONDS,
        "Time that a worker may take for a batch; then it is ended, and another one starts. inf "
        "for no limit.",
        default=format_seconds(30.0),
        group=TIMEOUTS,
    ),
    Option(
        name="workers",
        type=WORKERS,
        default=1,
        metavar="N|auto",
        help="Processes that serve, each with its own limits; with more than 1 a supervisor keeps "
        "them running. auto takes one per core, or fewer by the CPU quota.",
        group=PROCESSING,
        sets="workers",
    ),
    Option(
        name="balance",
        type=click.Choice(["exact", "kernel"]),
        default="exact",
        help="How workers get connections: exact has the supervisor accept, and give each to the "
        "worker with the fewest; kernel has them accept by themselves, over TCP.",
        group=PROCESSING,
        sets="balance",
        needs="workers",
        needs_hint="say how many",
    ),
    Option(
        name="restart_limit",
        type=IntegerRange(0),
        default=10,
        help="Deaths of workers within 60 s at which the service drains and ends; 0 for no limit.",
        group=PROCESSING,
        sets="restart_limit",
        needs="workers",
        needs_hint="say how many",
    ),
    Option(
        name="stop_word",
        type=click.STRING,
        metavar="WORD",
        help="Drain and stop when a client sends this, whole or in pieces; with a framing, when a "
        "frame is equal to it.",
        group=PROCESSING,
        sets="stop_word",
    ),
    Option(
        name="tee",
        type=click.STRING,
        metavar="PATH|-",
        help="Write the received bytes to this file, or to stdout. SIGHUP reopens it.",
        group=PROCESSING,
        sets="tee",
    ),
)
