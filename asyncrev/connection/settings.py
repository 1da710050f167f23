"""What connections are made with, checked once: a server does it for all of its connections."""

from typing import Any, NamedTuple

from asyncrev.bridge.coroutines import Coroutines
from asyncrev.bridge.engine import Engine
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import as_framing
from asyncrev.later_processors import LaterFactory, coroutine_factory
from asyncrev.limits import Limits
from asyncrev.processors import ProcessorFactory, as_factory, speaks_first
from asyncrev.work.tls_parameters import TlsParameters

__all__ = ["ConnectionSettings", "checked_settings"]


class ConnectionSettings(NamedTuple):
    """What connections are made with. Thread: any. `checked_settings` makes it.

    A tuple and not a frozen dataclass, which takes 0.9 us more to make: a `BridgeProtocol` has one
    of its own, and making and opening it takes 20 us.

    Attributes:
        factory: makes their processors.
        framing: None for raw chunks.
        limits: the connections' own; the quotas are those of their bridge in any case.
        tls: None without TLS from the first byte on.
        engine: answers later, in the place of the processor; else None.
        begins: whether the worker has something to do before there is input.
    """

    factory: ProcessorFactory
    framing: Grammar | None
    limits: Limits
    tls: TlsParameters | None
    engine: Engine | None
    begins: bool


def checked_settings(
    processor: Any,
    framing: str | Grammar,
    limits: Limits,
    bridge_limits: Limits,
    tls: TlsParameters | None,
    engine: Engine | None = None,
) -> ConnectionSettings:
    """Check what a user has given; return it in the form that connections use. Thread: any.

    Args:
        processor: a class or factory of processors, a function from bytes to bytes, or an
            `ExecutorProcessor`.
        framing: the name of a grammar, or one.
        limits: the connections' own.
        bridge_limits: of the bridge that they will be on. The longest frame that these allow must
            fit the part of the bridge's pool that one connection may use.
        tls: without it, TLS is spoken only if the processor asks for it.
        engine: answers in the place of `processor`, which is a `LaterFactory` then.

    Raises:
        SettingsError: `processor` cannot be used as one, or there is no such framing, or no room
            for its longest frame.
    """
    factory: ProcessorFactory = processor
    if engine is None:
        factory, engine = _factory_and_engine(processor, limits)
    grammar = as_framing(framing, bridge_limits)
    return ConnectionSettings(
        factory,
        grammar,
        limits,
        tls,
        engine,
        speaks_first(factory) if tls is None else not tls.server_side,
    )


def _factory_and_engine(processor: Any, limits: Limits) -> tuple[ProcessorFactory, Engine | None]:
    if isinstance(processor, LaterFactory) and processor.engine is not None:
        processor.check_usable()
        return processor, processor.engine
    asynchronous = coroutine_factory(processor)
    if asynchronous is not None:
        return asynchronous, Coroutines(asynchronous, limits.processor_timeout_s)
    return as_factory(processor), None
