"""The gate `leakage`: no input knows the answer in a way that it will not in use.

The rules, each with the figures of its finding:

- one input alone predicts the label (AUC 0.98 fails, 0.90 warns); of more classes, any class; of values, any quarter;
- an input is filled only where the label is one of them, as if it were written afterwards;
- the target or the id column is an input; another input is an id (all values differ) or numbers the rows;
- ids of the training rows are among the evaluation rows, so the model is judged on people it has seen;
- the score is too good to be true, the more so when a two-class model is as good on new rows as on old ones.

What needs the code of the pipeline (a transformer fitted before the split) or time stamps is not looked for here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.audit.evidence import GateResult, labels_of, rows_text, truth_of
from interlock.audit.gates.figures import figure_of, kind_of
from interlock.audit.gates.groups import groups_of
from interlock.audit.gates.strength import is_valued, sample, strengths
from interlock.core.errors import Finding
from interlock.registry.measures.intervals import CONFIDENCE
from interlock.registry.measures.two_classes import measure

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.audit.evidence import Evidence
    from interlock.audit.policy import Policy

WARN: Final = 0.90
FAIL: Final = 0.98
TOO_GOOD: Final = 0.99
_SAME: Final = 0.005
_LEAST_ROWS: Final = 30
_LEAST_EXPECTED: Final = 10.0  # so many rows of the other label expected and none seen: less than 1 in 20,000
_ID_SHARE: Final = 0.99
_DENSE: Final = 20  # independent values from so many times the rows would repeat in 2 % of them at least


class _Report(msgspec.Struct):
    """What the rules have found so far."""

    findings: list[Finding] = []
    warnings: list[Finding] = []
    facts: dict[str, Any] = {}


class LeakageGate:
    """Applies the leakage rules to the evaluation rows, and to the training rows where they are known."""

    name = "leakage"

    def applies(self, policy: Policy) -> bool:
        """Return whether a policy asks for it: by `leakage`."""
        return policy.leakage

    def run(self, evidence: Evidence, policy: Policy) -> GateResult:
        """Return whether no rule is broken.

        Args:
            evidence: inputs, labels and scores of the evaluation rows (single columns: up to 10,000 of them), and the
                training rows' ids and scores.
            policy: `leakage` and `id` are read.
        """
        if not self.applies(policy):
            return GateResult(self.name, "not applicable", summary="The policy does not ask for it.")
        report = _Report()
        _single_inputs(evidence, report)
        _named_inputs(evidence, policy, report)
        _shared_ids(evidence, policy, report)
        _too_good(evidence, report)
        best = max(report.facts["inputs"], key=lambda fact: fact["auc"] or 0.0, default=None)
        shown = f"{best['input']} alone has an AUC of {best['auc'] or 0.5:.3f}" if best else "no input was judged"
        return GateResult(
            gate=self.name,
            status="failed" if report.findings else "passed",
            findings=tuple(report.findings),
            warnings=tuple(report.warnings),
            facts={"confidence": CONFIDENCE, "warn": WARN, "fail": FAIL, **report.facts},
            summary=f"The strongest input {shown}; {report.facts['ids']['told']}.",
        )


def _single_inputs(evidence: Evidence, report: _Report) -> None:
    rows = sample(evidence.evaluation)
    names, labels = _labels(evidence, rows)
    facts = []
    for column in evidence.bundle.inputs:
        series = rows[column.name]
        every = strengths(series, labels, len(names))
        if len(names) == 2:
            every = every[1:]  # the first class is told exactly as well
        best = max(every, key=lambda strength: strength.auc, default=None)
        auc = best.auc if best else None
        facts.append(
            {
                "input": column.name,
                "auc": auc,
                "low": best.low if best else None,
                "high": best.high if best else None,
                "empty": series.null_count(),
                "distinct": series.n_unique(),
            }
        )
        if best is not None and best.auc >= WARN:
            what = "" if len(names) == 2 else f" {names[best.group]}"
            told = (
                f"Input {column.name} alone predicts the label{what} with an AUC of {best.auc:.3f} ({CONFIDENCE:.0%} "
                f"interval {best.low:.3f} to {best.high:.3f}, {rows_text(rows.height)}); {WARN:g} warns, "
                f"{FAIL:g} fails."
            )
            target = report.findings if best.auc >= FAIL else report.warnings
            target.append(Finding("single_input", told, column.name, count=rows.height))
        _emptiness(series, names, labels, report)
        _numbering(evidence.evaluation[column.name], report)
    report.facts["rows"] = rows.height
    report.facts["inputs"] = facts


def _labels(evidence: Evidence, rows: pl.DataFrame) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of the labels and the place of each row's: the classes, or the quarters of a value."""
    bundle = evidence.bundle
    if kind_of(evidence) == "values":
        return groups_of(rows[bundle.target])
    names = ["0", "1"] if len(bundle.classes) == 2 else [str(label) for label in bundle.classes]
    return names, truth_of(bundle, rows).astype("int64")


def _emptiness(series: pl.Series, names: list[str], labels: NDArray[np.int64], report: _Report) -> None:
    """Look for an input that is filled, or empty, for one of the labels only."""
    filled = series.is_not_null().to_numpy()
    for inside, word in ((filled, "filled"), (~filled, "empty")):
        here = labels[inside]
        if here.size < _LEAST_ROWS or here.size == labels.size:
            continue
        label = int(here[0])
        base = float((labels == label).mean())
        expected = here.size * (1 - base)  # of other labels
        if (here == label).all() and expected >= _LEAST_EXPECTED:
            told = (
                f"Input {series.name} is {word} in {rows_text(here.size)}, and all of them have the label "
                f"{names[label]} (of all rows {base:.1%} have it)."
            )
            # Empty for one label only is often how a form is built (no job title without a job); filled only for one
            # label is how a column looks that somebody fills in when the answer is known.
            target = report.findings if word == "filled" else report.warnings
            target.append(Finding("emptiness", told, series.name, count=int(here.size)))


def _numbering(series: pl.Series, report: _Report) -> None:
    """Look for an input that names or numbers the rows."""
    import polars as pl

    values = series.drop_nulls()
    if is_valued(series) and series.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return
    if series.dtype.is_float() or len(values) < 2 * _LEAST_ROWS:
        return
    distinct = values.n_unique()
    if distinct < _ID_SHARE * len(values):
        return
    if series.dtype.is_integer():
        reach = int(values.max()) - int(values.min()) + 1  # type: ignore[arg-type]  # integers, and not empty
        if reach > _DENSE * len(values):
            return  # all different because they are spread wide, as amounts of money are
    told = f"Input {series.name} has {distinct:,} values in {rows_text(len(values))}: it names rows."
    report.warnings.append(Finding("numbering", told, series.name, count=len(values)))


def _named_inputs(evidence: Evidence, policy: Policy, report: _Report) -> None:
    inputs = {column.name for column in evidence.bundle.inputs}
    for name, what in ((evidence.bundle.target, "target"), (policy.id, "id column")):
        if name in inputs:
            report.findings.append(Finding("named_input", f"Input {name} is the {what}.", name))


def _shared_ids(evidence: Evidence, policy: Policy, report: _Report) -> None:
    import polars as pl

    training, name = evidence.training, policy.id
    frames = [evidence.evaluation] if training is None else [evidence.evaluation, training]
    fact: dict[str, Any] = {"column": name, "shared": None, "training_rows": 0 if training is None else training.height}
    if training is None or not name or any(name not in frame.columns for frame in frames):
        why = "the training rows are not at hand" if training is None else f"both need the id column {name!r}"
        fact["told"] = f"shared ids were not looked for: {why}"
        if name:  # with people named in the data, judging a model on people it has seen is the first suspicion
            told = (
                f"whether evaluation rows were trained on could not be tested: {why}; "
                "give training=... to run.model, or to a pipeline's Model, with it"
            )
            report.findings.append(Finding("not_tested", told, name))
        else:
            report.warnings.append(
                Finding("not_tested", f"Whether both sets share people was not tested: {why}.", name)
            )
    else:
        known = training[name].cast(pl.String).drop_nulls().unique()
        seen = evidence.evaluation[name].cast(pl.String).is_in(known.implode()).fill_null(value=False)
        shared = int(seen.sum())
        fact |= {"shared": shared, "told": f"{shared:,} evaluation rows have an id of the training rows"}
        if shared:
            told = (
                f"{shared:,} of {rows_text(evidence.evaluation.height)} for evaluation have a {name} that is also "
                f"among the {rows_text(training.height)} for training."
            )
            first = tuple(seen.arg_true().head(10).to_list())
            report.findings.append(Finding("shared_ids", told, name, first, shared))
    report.facts["ids"] = fact


def _too_good(evidence: Evidence, report: _Report) -> None:
    name = "r2" if kind_of(evidence) == "values" else "roc_auc"
    figure = figure_of(name, evidence)
    fact: dict[str, Any] = {"evaluation": figure.value if figure else None, "training": None, "limit": TOO_GOOD}
    training, scores = evidence.training, evidence.training_scores
    if training is not None and scores is not None and evidence.bundle.target in training.columns:
        known = measure("roc_auc", labels_of(evidence.bundle, training), scores)
        fact["training"] = known.value if known else None
    report.facts[name] = fact
    if figure is None or figure.value <= TOO_GOOD:
        return
    word = "R2" if name == "r2" else "AUC"
    told = f"The model's {word} is {figure.value:.4f} on {rows_text(len(evidence.truth))} that it has not seen"
    if fact["training"] is not None and abs(fact["training"] - figure.value) < _SAME:
        told += f", as on those that it has ({fact['training']:.4f})"
    told += f"; above {TOO_GOOD:g} is rarely true."
    report.warnings.append(Finding("too_good", told, count=len(evidence.truth)))
