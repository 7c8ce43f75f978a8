"""What compiled code does and which names it uses, independent of comments, docstrings and layout.

A digest of source text would see a comment; one of `co_code` would see a docstring, because constants are numbered.
So instructions are written out with their constants and names in place, jumps as counts of instructions. It is the
code that runs which is read, not a file that may have been edited since.
"""

from __future__ import annotations

import dis
import hashlib
from bisect import bisect_left
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_PADDING = frozenset({"CACHE", "EXTENDED_ARG", "NOP", "RESUME", "PRECALL", "NOT_TAKEN"})
# A class body says where it stands and what its docstring is; neither changes what it does.
_ABOUT_ITSELF = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_BETWEEN = frozenset({"PUSH_NULL"})
_SHAPE_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x200


class Import(msgspec.Struct, frozen=True):
    """An import statement inside a function."""

    module: str
    level: int
    names: tuple[str, ...]


class Uses(msgspec.Struct, frozen=True):
    """What code reaches for.

    Attributes:
        chains: global names with the attributes taken from them at once: `("helpers", "clean")`.
        attributes: attributes taken from values that are not known before it runs.
        imports: imports inside the code.
        assigns: global names, or attributes of them, that it changes.
    """

    chains: frozenset[tuple[str, ...]]
    attributes: frozenset[str]
    imports: frozenset[Import]
    assigns: frozenset[str]


def digest_code(code: CodeType) -> str:
    """Return a digest of what code does, the functions and classes defined inside it included."""
    return hashlib.sha256("\n".join(_lines(code)).encode("utf-8", "surrogatepass")).hexdigest()


def _lines(code: CodeType) -> Iterator[str]:
    arguments = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    yield repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _SHAPE_FLAGS))
    yield repr(code.co_varnames[:arguments])
    kept = list(_kept(code))
    offsets = [instruction.offset for instruction in kept]
    for instruction in kept:
        value = instruction.argval
        if instruction.opcode in dis.hasconst:
            text = _constant(code.co_consts[instruction.arg or 0])  # `argval` is unknown for names of keywords in 3.11
        elif instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            text = str(bisect_left(offsets, value))
        else:
            text = repr(value) if isinstance(value, str | int | tuple | None) else str(instruction.arg)
        yield f"{instruction.opname} {text}"
    for entry in getattr(dis.Bytecode(code), "exception_entries", ()):
        places = (bisect_left(offsets, place) for place in (entry.start, entry.end, entry.target))
        yield f"except {tuple(places)} {entry.depth} {entry.lasti}"


def _kept(code: CodeType) -> Iterator[dis.Instruction]:
    """Yield the instructions that do something; leave out what a class body says about itself."""
    waiting: dis.Instruction | None = None
    for instruction in dis.get_instructions(code):
        if instruction.opname in _PADDING:
            continue
        if waiting is not None:
            if instruction.opname == "STORE_NAME" and instruction.argval in _ABOUT_ITSELF:
                waiting = None
                continue
            yield waiting
            waiting = None
        if instruction.opcode in dis.hasconst:
            waiting = instruction
        else:
            yield instruction
    if waiting is not None:
        yield waiting


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return f"code {value.co_name} {digest_code(value)}"
    if isinstance(value, tuple):
        return f"({','.join(map(_constant, value))})"
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(map(_constant, value)))}}}"
    return f"{type(value).__name__} {value!r}"


def uses(code: CodeType) -> Uses:
    """Return what code, and the code defined inside it, reaches for."""
    chains: set[tuple[str, ...]] = set()
    attributes: set[str] = set()
    imports: set[Import] = set()
    assigns: set[str] = set()
    for part in _all_codes(code):
        _collect(part, chains, attributes, assigns)
        imports.update(_imports(part))
    return Uses(frozenset(chains), frozenset(attributes), frozenset(imports), frozenset(assigns))


def _all_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_codes(constant)


def _collect(code: CodeType, chains: set[tuple[str, ...]], attributes: set[str], assigns: set[str]) -> None:
    chain: tuple[str, ...] = ()
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in _PADDING or name in _BETWEEN:
            continue
        if name in _ATTRIBUTE and chain:
            chain = (*chain, instruction.argval)
            continue
        if chain:
            chains.add(chain)
            if name in {"STORE_ATTR", "DELETE_ATTR"}:
                assigns.add(".".join((*chain, instruction.argval)))
            chain = ()
        if name in _GLOBAL:
            chain = (instruction.argval,)
        elif name in _ATTRIBUTE or name == "LOAD_SUPER_ATTR":
            attributes.add(instruction.argval)
        elif name in {"STORE_GLOBAL", "DELETE_GLOBAL"}:
            assigns.add(instruction.argval)
    if chain:
        chains.add(chain)


def _imports(code: CodeType) -> Iterator[Import]:
    """Yield a code's imports: its level and names are the two constants loaded before the instruction."""
    loaded: list[Any] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level, names = loaded[-2:] if len(loaded) > 1 else (0, ())
            yield Import(instruction.argval, level or 0, tuple(names or ()))
        if instruction.opname.startswith("LOAD_CONST") or instruction.opname == "LOAD_SMALL_INT":
            loaded.append(instruction.argval)
