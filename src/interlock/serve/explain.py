"""Explanations of single predictions: what each column adds to the raw answer, and what the answer begins with.

The shares and the base add up to the raw answer: log-odds of a classifier of two classes, of more the logit of the
class (of which softmax makes probabilities), the value of a regression (its logarithm where the model has a logarithmic
link), the probability of a forest. They are exact for linear models (coefficient
times distance from the mean in training, or from 0 where no mean is recorded) and for trees (TreeSHAP); other models
are refused. The protocol is `POST /explain` with the body of `/invocations`, at most 100 rows;
`?model=NAME` says which model, where the server has several.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary

import msgspec

from interlock.core.errors import Denied, Invalid, MissingExtra
from interlock.serve.columns import InputColumns
from interlock.serve.engines.booster import LightgbmRunner, XgboostRunner, open_booster, try_apart
from interlock.serve.engines.worker import RowsRefused, WorkerRunner
from interlock.serve.http import UNREADABLE, Endpoint, Request, Response, to_json, unreadable
from interlock.serve.literals import without_nan
from interlock.serve.loading import worker
from interlock.serve.metadata import SUBJECT, subjects
from interlock.serve.openapi_rows import explained
from interlock.serve.records import by_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from interlock.core.bundles import Linear
    from interlock.serve.columns import Columns, Value
    from interlock.serve.engine import Engine
    from interlock.serve.engines.port import Feeds
    from interlock.serve.model import LoadedModel

MOST_ROWS: Final = 100
_TREES: Final = "TreeSHAP"
_TREE_NODE: Final = b"TreeEnsemble"  # how graphs of ONNX call what answers by trees
_LINEAR_NODES: Final = (b"LinearClassifier", b"LinearRegressor")
_INTERCEPT: Final = "zeros behind the encoders"
_FORM: Final = "Send one of dataframe_records, dataframe_split, instances and inputs, as to /invocations."
_LOG_ODDS: Final = frozenset({"binary:logistic", "binary"})
_LOGITS: Final = frozenset({"multi:softprob", "multi:softmax", "multiclass"})
_TRAINING: Final = "the mean of training rows"
_EXAMPLE: Final = "the mean of the example rows that were logged with the model"
_LOGARITHMS: Final = frozenset({"count:poisson", "reg:gamma", "reg:tweedie", "poisson", "gamma", "tweedie"})


class RowExplanation(msgspec.Struct, frozen=True):
    """Why one row has its answer.

    Attributes:
        score: the score that is served for it; see `Bundle.task`.
        label: the class that it gets, None of a regression.
        base_value: what the raw answer begins with.
        contributions: what each column adds.
        raw: the raw answer, which base and contributions add up to.
    """

    score: float
    label: int | str | None
    base_value: float
    contributions: dict[str, float]
    raw: float


class Explanation(msgspec.Struct, frozen=True):
    """Why some rows have their answers.

    Attributes:
        method: `linear` or `TreeSHAP`; both are exact.
        scale: what is added up: `value`, `log of the value`, `log-odds`, `logit` (of one of more than two classes) or
            `probability`.
        relative_to: which answer the base is: `the mean of training rows`, `the mean of the example rows that were
            logged with the model`, `a row of zeros`, or `zeros behind the encoders`: means of standardised columns, no
            category of encoded ones.
        rows: one a row. Of more than two classes the one that the row gets is explained.
    """

    method: str
    scale: str
    relative_to: str
    rows: list[RowExplanation]


class _Source(Protocol):
    """What finds shares; any thread may ask."""

    inputs: InputColumns
    method: str
    relative_to: str

    def shares(self, feeds: Feeds) -> tuple[NDArray[np.float64], str]:
        """Return the shares of rows, (rows, sums, columns + 1), the last column being the base; and their scale."""
        ...


class _LinearSource:
    method = "linear"

    def __init__(self, model: LoadedModel, form: Linear) -> None:
        import numpy as np

        self.inputs = InputColumns(model.bundle, (("inputs", "tensor(double)"),))
        scales = {"identity": "value", "exp": "log of the value", "softmax": "logit"}
        self._scale = scales.get(form.link, "log-odds")
        seen = _TRAINING if model.parts.source == "training" else _EXAMPLE
        self.relative_to = seen if form.means else "a row of zeros"
        self._weights = np.array(form.coefficients)
        self._means = np.array(form.means or [0.0] * len(form.columns))
        self._base = np.array(form.intercepts) + self._weights @ self._means

    def shares(self, feeds: Feeds) -> tuple[NDArray[np.float64], str]:
        import numpy as np

        rows: NDArray[Any] = feeds["inputs"]
        shares = (rows - self._means)[:, None, :] * self._weights[None, :, :]
        base = np.broadcast_to(self._base[None, :, None], (*shares.shape[:2], 1))
        return np.concatenate([shares, base], axis=2), self._scale


class _BoosterSource:
    method = _TREES
    relative_to = _TRAINING

    def __init__(self, model: LoadedModel, runner: XgboostRunner | LightgbmRunner) -> None:
        self.inputs = InputColumns(model.bundle, runner.inputs)
        logs = "log of the value" if runner.objective in _LOGARITHMS else "value"
        self._scale = "log-odds" if runner.objective in _LOG_ODDS else "logit" if runner.objective in _LOGITS else logs
        self._runner = runner

    def shares(self, feeds: Feeds) -> tuple[NDArray[np.float64], str]:
        return self._runner.contributions(feeds["inputs"]), self._scale


class _WorkerSource:
    def __init__(self, model: LoadedModel, runner: WorkerRunner, *, linear: bool = False) -> None:
        self.method, self.relative_to = ("linear", _INTERCEPT) if linear else (_TREES, _TRAINING)
        self.inputs = InputColumns(model.bundle, runner.inputs)
        self._runner = runner
        self._classes = len(model.bundle.classes)

    def shares(self, feeds: Feeds) -> tuple[NDArray[np.float64], str]:
        try:
            found = self._runner.contributions(feeds)
        except RowsRefused as error:
            missing = MissingExtra.named("explain", "shap")
            if missing.message in str(error):  # the process of the original said so
                raise missing from None
            raise Invalid(f"The original cannot be explained: {error}", about="model") from None
        if not self._classes:
            return found, "value"
        if self.method == "linear":
            return found, "log-odds" if found.shape[1] == 1 else "logit"
        # A forest has one sum a class, of probabilities; boosting sums of log-odds or logits.
        shares = found.shape[1] == self._classes and float(abs(found.sum(axis=2)).max()) <= 1.001
        return found, "probability" if shares else "log-odds" if found.shape[1] == 1 else "logit"


_sources: WeakKeyDictionary[LoadedModel, _Source] = WeakKeyDictionary()
_lock: Final = threading.Lock()


def explain(model: LoadedModel, columns: Columns) -> Explanation:
    """Return why a model answers rows as it does.

    Args:
        model: the loaded model.
        columns: one list of values a column.

    Raises:
        Invalid: the rows are not the model's, there are more than 100, or the model is neither linear nor of trees.
        Denied: only the original could tell, which the policy does not allow.
        MissingExtra: the booster's library, or shap, is not installed.

    Cost: a linear model 50 us; the first one of another model starts its library or process, 0.5-4 s; then 1-10 ms.
    """
    with _lock:
        source = _sources.get(model)
        if source is None:
            _sources[model] = source = _source(model)
    prepared = model.prepare(columns)
    if prepared.rows > MOST_ROWS:
        raise Invalid(f"There are {prepared.rows} rows.", hint=f"Send at most {MOST_ROWS} at a time.")
    answers = model.run(prepared)
    shares, scale = source.shares(source.inputs.prepare(columns).feeds)
    classes, names = list(model.bundle.classes), model.inputs.names
    rows = []
    for score, label, sums in zip(answers.scores, answers.labels, shares.tolist(), strict=True):
        # Two classes have one sum, or one each; then the positive one's is told, whose probability is the score.
        chosen = classes.index(label) if len(sums) > 1 and len(classes) > 2 else len(sums) - 1
        *each, base = sums[chosen]
        total = math.fsum([*each, base])
        rows.append(RowExplanation(score, label, base, dict(zip(names, each, strict=True)), total))
    return Explanation(source.method, scale, source.relative_to, rows)


def _source(model: LoadedModel) -> _Source:
    parts = model.parts
    if parts.linear is not None:
        return _LinearSource(model, parts.linear)
    if isinstance(model.engine, XgboostRunner | LightgbmRunner):
        return _BoosterSource(model, model.engine)
    if isinstance(model.engine, WorkerRunner):
        return _WorkerSource(model, model.engine)
    files = model.bundle.files
    if parts.read is not None and "booster" in files:
        data = parts.read("booster")
        if parts.foreign or parts.source != "training":
            try_apart(data)  # nobody has looked into it yet
        return _BoosterSource(model, open_booster(data))
    if parts.read is not None and files.get("original", "").endswith(".skops"):
        graph = parts.read("serving") if "serving" in files else b""
        linear = any(node in graph for node in _LINEAR_NODES)
        if graph and not linear and _TREE_NODE not in graph:
            raise Invalid(
                "This model has no explanations: it is neither a linear model nor an ensemble of trees.", about="model"
            )
        try:
            runner = worker(parts.read("original"), model.bundle, code_models=parts.code_models)
            return _WorkerSource(model, runner, linear=linear)
        except Denied as error:
            raise Denied(
                "Only the original could tell why, and the policy of this project does not allow originals.",
                about="model",
                hint=error.hint,
            ) from None
    raise Invalid(
        "This model has no explanations: it is neither linear in its inputs nor are its trees kept beside it.",
        about="model",
        hint="Linear models, boosters in their own format and ensembles of scikit-learn are explained.",
    )


class _Split(msgspec.Struct):
    columns: list[str]
    data: list[list[Any]]


class _Body(msgspec.Struct):
    dataframe_records: list[dict[str, Any]] | None = None
    dataframe_split: _Split | None = None
    instances: list[dict[str, Any]] | None = None
    inputs: dict[str, list[Any]] | None = None


class _Told(msgspec.Struct, frozen=True):
    """The answer to `POST /explain`."""

    model: str
    target: str
    explanation: Explanation


_decoder: Final = msgspec.json.Decoder(_Body)


def explanations(engine: Engine) -> list[Endpoint]:
    """Return the endpoint `POST /explain`.

    Args:
        engine: whose models are asked; `?model=NAME` picks one of its fleet, or one of its routes.
    """

    async def answer(request: Request) -> Response:
        if named := request.asked("model"):
            asked, _, view = engine.named(named)
        else:
            asked = engine.find("")
            view = asked.current().whole
        (subject,) = subjects([request.header(SUBJECT)], 1)
        live = view.routes[view.pick(subject or request.id)]

        def told() -> bytes:
            found = explain(live.model, read_columns(request.body))
            return to_json(_Told(live.route.model, live.model.bundle.target, found))

        asked.answering += 1  # who unloads waits
        try:
            body = await asked.hands.apart(told)
        finally:
            asked.answering -= 1
        return Response(body, model=live.route.model)

    return [Endpoint("POST", "/explain", answer, predicts=True, describe=explained(_Told))]


def read_columns(body: bytes) -> Mapping[str, Sequence[Value]]:
    """Return the columns of a JSON body in one of the forms of `/invocations`.

    Raises:
        Invalid: it is none.
    """
    try:
        found = _decoder.decode(body)
    except UNREADABLE as error:
        if (plain := without_nan(body)) != body:
            return read_columns(plain)
        raise unreadable(error, body, hint=_FORM) from None
    given = [form for form in (found.dataframe_records, found.instances) if form is not None]
    split, inputs = found.dataframe_split, found.inputs
    if len(given) + (split is not None) + (inputs is not None) != 1:
        raise Invalid("The body has no data, or several.", hint=_FORM)
    if inputs is not None:
        return inputs
    if split is not None:
        if any(len(row) != len(split.columns) for row in split.data) or len({*split.columns}) != len(split.columns):
            raise Invalid("The rows of dataframe_split do not have its columns.", hint=_FORM)
        return {name: [row[place] for row in split.data] for place, name in enumerate(split.columns)}
    return by_column(given[0])
