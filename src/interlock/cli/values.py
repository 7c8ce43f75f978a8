"""Words of a command line as values of the types that an operation declares."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from interlock.core.errors import Invalid, NotFound
from interlock.core.files import StoredFile

Form = Literal["flag", "list", "map", "one"]


class Shape(msgspec.Struct, frozen=True):
    """How a type is spelt: as a flag, a repeated value, repeated `KEY=VALUE`, or one value; and the type of each."""

    form: Form
    item: Any

    @property
    def metavar(self) -> str:
        """What help shows in the place of a value."""
        word = _metavar(self.item)
        return f"KEY={word}" if self.form == "map" else word


def shape(kind: Any) -> Shape:
    """Return how values of a type are spelt; an option of a type is spelt as the type."""
    kind = _without_none(kind)
    origin, args = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind is bool:
        return Shape("flag", bool)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if args and args[1] is object:  # what is said to hold anything is a document, not a list of pairs
            return Shape("one", kind)
        return Shape("map", args[1] if args else Any)
    if isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset) and origin not in {str, bytes}:
        return Shape("list", args[0] if args else Any)
    return Shape("one", kind)


def read(name: str, words: Any, form: Shape) -> Any:
    """Return the value that words spell.

    Args:
        name: what the argument is called, for errors.
        words: what click found: a text, texts, or a flag.
        form: how the type is spelt.

    Raises:
        Invalid: they spell no value of the type.
    """
    if form.form == "flag":
        return words
    if form.form == "list":
        return [_one(name, word, form.item) for word in words]
    if form.form == "one":
        return _one(name, words, form.item)
    pairs = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise Invalid(f"{word!r} is no KEY=VALUE for {name}.", about="argument")
        if key in pairs:
            raise Invalid(f"{name} names {key!r} twice.", about="argument")
        pairs[key] = _one(name, text, form.item)
    return pairs


def _one(name: str, text: str, kind: Any) -> Any:
    kind = _without_none(kind)
    if kind is str or kind is StoredFile:
        return text  # a path becomes a stored file in the workspace
    if kind is Any:
        try:
            return msgspec.json.decode(text)
        except msgspec.MsgspecError:
            return text
    if _is_nested(kind):
        return _json(name, text)
    others = [part for part in typing.get_args(kind) if part is not str] if _is_union(kind) else []
    if len(others) < len(typing.get_args(kind)) and _is_union(kind):  # text is one of several: the stricter first
        for part in others:
            try:
                return msgspec.convert(text, part, strict=False)
            except msgspec.ValidationError:
                continue
        return text
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"{text!r} is no value for {name}: {error}.", about="argument") from None


def _json(name: str, text: str) -> Any:
    hint = "Write JSON, or @FILE for a file that holds it."
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text("utf-8")
        except FileNotFoundError:
            raise NotFound(f"There is no file {text[1:]!r} for {name}.", about="file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"{text[1:]!r} cannot be read for {name}: {error}.", about="file") from None
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError as error:
        raise Invalid(f"The value for {name} is not JSON: {error}.", about="argument", hint=hint) from None


def _metavar(kind: Any) -> str:
    kind = _without_none(kind)
    if kind is StoredFile:
        return "FILE"
    if typing.get_origin(kind) is Literal:
        return "|".join(str(value) for value in typing.get_args(kind))
    if _is_nested(kind):
        return "JSON"
    return {int: "NUMBER", float: "NUMBER"}.get(kind, "VALUE")


def _is_nested(kind: Any) -> bool:
    """Return whether only JSON can spell a type."""
    if _is_union(kind):
        return any(_is_nested(part) for part in typing.get_args(kind)) and str not in typing.get_args(kind)
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, msgspec.Struct | Mapping | list | tuple | set | frozenset)


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in {typing.Union, types.UnionType}


def _without_none(kind: Any) -> Any:
    """Return a type without `None` and without annotations."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if _is_union(kind):
        parts = [part for part in typing.get_args(kind) if part is not type(None)]
        if len(parts) == 1:
            return _without_none(parts[0])
        return typing.Union[tuple(parts)]  # noqa: UP007 - made at run time
    return kind
