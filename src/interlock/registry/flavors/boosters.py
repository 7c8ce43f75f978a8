"""What the flavors of boosters have in common: columns by name, files in a folder, facts about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.core.errors import Invalid
from interlock.registry.flavors.frames import columns_of, names_in, select
from interlock.registry.flavors.sklearn import classes_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl


def save_booster(
    estimator: Any, sample: pl.DataFrame, folder: Path, files: Mapping[str, bytes], original: str
) -> Mapping[str, Any]:
    """Return facts about a booster whose files are in a folder now; see `Sklearn.save`.

    Args:
        estimator: the fitted estimator.
        sample: rows of its inputs.
        folder: an existing folder.
        files: the bytes of `serving` and `original`.
        original: the file name of the original.

    Raises:
        Invalid: an input is text.
    """
    names = names_in(estimator, sample.columns)
    frame = sample if names is None else select(sample, names)
    width = int(getattr(estimator, "n_features_in_", frame.width))
    if frame.width != width:
        raise Invalid(
            f"The estimator was fitted on {width} columns, the frame has {frame.width}.",
            about="frame",
            hint="Give the inputs that it was fitted on, in their order.",
        )
    columns = columns_of(frame)
    if texts := [column.name for column in columns if column.type == "string"]:
        raise Invalid(
            f"Column {texts[0]!r} holds text, which a booster splits by itself.",
            about="frame",
            hint="Encode it before the model.",
        )
    (folder / "model.onnx").write_bytes(files["serving"])
    (folder / original).write_bytes(files["original"])
    return {
        "classes": classes_of(estimator),
        "inputs": columns,
        "layout": "matrix",
        "files": {"serving": "model.onnx", "original": original, "booster": original},
        "untrusted": (),
    }
