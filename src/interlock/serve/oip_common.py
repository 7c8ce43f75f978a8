"""What the Open Inference Protocol means here, whichever way it comes: as JSON over REST or as messages over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid, NotFound
from interlock.serve.engine import Ask
from interlock.serve.every_class import PROBABILITIES, classes_of, named
from interlock.serve.metadata import REQUEST_ID, SUBJECTS, WHEN, instants, meant, subjects
from interlock.serve.records import order_of
from interlock.serve.tensors import TensorOut, misshapen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from interlock.serve.columns import Value
    from interlock.serve.engine import Answer, Engine
    from interlock.serve.revision import View

PLATFORM: Final = "interlock_onnx"
METADATA: Final = ("subject", "occurred_at")
"""Input tensors that are about the rows, where the model has no input of that name."""

PLACES: Final = {
    SUBJECTS: "Whom rows are about goes as an input tensor 'subject' (BYTES, one text a row),"
    " or as the header Interlock-Subject for all rows.",
    WHEN: "When cases happened goes as an input tensor 'occurred_at' (BYTES, ISO 8601, one a row),"
    " or as the header Interlock-Occurred-At for all rows.",
    REQUEST_ID: "A request's id goes as 'id' of the body, or as the header X-Request-Id.",
}
"""Where each kind of metadata goes."""

_NS: Final = 1_000_000_000
_SHOWN: Final = 60
# Request parameters of the protocol and its extensions: never taken for a slip of the pen.
_PARAMETERS: Final = frozenset(
    {"binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "content_type"}
)


def outputs(view: View) -> list[tuple[str, str]]:
    """Return the tensors of an answer to who asks for none by name, each a name and a datatype."""
    bundle = view.routes[0].model.bundle
    if bundle.task == "regression":
        return [(view.target, "FP64"), ("prediction_id", "BYTES")]
    kind = "BYTES" if isinstance(bundle.classes[0], str) else "INT64"
    return [(view.target, kind), ("probability", "FP64"), ("prediction_id", "BYTES")]


def offered(view: View) -> list[TensorOut]:
    """Return all outputs that may be asked for, as a model's metadata describe them.

    The table of probabilities comes only where it is asked for: it is as wide as there are classes.
    """
    found = [TensorOut(name, kind, [-1]) for name, kind in outputs(view)]
    if classes := classes_of(view):
        found.append(TensorOut(PROBABILITIES, "FP64", [-1, len(classes)], {"classes": named(classes)}))
    return found


def check_parameters(names: Iterable[str]) -> None:
    """Accept a request's parameters: those that nobody knows are ignored, as the protocol wants.

    Raises:
        Invalid: one looks like a subject, an instant or a request id, which have other places.
    """
    for name in names:
        if name not in _PARAMETERS and (key := meant(name)):
            raise Invalid(f"There is no parameter {name[:_SHOWN]!r}.", hint=PLACES[key])


def check_outputs(names: Iterable[str], view: View) -> None:
    """Accept the outputs that a caller asks for.

    Raises:
        Invalid: there is no such output.
    """
    known = [tensor.name for tensor in offered(view)]
    for name in names:
        if name not in known:
            raise Invalid(NotFound.named("output", name, known).message, hint=f"Outputs: {', '.join(known)}.")


def collect(tensors: Iterable[tuple[str, Sequence[int], list[Value]]], view: View) -> Ask:
    """Return the rows of a request; each input is a column, metadata, or a table of all columns.

    A table is what clients make of an array: shape `[rows, columns]`, under any name that is no column's, its columns
    in the model's order. It is taken where all of them are numbers.

    Args:
        tensors: name, shape and elements of each input; the elements of one input are of one type.
        view: the routes that are asked.

    Raises:
        Invalid: an input is there twice, of another length than the first, or nearly metadata; or there are none.
    """
    columns: dict[str, list[Value]] = {}
    about: dict[str, list[Value]] = {}
    rows = -1
    for name, shape, values in tensors:
        if name in columns or name in about:
            raise Invalid(f"Input {name!r} is there twice.")
        table = _spread(name, shape, values, columns, view) if len(shape) > 1 and shape[1] != 1 else None
        if shape[0] != rows:
            if rows >= 0:
                raise Invalid(f"Input {name!r} has {shape[0]} rows, the first input has {rows}.")
            rows = shape[0]
        if table is not None:
            columns |= table
        elif name in view.names:
            columns[name] = values
        elif name in METADATA:
            about[name] = values
        elif key := meant(name):
            raise Invalid(f"There is no input {name[:_SHOWN]!r}.", hint=PLACES[key])
        else:
            columns[name] = values  # the engine refuses it, and says what there is
    if not columns:
        raise Invalid("There are no inputs.", hint=f"Inputs: {', '.join(c.name for c in view.columns[:8])}.")
    return Ask(
        columns,
        rows,
        subjects(about["subject"], rows) if "subject" in about else (),
        instants(about["occurred_at"], rows) if "occurred_at" in about else (),
        extras="refuse",
        even=True,
    )


def _spread(
    name: str, shape: Sequence[int], values: list[Value], given: Mapping[str, object], view: View
) -> dict[str, list[Value]]:
    """Return the columns of a table.

    Raises:
        Invalid: the model takes none, or not this one.
    """
    order, width = order_of(view), shape[1]
    if name in view.names or name in METADATA or meant(name) or not order:
        raise misshapen(name, shape)
    if width != len(order):
        shown = f"{', '.join(order[:8])}{', ...' if len(order) > 8 else ''}"
        raise Invalid(
            f"Input {name[:_SHOWN]!r} has {width} columns, the model takes {len(order)}.",
            hint=f"A table has all columns in this order: {shown}.",
        )
    if given:
        raise Invalid(f"Input {name[:_SHOWN]!r} is a table of all columns, and there are columns beside it.")
    return {column: values[place::width] for place, column in enumerate(order)}


def one_version(answer: Answer) -> str:
    """Return the version that answered, or "" when several did."""
    versions = {live.version for live in answer.routes}
    return versions.pop() if len(versions) == 1 else ""


def index(engine: Engine) -> list[dict[str, Any]]:
    """Return the models that are served, as the repository extension lists them."""
    if engine.fleet is not None:
        return [{key: row[key] for key in ("name", "version", "state", "reason")} for row in engine.fleet.index()]
    return [
        {"name": live.name, "version": live.version, "state": "READY", "reason": ""} for live in engine.current().routes
    ]


def names(engine: Engine) -> list[str]:
    """Return the names that callers may use, versions apart."""
    found = {name for one in engine.all() if one.revision for name, version in one.revision.views if not version}
    return sorted(found | {one.alias for one in engine.all() if one.alias and one.revision})


def statistics(engine: Engine, view: View) -> list[dict[str, Any]]:
    """Return the counters of a view's models, as the statistics extension lists them."""
    listed = []
    for live in view.routes:
        tally = engine.metrics.models[live.route.model]
        success = {"count": tally.requests, "ns": int(tally.busy_s * _NS)}
        listed.append(
            {
                "name": live.name,
                "version": live.version,
                "last_inference": int(tally.last_at * 1000),
                "inference_count": tally.rows,
                "execution_count": tally.requests,
                "inference_stats": {"success": success, "fail": {"count": tally.failures, "ns": 0}},
            }
        )
    return listed
