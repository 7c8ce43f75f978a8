"""Figures and tables as files: whatever library made them, found by what they can do, without importing it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid, MissingExtra
from interlock.train.frames import to_polars

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MATPLOTLIB: Final = ("png", "svg", "pdf")


def figure(drawn: Any, name: str) -> tuple[str, bytes]:
    """Return the path and the bytes of a figure's file.

    Args:
        drawn: a figure or axes of matplotlib or what builds on it, a figure of plotly, a picture of ours, an image of
            Pillow, or anything that notebooks can show.
        name: its name; an ending chooses the format where there are several.

    Raises:
        Invalid: it is nothing that can be drawn.
    """
    stem, _, suffix = name.rpartition(".") if "." in name.rpartition("/")[2] else (name, "", "")
    if callable(getattr(drawn, "standalone", None)):
        return f"{stem}.svg", drawn.standalone().encode()
    if hasattr(getattr(drawn, "figure", None), "savefig"):
        drawn = drawn.figure
    if callable(getattr(drawn, "savefig", None)):
        kind, sink = suffix if suffix in _MATPLOTLIB else "png", io.BytesIO()
        drawn.savefig(sink, format=kind, bbox_inches="tight")
        return f"{stem}.{kind}", sink.getvalue()
    if callable(getattr(drawn, "to_html", None)) and callable(getattr(drawn, "to_plotly_json", None)):
        return f"{stem}.html", drawn.to_html(include_plotlyjs=True).encode()
    if callable(getattr(drawn, "save", None)) and hasattr(drawn, "getbands"):
        sink = io.BytesIO()
        drawn.save(sink, format="PNG")
        return f"{stem}.png", sink.getvalue()
    for method, kind in (("_repr_svg_", "svg"), ("_repr_png_", "png"), ("_repr_html_", "html")):
        shown = getattr(drawn, method, lambda: None)()
        if shown:
            return f"{stem}.{kind}", shown if isinstance(shown, bytes) else shown.encode()
    raise Invalid(
        f"A {type(drawn).__name__} is no figure.",
        about="figure",
        hint="Give a figure of matplotlib or plotly, a picture of interlock, or an image.",
    )


def table(rows: Any, name: str) -> tuple[str, bytes]:
    """Return the path and the bytes of a table's file: Parquet for frames, CSV for plain rows.

    Args:
        rows: a frame, or rows as dicts, or columns by name.
        name: its name; the ending `.csv` or `.parquet` chooses the format.

    Raises:
        Invalid: it is no table.
        MissingExtra: Polars is not installed, which writes Parquet.
    """
    stem, dot, suffix = name.rpartition(".")
    if dot and suffix not in {"csv", "parquet"}:
        stem, suffix = name, ""
    stem = stem or name
    if isinstance(rows, dict):
        rows = _rows(rows)
    if isinstance(rows, list | tuple):
        if suffix != "parquet":
            return f"{stem}.csv", _csv(rows)
        try:
            import polars as pl
        except ModuleNotFoundError:
            raise MissingExtra.named("data", "polars") from None
        frame = pl.DataFrame(rows)
    else:
        frame = to_polars(rows)
    if suffix == "csv":
        return f"{stem}.csv", frame.write_csv().encode()
    sink = io.BytesIO()
    frame.write_parquet(sink, compression="zstd")
    return f"{stem}.parquet", sink.getvalue()


def _rows(columns: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    try:
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    except (TypeError, ValueError):
        raise _no_table("its columns are not of one length") from None


def _csv(rows: Sequence[Any]) -> bytes:
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise _no_table("it has no rows, or rows that are no dicts")
    names = list(dict.fromkeys(name for row in rows for name in row))
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


def _no_table(why: str) -> Invalid:
    return Invalid(f"This is no table: {why}.", about="table", hint="Give a frame, a list of dicts, or lists by name.")
