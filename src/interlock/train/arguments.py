"""A pipeline's arguments: texts from a command line or interlock.toml become values, references become tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.data.service import DataService
    from interlock.train.loader import Argument

TABLES = ("polars", "pandas")


def resolve_arguments(
    wanted: Sequence[Argument], given: Mapping[str, Any], data: DataService
) -> tuple[dict[str, Any], list[str]]:
    """Return the values of a pipeline's arguments, and references of the data that they are.

    An argument annotated as a frame is a dataset: a reference, or when it is left out the newest version of the dataset
    of the argument's name.

    Args:
        wanted: the pipeline's arguments.
        given: values by name.
        data: where datasets are.

    Raises:
        NotFound: an argument or dataset does not exist.
        Invalid: an argument is missing or has the wrong type.
    """
    known = {argument.name: argument for argument in wanted}
    for name in given:
        if name not in known:
            raise NotFound.named("argument", name, known)
    values: dict[str, Any] = {}
    inputs: list[str] = []
    for name, argument in known.items():
        if is_table(argument) or _names_dataset(argument, given, data):
            version = data.version(str(given.get(name, name)))
            inputs.append(version.ref)
            values[name] = _as_library(data.frame(version.ref), argument)
        elif name in given:
            values[name] = _convert(argument, given[name])
        elif argument.required:
            raise Invalid(
                f"Argument {name!r} of the pipeline is missing.", about="argument", hint=f"Give {name}=VALUE."
            )
    return values, inputs


def is_table(argument: Argument) -> bool:
    """Return whether an argument is annotated as a frame."""
    kind = argument.type
    module = getattr(kind, "__module__", "") or ""
    return module.partition(".")[0] in TABLES and getattr(kind, "__name__", "") in {"DataFrame", "LazyFrame"}


def _names_dataset(argument: Argument, given: Mapping[str, Any], data: DataService) -> bool:
    """Return whether an argument without an annotation is called like a dataset, or is given a reference of one."""
    if argument.type is not Any:
        return False
    text = given.get(argument.name, argument.name if argument.required else "")
    name = str(text).removeprefix("data:").partition("@")[0]
    return any(dataset.name == name for dataset in data.list())


def _as_library(frame: Any, argument: Argument) -> Any:
    kind = argument.type
    if kind is Any:
        return frame
    if kind.__module__.startswith("pandas"):
        try:
            return frame.to_pandas()
        except ModuleNotFoundError as error:
            raise Invalid(
                f"Argument {argument.name!r} is a pandas frame, which needs {error.name!r}.",
                about="argument",
                hint="Run: pip install pandas pyarrow; or annotate it as polars.DataFrame.",
            ) from None
    return frame.lazy() if kind.__name__ == "LazyFrame" else frame


def _convert(argument: Argument, value: Any) -> Any:
    if argument.type is Any:
        return value
    try:
        if argument.type is bool and isinstance(value, str):
            return {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[value.lower()]
        if isinstance(value, str) and argument.type not in {str, int, float, bool}:
            value = msgspec.json.decode(value)
        return msgspec.convert(value, argument.type, strict=False)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        kind = getattr(argument.type, "__name__", str(argument.type))
        raise Invalid(f"Argument {argument.name!r} is no {kind}: {value!r}.", about="argument") from error
