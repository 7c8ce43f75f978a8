"""From a fitted estimator to a bundle: files that serve it, rows to judge it on, and proof that both forms agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.bundles import Agreement, Bundle, Golden
from interlock.core.canonical import digest
from interlock.core.errors import Finding, Invalid, NotFound
from interlock.core.plugins import load_all
from interlock.registry.flavors.frames import drawn, for_estimator, matrix, select
from interlock.registry.flavors.further import further_forms
from interlock.registry.flavors.ranges import answers_of, ranges_of
from interlock.registry.flavors.scoring import THRESHOLD, score_table
from interlock.registry.flavors.twins import RECORD_FILE, Twin, judge, spread_of, versions_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.ports import Flavor

    _Pair = tuple[NDArray[np.float64], NDArray[np.float64]]
    _Known = tuple[pl.DataFrame, NDArray[np.float64]]

GROUP: Final = "interlock.flavor"
TOLERANCE: Final = 1e-4
GOLDEN_ROWS: Final = 10


def build_bundle(
    estimator: object, *, inputs: pl.DataFrame, target: str, evaluation: pl.DataFrame, folder: Path
) -> Bundle:
    """Return the record of the bundle that was written into a folder.

    The serving form is compared with the original on every evaluation row and on up to 2,000 training rows; one that
    disagrees is not kept. So are further forms (coefficients, a booster's own file): each is named in `engines` where
    it agrees, and left out where it does not. The same estimator and frames give the same bytes again.

    Args:
        estimator: a fitted classifier or regressor.
        inputs: the training rows' inputs, as the estimator saw them; columns that it does not take are left out.
        target: the column that it predicts.
        evaluation: held-out rows with the inputs, the target, and what gates need besides (id, sensitive columns).
        folder: where to write; made if it is not there.

    Raises:
        NotFound: no flavor knows the estimator.
        Invalid: rows or columns are missing, or the ONNX form disagrees with the original; findings name rows.

    Cost: scores the compared rows twice.
    """
    _check_frames(inputs, target, evaluation)
    flavor = _flavor_of(estimator)
    folder.mkdir(parents=True, exist_ok=True)
    facts = flavor.save(estimator, inputs, folder)
    bundle = _draft(flavor.name, facts, target)
    _check_labels(bundle, evaluation)
    columns = [column.name for column in bundle.inputs]
    rows = {"evaluation": select(evaluation, columns), "training": select(inputs, columns)[drawn(inputs.height)]}
    serving = (folder / bundle.files["serving"]).read_bytes()
    truth = {place: original_table(estimator, frame, bundle, flavor) for place, frame in rows.items()}
    pairs = {place: (truth[place], _as_told(bundle, score_table(bundle, serving, rows[place]))) for place in rows}
    spread = _spread(bundle, truth)
    try:
        _refuse_disagreement(pairs, spread)
    except Invalid:
        for path in facts["files"].values():
            (folder / path).unlink(missing_ok=True)
        raise
    bundle = msgspec.structs.replace(bundle, agreement=_agreement(bundle, pairs, spread))
    known = {place: (rows[place], truth[place]) for place in rows}
    bundle = _with_further_forms(estimator, bundle, folder, inputs, known)
    bundle = _with_ranges(bundle, inputs, truth, evaluation)
    evaluation.write_parquet(folder / bundle.files["evaluation"])
    _write(folder / RECORD_FILE, _record(estimator, bundle, pairs, serving))
    golden = golden_requests(bundle, rows["evaluation"], _scores(bundle, truth["evaluation"]))
    _write(folder / bundle.files["golden"], msgspec.structs.replace(golden, tolerance=TOLERANCE * spread))
    _write(folder / "bundle.json", bundle)
    return bundle


def _with_ranges(
    bundle: Bundle, inputs: pl.DataFrame, truth: Mapping[str, NDArray[np.float64]], evaluation: pl.DataFrame
) -> Bundle:
    """Return the record with what training saw of the inputs, and of a regression's values."""
    import polars as pl

    values = () if bundle.classes else (*truth.values(), evaluation[bundle.target].cast(pl.Float64).to_numpy())
    return msgspec.structs.replace(bundle, ranges=ranges_of(bundle.inputs, inputs), answers=answers_of(values))


def _draft(flavor: str, facts: Mapping[str, Any], target: str) -> Bundle:
    """Return a bundle's record before its two forms were compared."""
    return Bundle(
        flavor=flavor,
        task="classification" if facts["classes"] else "regression",
        inputs=tuple(facts["inputs"]),
        target=target,
        classes=tuple(facts["classes"]),
        files={**facts["files"], "golden": "golden.json", "evaluation": "evaluation.parquet", "twin": RECORD_FILE},
        agreement=Agreement(0, 0.0, TOLERANCE, 0),
        layout=facts["layout"],
    )


def _with_further_forms(
    estimator: object, bundle: Bundle, folder: Path, inputs: pl.DataFrame, known: Mapping[str, _Known]
) -> Bundle:
    """Return the record with the forms that agree; their files are written."""
    spread = _spread(bundle, {place: truth for place, (_, truth) in known.items()})
    files, engines = dict(bundle.files), dict(bundle.engines)
    for role, (name, content, answers) in further_forms(estimator, bundle, folder, inputs).items():
        pairs = {place: (truth, _as_told(bundle, answers(rows))) for place, (rows, truth) in known.items()}
        found = _agreement(bundle, pairs, spread)
        files.pop(role, None)
        if found.max_difference <= TOLERANCE:
            (folder / name).write_bytes(content)
            files[role], engines[role] = name, found
    return msgspec.structs.replace(bundle, files=files, engines=engines)


def original_scores(estimator: Any, frame: pl.DataFrame, flavor: Flavor | None = None) -> NDArray[np.float64]:
    """Return what the original gives for each row: the probability of its last class, float64 (rows,).

    Args:
        estimator: the original.
        frame: rows of its inputs, in its order.
        flavor: who knows the estimator; one that has `answers` is asked, others are asked as scikit-learn is.
    """
    import numpy as np

    if not frame.height:
        return np.empty(0)
    if (answers := getattr(flavor, "answers", None)) is not None:
        return np.asarray(answers(estimator, matrix(frame)), dtype=np.float64)[:, -1]
    return np.asarray(estimator.predict_proba(for_estimator(estimator, frame)), dtype=np.float64)[:, -1]


def original_table(estimator: Any, frame: pl.DataFrame, bundle: Bundle, flavor: Flavor) -> NDArray[np.float64]:
    """Return what the original gives for each row, float64 (rows, answers).

    That is the probability of its last class where it has two, one a class where it has more, or a value.

    Args:
        estimator: the original.
        frame: rows of its inputs, in its order.
        bundle: what it is.
        flavor: who knows the estimator.
    """
    import numpy as np

    if len(bundle.classes) == 2:
        return original_scores(estimator, frame, flavor).reshape(-1, 1)
    if not frame.height:
        return np.empty((0, max(len(bundle.classes), 1)))
    if (answers := getattr(flavor, "answers", None)) is not None:
        found = answers(estimator, matrix(frame))
    else:
        ask = estimator.predict_proba if bundle.classes else estimator.predict
        found = ask(for_estimator(estimator, frame))
    return np.asarray(found, dtype=np.float64).reshape(frame.height, -1)


def _as_told(bundle: Bundle, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return answers in the form of `original_table`."""
    return table[:, -1:] if len(bundle.classes) == 2 else table


def _scores(bundle: Bundle, table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one score a row, as `Bundle.task` says."""
    found: NDArray[np.float64] = table.max(axis=1) if len(bundle.classes) > 2 else table[:, 0]
    return found


def _spread(bundle: Bundle, truth: Mapping[str, NDArray[np.float64]]) -> float:
    """Return what differences are measured by: 1 for probabilities, the standard deviation of values."""
    import numpy as np

    return 1.0 if bundle.classes else spread_of(np.concatenate(list(truth.values())))


def golden_requests(bundle: Bundle, frame: pl.DataFrame, scores: NDArray[np.float64]) -> Golden:
    """Return up to ten rows with their scores, spread from the lowest score to the highest.

    Args:
        bundle: the record, for its inputs.
        frame: rows with the inputs.
        scores: the original's score of each row, (rows,).

    Raises:
        Invalid: every row lacks a value that only a `float` column may lack.
    """
    import numpy as np
    import polars as pl

    servable = []
    for c in bundle.inputs:  # what the data plane takes: a value, and where training lacked some, none
        known = pl.col(c.name).cast(pl.Float64).is_finite() if c.type == "float" else pl.col(c.name).is_not_null()
        lacks = pl.col(c.name).cast(pl.Float64).fill_nan(None).is_null() if c.type == "float" else pl.lit(value=False)
        servable.append(known.fill_null(value=False) | lacks if c.nulls is not False else known.fill_null(value=False))
    usable = np.flatnonzero(frame.select(pl.all_horizontal(servable)).to_series().to_numpy())
    if not usable.size:
        raise Invalid(
            "Every evaluation row lacks a text, so no golden request can be made.",
            about="frame",
            hint="Fill empty texts with a word of their own before fit.",
        )
    order = usable[np.argsort(scores[usable], kind="stable")]
    picks = order[np.unique(np.linspace(0, len(order) - 1, GOLDEN_ROWS).round().astype(int))]
    return Golden(rows=frame[picks.tolist()].to_dicts(), scores=scores[picks].tolist(), tolerance=TOLERANCE)


def _flavor_of(estimator: object) -> Flavor:
    found = {name: flavor() if isinstance(flavor, type) else flavor for name, flavor in load_all(GROUP).items()}
    for flavor in found.values():
        if flavor.recognise(estimator):
            return flavor  # type: ignore[no-any-return]  # entry points are untyped
    kind = f"{type(estimator).__module__.partition('.')[0]}.{type(estimator).__name__}"
    raise NotFound.named(
        "flavor",
        kind,
        hint=f"Flavors here: {', '.join(found) or 'none'}. Another one is a class with `recognise` and `save`, named "
        f"under the entry point group {GROUP}; see `interlock plugins`.",
    )


def _check_frames(inputs: pl.DataFrame, target: str, evaluation: pl.DataFrame) -> None:
    if target in inputs.columns:
        raise Invalid(
            f"The target {target!r} is among the inputs.", about="frame", hint="Drop it from the inputs before fit."
        )
    if not inputs.width or not evaluation.height:
        empty = "inputs have no columns" if not inputs.width else "evaluation has no rows"
        raise Invalid(f"The {empty}.", about="frame", hint="Hold out rows that the model did not see.")
    if target not in evaluation.columns:
        raise Invalid(
            f"The evaluation rows lack the target {target!r}.", about="frame", hint="Keep it beside the inputs there."
        )


def _check_labels(bundle: Bundle, evaluation: pl.DataFrame) -> None:
    import polars as pl

    given = evaluation[bundle.target]
    if not bundle.classes:
        wrong = ~given.cast(pl.Float64, strict=False).is_finite().fill_null(value=False)
        wanted = "a number"
    elif isinstance(bundle.classes[0], str):
        wrong = (~given.cast(pl.String).is_in(bundle.classes)).fill_null(value=True)
        wanted = " or ".join(map(str, bundle.classes))
    else:
        labels = given.cast(pl.Float64, strict=False)
        wrong = (~labels.is_in([float(label) for label in bundle.classes])).fill_null(value=True)
        wanted = " or ".join(map(str, bundle.classes))
    if wrong.any():
        first = tuple(wrong.arg_true().head(5).to_list())
        raise Invalid(
            f"{wrong.sum()} evaluation rows have no label of the model in {bundle.target!r} ({wanted} is wanted).",
            about="frame",
            hint="Leave rows without a label out.",
            findings=[Finding("label", "These rows have no usable label.", bundle.target, first, int(wrong.sum()))],
        )


def _refuse_disagreement(pairs: Mapping[str, _Pair], spread: float) -> None:
    import numpy as np

    findings = []
    for place, (truth, answers) in pairs.items():
        gap = _gaps(truth, answers, spread)
        rows = np.flatnonzero(gap > TOLERANCE)
        if rows.size:
            worst = rows[np.argsort(-gap[rows], kind="stable")][:10]
            column = int(np.nan_to_num(np.abs(truth[worst[0]] - answers[worst[0]]), nan=np.inf).argmax())
            seen = f"{truth[worst[0], column]:.6f} in the original, {answers[worst[0], column]:.6f} in ONNX"
            message = (
                f"{rows.size} of {gap.size} {place} rows differ by more than {TOLERANCE * spread:g}, at most by "
                f"{gap.max() * spread:.3g} (row {worst[0]}: {seen})."
            )
            findings.append(Finding("agreement", message, rows=tuple(worst.tolist()), count=int(rows.size)))
    if findings:
        raise Invalid(
            f"The ONNX form disagrees with the original. {findings[0].message}",
            about="bundle",
            hint="ONNX calculates in 32 bits: fit on Float32 columns, leave scaling out in front of trees, and fill "
            "empty texts before the model.",
            findings=findings,
        )


def _gaps(truth: NDArray[np.float64], answers: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    """Return how far each row's answers are apart at most; infinitely where one is no number or another shape."""
    import numpy as np

    if truth.shape != answers.shape:
        return np.full(len(truth), np.inf)
    found: NDArray[np.float64] = np.nan_to_num(np.abs(truth - answers) / spread, nan=np.inf).max(axis=1)
    return found


def _agreement(bundle: Bundle, pairs: Mapping[str, _Pair], spread: float) -> Agreement:
    import numpy as np

    gaps = np.concatenate([_gaps(truth, answers, spread) for truth, answers in pairs.values()])
    flips = 0
    for truth, answers in pairs.values():
        if bundle.classes and truth.shape == answers.shape:
            flips += int((_chosen(truth) != _chosen(answers)).sum())
    worst = float(min(gaps.max(), 1e308)) if gaps.size else 0.0
    return Agreement(rows=int(gaps.size), max_difference=worst, tolerance=TOLERANCE, label_flips=flips)


def _chosen(table: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of the class that each row of probabilities chooses."""
    import numpy as np

    if table.shape[1] == 1:
        return (table[:, 0] > THRESHOLD).astype(np.int64)
    return np.asarray(table.argmax(axis=1), dtype=np.int64)


def _record(estimator: object, bundle: Bundle, pairs: Mapping[str, _Pair], serving: bytes) -> Twin:
    """Return the record of a bundle's two forms, as every twin has one."""
    import numpy as np

    truth, answers = (np.concatenate(parts) for parts in zip(*pairs.values(), strict=True))
    labels = (bundle.classes, [bundle.classes[i] for i in _chosen(answers)]) if bundle.classes else None
    if len(bundle.classes) == 2:
        truth, answers = (np.column_stack([1 - positive, positive]) for positive in (truth, answers))
    twin = judge(truth, answers, labels)
    rows = {place: len(found) for place, (found, _) in pairs.items()}
    return msgspec.structs.replace(
        twin,
        compared=rows,
        versions=versions_of(estimator),
        digest=digest(serving),
        inputs=bundle.inputs,
        classes=bundle.classes,
    )


def _write(path: Path, record: msgspec.Struct) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
