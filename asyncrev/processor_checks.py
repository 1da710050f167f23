"""Checks of a processor before it is used, with messages that say what to change.

They only inspect: neither a factory nor a function is called.
"""

import functools
import inspect
import sys
import types
from typing import Any

from asyncrev.errors import SettingsError

__all__ = [
    "check_class",
    "check_function",
    "check_method",
    "check_methods",
    "hint_at_bytes",
    "takes_arguments",
]

_WANTED = (
    "give a class with process(chunk) and eof(), a factory of such objects, or a function from "
    "bytes to bytes"
)
_ON_A_THREAD = (
    "a processor is called on a worker thread, without an event loop; an asynchronous one is a "
    "coroutine function, a class whose process is one, or functools.partial of these"
)

# The methods that are called, their arguments, and whether they are required.
_METHODS = (
    ("process", "chunk", True),
    ("eof", "", True),
    ("close", "", False),
    ("connected", "info", False),
    ("process_lines", "lines", False),
    ("process_prefixed", "frames, runs, prefix_bytes", False),
)

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NO_PLAIN_CALL = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_GENERATOR

# Types that functions return by mistake, and how to convert them to bytes.
_HINTS: dict[object, str] = {
    str: "encode the text: .encode()",
    int: 'write the number as bytes: b"%d" % number, or number.to_bytes(8, "big")',
    float: 'write the number as bytes: b"%g" % number',
}
_HINTS |= {kind.__name__: hint for kind, hint in _HINTS.items() if isinstance(kind, type)}


def check_class(cls: type) -> None:
    """Check that objects of `cls` can be made without arguments, and called as processors.

    Raises:
        SettingsError: they cannot.
    """
    missing = [name for name, _, needed in _METHODS if needed and getattr(cls, name, None) is None]
    if missing:
        lacks = " and ".join(f"{name}()" for name in missing)
        raise SettingsError(
            f"processor {cls!r} is a class without process(chunk) and eof(): it lacks {lacks}; "
            f"{_hint_at_function(cls) or _WANTED}"
        )
    if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False):
        names = ", ".join(sorted(getattr(cls, "__abstractmethods__", ()))) or "it is a protocol"
        raise SettingsError(
            f"processor {cls!r} is abstract ({names}); give a class of which objects can be made"
        )
    check_methods(cls)
    _check_kind(inspect.getattr_static(cls, "__init__"), "__init__ of processor", cls)
    signature = _signature(cls)
    parameters = signature.parameters.values() if signature is not None else ()
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in _ANY_NUMBER]
    if required:
        raise SettingsError(
            f"processor {cls!r} is a class that needs arguments ({', '.join(required)}), but one "
            f"is made for each connection without any; give a factory: "
            f"lambda: {cls.__name__}(...), or functools.partial({cls.__name__}, ...)"
        )


def check_methods(cls: type) -> None:
    """Check that the methods of `cls` can be called as those of a processor.

    Raises:
        SettingsError: one of them cannot.
    """
    for name, arguments, _ in _METHODS:
        check_method(cls, name, arguments)


def check_function(function: Any) -> bool:
    """Check a function or factory; return whether it is a function from bytes to bytes.

    Raises:
        SettingsError: it can be called as neither.
    """
    if all(callable(getattr(function, name, None)) for name in ("process", "eof")):
        kind = type(function).__name__
        raise SettingsError(
            f"processor {function!r} is not callable as a factory: it is an object that all "
            f"connections would share; give its class, {kind}, or a factory that makes one for "
            f"each connection: lambda: {kind}(...)"
        )
    if not callable(function):
        raise SettingsError(f"processor {function!r} is not callable; {_WANTED}")
    behind = _behind(function)
    _check_kind(behind, "processor", function)
    signature = _signature(function)
    if signature is None:
        return True  # some built-in functions have no signature; none is a factory
    parameters = list(signature.parameters.values())
    required = [p for p in parameters if p.default is p.empty and p.kind in _POSITIONAL]
    if isinstance(behind, type) and not required:
        return False
    if isinstance(behind, type) and hasattr(behind, "process"):
        raise SettingsError(
            f"processor {function!r} still needs arguments "
            f"({', '.join(p.name for p in required)}), but is called without any"
        )
    if len(required) > 1:
        names = ", ".join(p.name for p in required)
        raise SettingsError(
            f"processor {function!r} needs {len(required)} arguments ({names}); a function gets "
            "one, the bytes: give the others with functools.partial or a lambda"
        )
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if keywords:
        raise SettingsError(
            f"processor {function!r} needs the keyword arguments {', '.join(keywords)}, but gets "
            "none; give them with functools.partial or a lambda"
        )
    if required:
        _check_returns(signature, "processor", function)
        return True
    if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        raise SettingsError(
            f"processor {function!r} takes any arguments, so it may be a function from bytes to "
            "bytes or a factory; a decorator without functools.wraps makes such functions: use "
            "that there, or choose with lambda data: f(data) or lambda: f()"
        )
    if parameters and isinstance(function, types.BuiltinFunctionType):
        raise SettingsError(
            f"processor {function!r} may be called without arguments, which makes it a factory, "
            "but it returns an object without process(chunk) and eof(); "
            f"{_hint_at_function(function) or _WANTED}"
        )
    return False


def takes_arguments(function: object) -> bool:
    """Return whether `function` can be called with arguments, as far as its signature shows."""
    signature = _signature(function)
    return signature is None or bool(signature.parameters)


def hint_at_bytes(result: object) -> str:
    """Return advice about `result`, which is not bytes-like, as "; do so", or ""."""
    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        return f"; {_ON_A_THREAD}"
    if inspect.isgenerator(result):
        return '; join what it yields: b"".join(...)'
    if type(result).__name__ == "StartTls":  # whose module is above this one
        return "; only process() may return StartTls"
    if callable(getattr(result, "digest", None)):
        return "; call its digest()"
    hint = next((hint for kind, hint in _HINTS.items() if type(result) is kind), "")
    return f"; {hint}" if hint else ""


def _check_kind(behind: Any, what: str, named: object) -> None:
    """Refuse a function that always returns a coroutine or a generator."""
    behind = getattr(behind, "__func__", behind)
    code = getattr(behind, "__code__", None)
    if code is None:  # an object with `__call__`
        code = getattr(type(behind).__call__, "__code__", None)
    if code is None or not code.co_flags & _NO_PLAIN_CALL:
        return
    if code.co_flags & inspect.CO_COROUTINE:
        raise SettingsError(f"{what} {named!r} is a coroutine function (async def); {_ON_A_THREAD}")
    if code.co_flags & inspect.CO_ASYNC_GENERATOR:
        raise SettingsError(f"{what} {named!r} is an asynchronous generator; {_ON_A_THREAD}")
    raise SettingsError(
        f"{what} {named!r} is a generator function, so it returns a generator instead of bytes;  "
        'return b"".join(...) of what it yields'
    )


def check_method(cls: type, name: str, arguments: str) -> None:
    """Check that the method `name` of `cls`, if it exists, can be called with `arguments`.

    Raises:
        SettingsError: it cannot.
    """
    method = getattr(cls, name, None)
    if method is None:
        return
    what = f"{name} of processor"
    static = inspect.getattr_static(cls, name, None)
    if not callable(method):
        if hasattr(type(static), "__get__"):
            return  # a property or a slot, which may differ per object
        raise SettingsError(f"{what} {cls!r} is {method!r}, which cannot be called")
    _check_kind(_behind(method), what, cls)
    bound = isinstance(static, (staticmethod, classmethod))
    signature = _signature(method)
    if signature is None or not (bound or isinstance(static, types.FunctionType)):
        return  # unknown how it is bound
    count = len(arguments.split(", ")) if arguments else 0
    try:
        signature.bind(*range(count + (not bound)))
    except TypeError as error:
        wanted = ", ".join(filter(None, ("self", arguments)))
        raise SettingsError(
            f"{what} {cls!r} takes {signature}, but is called as {name}({arguments}): {error}; "
            f"write def {name}({wanted})"
        ) from None
    if name != "close":
        _check_returns(signature, what, cls)


def _check_returns(signature: inspect.Signature, what: str, named: object) -> None:
    """Refuse a function that is annotated to return something else than bytes."""
    annotation = signature.return_annotation
    hint = _HINTS.get(annotation) if isinstance(annotation, (type, str)) else None
    if hint is not None:
        kind = annotation if isinstance(annotation, str) else annotation.__name__
        raise SettingsError(
            f"{what} {named!r} is annotated to return {kind}; it must return bytes: {hint}"
        )


def _hint_at_function(function: Any) -> str:
    """Return how to use what is probably meant as a function, or ""."""
    name = getattr(function, "__name__", "").removeprefix("openssl_")
    hashlib: Any = sys.modules.get("hashlib")  # imported if one of its functions is used
    if hashlib is not None and name in hashlib.algorithms_available:
        nbytes = "32" if name.startswith("shake") else ""  # those have no fixed length
        return f"for digests use lambda data: hashlib.{name}(data).digest({nbytes})"
    if function is bytes:
        return "for an echo use lambda data: data"
    return ""


def _behind(function: Any) -> Any:
    """Return the function that a partial finally calls."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _signature(function: Any) -> inspect.Signature | None:
    """Return the signature, or None if there is none."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
