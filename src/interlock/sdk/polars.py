"""Models in Polars: an expression that answers with the numbers of the model's endpoint.

    frame.with_columns(score=interlock.polars.predict("model:credit@champion"))

It runs in this process, with the model's files from the workspace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from interlock.core.errors import Invalid
from interlock.sdk.scoring import open_model

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import polars as pl

    from interlock.sdk.workspace import Workspace


def predict(
    model: str,
    columns: Mapping[str, str | pl.Expr] | None = None,
    *,
    output: Literal["score", "label"] = "score",
    bad_rows: Literal["fail", "null"] = "fail",
    workspace: Workspace | str | os.PathLike[str] | None = None,
) -> pl.Expr:
    """Return an expression over the model's columns; it streams, and runs in several threads.

    Args:
        model: model:NAME@3, model:NAME@champion, or model:NAME for the newest; looked up now, once.
        columns: what stands for the model's columns that the frame calls otherwise: names or expressions.
        output: `score` is the probability of the positive class (of a regression the value), `label` the class.
        bad_rows: what becomes of rows that the model refuses: the query fails, or they have no answer.
        workspace: an open workspace, a folder or address; None looks as `Workspace.open` does.

    Raises:
        NotFound: there is no such workspace or version.
        Invalid: the model has no such column, or no labels; or there is no such output. In a running query: columns or
            values do not fit; rows are then counted from the beginning of the piece that Polars worked on.
    """
    import polars as pl

    _check(output, ("score", "label"))
    _check(bad_rows, ("fail", "null"))
    table = open_model(model, workspace).table
    bundle = table.model.bundle
    given = dict(columns or {})
    for name in given:
        if name not in table.names:
            raise Invalid(
                f"The model takes no column {name!r}.", about="table", hint=f"It takes {', '.join(table.names)}."
            )
    if output == "label" and not bundle.classes:
        raise Invalid("A regression has no labels.", about="table", hint='Ask for output="score".')
    labels = pl.Series(bundle.classes, strict=False) if output == "label" else None

    def answer(rows: pl.Series) -> pl.Series:
        frame = rows.struct.unnest()
        table.check(frame.schema)
        found = table.score(frame) if bad_rows == "fail" else table.score_sound(frame)
        made = pl.Series(found.scores) if labels is None else labels.gather(pl.Series(found.picked))
        return made if found.bad is None else made.set(pl.Series(found.bad), None)

    dtype = pl.Float64() if labels is None else labels.dtype
    called = bundle.target if output == "label" else output
    return (
        pl.struct(_parts(table.names, given)).map_batches(answer, return_dtype=dtype, is_elementwise=True).alias(called)
    )


def _check(word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise Invalid(f"There is no {word!r} here.", about="table", hint=f"Say one of {', '.join(known)}.")


def _parts(names: Sequence[str], given: Mapping[str, str | pl.Expr]) -> list[pl.Expr]:
    import polars as pl

    wanted = {name: given.get(name, name) for name in names}
    return [(pl.col(part) if isinstance(part, str) else part).alias(name) for name, part in wanted.items()]
