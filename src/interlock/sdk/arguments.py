"""Arguments of an operation: bound, sent and checked in one way, so that local and remote calls refuse the same.

A local call's arguments take the wire form too (MessagePack, which keeps NaN and tells an int from a float) before they
are checked; so what a server would refuse, a folder refuses, with the same words.
"""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Finding, Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.operations import Operation

_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
_DEEPEST: Final = 100


def bind(operation: Operation, positional: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Python call's arguments by name.

    Raises:
        Invalid: there are too many, one is given twice, one is unknown, or a required one is missing.
    """
    names = [parameter.name for parameter in operation.parameters]
    if len(positional) > len(names):
        raise Invalid(
            f"{title(operation)} takes {len(names)} arguments, not {len(positional)}.",
            about=operation.service,
            hint=f"They are {', '.join(names)}." if names else "",
        )
    arguments = dict(zip(names, positional, strict=False))
    twice = sorted(set(arguments) & set(named))
    if twice:
        raise Invalid(f"{title(operation)} got {', '.join(twice)} twice.", about=operation.service)
    arguments.update(named)
    check_names(operation, arguments)
    return arguments


def check_names(operation: Operation, arguments: Mapping[str, Any]) -> None:
    """Accept arguments whose names are the operation's, none that is required missing.

    Raises:
        Invalid: one is unknown or missing.
    """
    known = {parameter.name: parameter for parameter in operation.parameters}
    findings = [Finding("unknown_argument", _unknown(operation, name), name) for name in arguments if name not in known]
    findings += [
        Finding("missing_argument", f"{title(operation)} needs {name!r}: {parameter.help}", name)
        for name, parameter in known.items()
        if parameter.required and name not in arguments
    ]
    _refuse(operation, findings)


def encode(operation: Operation, arguments: Mapping[str, Any]) -> bytes:
    """Return arguments in the wire form.

    Raises:
        Invalid: one holds what cannot be sent, such as a frame or an open file.
    """
    try:
        return _ENCODER.encode(arguments)
    except (TypeError, ValueError, OverflowError, RecursionError):
        _refuse(operation, [finding for name, value in arguments.items() for finding in _unsendable(name, value)])
        raise


def decode(body: bytes) -> dict[str, Any]:
    """Return arguments from the wire form, as plain values that are not checked yet."""
    plain: dict[str, Any] = msgspec.msgpack.decode(body, type=dict[str, Any])
    return plain


def typed(operation: Operation, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values as the types that an operation declares.

    Raises:
        Invalid: an argument is unknown, missing, or of another type; `findings` names each.
    """
    check_names(operation, plain)
    ready: dict[str, Any] = {}
    findings = []
    for parameter in operation.parameters:
        if parameter.name not in plain:
            continue
        try:
            _check_depth_and_range(plain[parameter.name])
            ready[parameter.name] = msgspec.convert(plain[parameter.name], parameter.type)
        except (msgspec.ValidationError, _OutOfRange) as error:
            message = f"Argument {parameter.name!r} of {title(operation)} is wrong: {error}."
            findings.append(Finding("wrong_argument", message, parameter.name))
    _refuse(operation, findings)
    return ready


def title(operation: Operation) -> str:
    """Return what people call an operation: `service.name`."""
    return f"{operation.service}.{operation.name}"


class _OutOfRange(Exception):
    """A number that no database holds, or a value nested without end."""


def _check_depth_and_range(value: Any, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise _OutOfRange(f"it is nested more than {_DEEPEST} levels deep")
    if isinstance(value, int):
        if not _LEAST <= value <= _MOST:
            raise _OutOfRange("an integer needs more than 64 bits")
    elif isinstance(value, dict):
        for item in value.values():
            _check_depth_and_range(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_depth_and_range(item, depth + 1)


def _plain(value: Any) -> Any:
    """Return the plain form of paths and of numbers and arrays of NumPy and its like."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be an argument")


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_plain)


def _unsendable(name: str, value: Any) -> list[Finding]:
    try:
        _ENCODER.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return [Finding("wrong_argument", f"Argument {name!r} cannot be sent: {error}.", name)]
    return []


def _unknown(operation: Operation, name: str) -> str:
    names = [parameter.name for parameter in operation.parameters]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    known = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names) or 'no arguments'}."
    return f"{title(operation)} has no argument {name!r}; {known}"


def _refuse(operation: Operation, findings: list[Finding]) -> None:
    """Raise one error for all findings; where there is one, its sentence is the error's."""
    if not findings:
        return
    hint = f"See `interlock {operation.service} {operation.name} --help`.".replace("_", "-")
    if len(findings) == 1:
        raise Invalid(findings[0].message, about=operation.service, hint=hint, argument=findings[0].column)
    message = f"{len(findings)} arguments of {title(operation)} are wrong."
    raise Invalid(message, about=operation.service, hint=hint, findings=findings)
