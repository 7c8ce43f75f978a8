"""A model that answers: a bundle from the object store, verified, as an ONNX Runtime session. No code of it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from interlock.core.bundles import Bundle, Golden
from interlock.core.errors import Corrupt, Finding, Invalid, MissingExtra, NotFound, Unavailable
from interlock.serve.blame import Blame
from interlock.serve.columns import Columns, InputColumns, Prepared, refused
from interlock.store.manifests import Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from interlock.core.ports import ObjectStore

T = TypeVar("T")
BUNDLE_FILE: Final = "bundle.json"
_FAR: Final = 0.501  # from the middle of all probabilities, with room for rounding
_FEW: Final = 16
_TIMED_CALLS: Final = 5


class _Node(Protocol):
    name: str
    type: str
    shape: Sequence[int | str | None]


class Session(Protocol):
    """What we use of an ONNX Runtime session. `run` may be called from several threads."""

    def run(self, outputs: list[str], feeds: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        """Return the outputs that were asked for."""
        ...

    def get_inputs(self) -> Sequence[_Node]:
        """Return the graph's inputs."""
        ...

    def get_outputs(self) -> Sequence[_Node]:
        """Return the graph's outputs."""
        ...


class Scores(msgspec.Struct, frozen=True):
    """The answers to some rows: probability of the positive class, and label, one a row."""

    scores: list[float]
    labels: list[int]


class LoadedModel:
    """A bundle in memory.

    Attributes:
        digest: the manifest digest of its bundle.
        bundle: what the model is.
        golden: requests with the scores that training saw.
        load_s: how long loading took.
        call_s: how long one row takes.
    """

    def __init__(self, digest: str, bundle: Bundle, golden: Golden, session: Session) -> None:
        self.digest = digest
        self.bundle = bundle
        self.golden = golden
        self.session = session
        self.load_s = 0.0
        self.call_s = 0.0
        self.inputs = InputColumns(bundle, [(node.name, node.type) for node in session.get_inputs()])
        self._output = [_probabilities(session, len(bundle.classes))]

    @classmethod
    def load(cls, objects: ObjectStore, digest: str) -> LoadedModel:
        """Return the model of a bundle, every byte of it checked.

        Args:
            objects: where the bundle rests.
            digest: the bundle's manifest.

        Raises:
            NotFound: the bundle, or a file of it, is not there.
            Corrupt: it is no bundle, or its bytes have changed.

        Cost: reads three files; a session of a small model takes 1-50 ms.
        """
        began = time.perf_counter()
        manifest = read_manifest(objects, digest)
        bundle = _decode(objects, manifest, BUNDLE_FILE, Bundle)
        golden = _decode(objects, manifest, _part(bundle, "golden"), Golden)
        graph = objects.get(manifest.find(_part(bundle, "serving")).digest)
        model = cls(digest, bundle, golden, open_session(graph))
        model.load_s = time.perf_counter() - began
        model.call_s = model.time_call()
        return model

    def prepare(self, columns: Columns) -> Prepared:
        """Return rows as the graph takes them; see `InputColumns.prepare`."""
        return self.inputs.prepare(columns)

    def scores(self, columns: Columns) -> NDArray[np.float64]:
        """Return the probability of the positive class, one a row.

        Args:
            columns: one list of values a column; further columns are left out.

        Raises:
            Invalid: the model does not take these columns or values.
            Unavailable: the model's answer is no probability.
        """
        import numpy as np

        return np.asarray(self.run(self.prepare(columns)).scores, dtype=np.float64)

    def run(self, prepared: Prepared) -> Scores:
        """Return the answers to rows that `prepare` accepted.

        Raises:
            Invalid: the rows lack numbers that the model cannot do without.
            Unavailable: the model's answer is no probability.
        """
        import numpy as np

        try:
            table = self.session.run(self._output, prepared.feeds)[0]
        except Exception as error:  # noqa: BLE001 - the runtime's own kinds, for bad rows and broken graphs alike
            raise self._failed(prepared, error) from None
        classes = self.bundle.classes
        scores: list[float] = table[:, -1].tolist()
        # Turned around so that NaN is far too; a handful of rows is looked at faster without arrays.
        few = prepared.rows <= _FEW
        if not (all(abs(p - 0.5) <= _FAR for p in scores) if few else (np.abs(table - 0.5) <= _FAR).all()):
            raise self._failed(prepared, None)
        if len(classes) == 2:
            return Scores(scores, [classes[p > 0.5] for p in scores])
        return Scores(scores, [classes[i] for i in table.argmax(axis=1).tolist()])

    def golden_columns(self, limit: int | None = None) -> dict[str, list[object]]:
        """Return the golden rows, or the first of them, by column."""
        rows = self.golden.rows[:limit]
        return {name: [row.get(name) for row in rows] for name in (rows[0] if rows else ())}

    def time_call(self) -> float:
        """Return the seconds that one golden row takes, 0.0 when there is none that works."""
        best = float("inf")
        try:
            columns = self.golden_columns(1)
            for _ in range(_TIMED_CALLS):
                began = time.perf_counter()
                self.run(self.prepare(columns))
                best = min(best, time.perf_counter() - began)
        except (Invalid, Unavailable):
            return 0.0  # the golden check, which follows, says what is wrong
        return best

    def _failed(self, prepared: Prepared, error: Exception | None) -> Invalid | Unavailable:
        """Return whose fault a failure is: the rows' when the model still answers its golden row, else its own."""
        if (prepared.missing or error is not None) and (findings := self._blame(prepared)):
            unseen = any(found.rule == "value" for found in findings)
            hint = "A column of categories takes those that training saw." if unseen else "Send a value there."
            return refused(findings, hint=f"{hint} Rows are counted from 0.")
        if prepared.missing:
            return Invalid(
                "A number is missing, and this model does not work without.",
                hint="Send a value in every numeric column.",
            )
        if error is not None and self._answers_golden():
            return Invalid(
                "The model cannot work with a value of these rows.",
                hint="A text column may hold a category that training never saw.",
            )
        return Unavailable(
            "The model's answer is no probability." if error is None else "The model failed to answer.",
            about="model",
            hint="Nothing was recorded. Look at the deployment's status, or roll back.",
            model=self.digest,
        )

    def _blame(self, prepared: Prepared) -> list[Finding]:
        """Return the values that the model cannot work with, each tried alone in a golden row that it answers."""
        if not self._answers_golden():
            return []
        good = {name: values[0] for name, values in self.golden_columns(1).items()}
        return Blame(good, self._unsound).find(dict(zip(self.inputs.names, prepared.values, strict=True)))

    def _unsound(self, columns: Columns) -> list[int] | None:
        """Return the rows whose answer is no probability; None when the graph fails over them."""
        import numpy as np

        try:
            table = self.session.run(self._output, self.prepare(columns).feeds)[0]
        except Exception:  # noqa: BLE001 - the runtime's own kinds
            return None
        found: list[int] = (~(np.abs(table - 0.5) <= _FAR).all(axis=1)).nonzero()[0].tolist()
        return found

    def _answers_golden(self) -> bool:
        try:
            self.session.run(self._output, self.prepare(self.golden_columns(1)).feeds)
        except Exception:  # noqa: BLE001 - the runtime's own kinds
            return False
        return True


def open_session(graph: bytes) -> Session:
    """Return an ONNX Runtime session over a graph's bytes: one thread, on the processor.

    A graph that would read its weights from files is refused by the runtime, because bytes have no folder.

    Raises:
        MissingExtra: onnxruntime is not installed.
        Corrupt: the bytes are no graph that it runs.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra.named("serve", "onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session: Session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises its own kinds  # noqa: BLE001
        raise Corrupt(f"The serving graph does not load: {type(error).__name__}.", about="bundle") from None
    return session


def _probabilities(session: Session, classes: int) -> str:
    wanted = {"tensor(float)", "tensor(double)"}
    for node in session.get_outputs():
        if node.type not in wanted or len(node.shape) != 2:
            continue
        if node.shape[1] in {classes, 1} or not isinstance(node.shape[1], int):
            return node.name
    raise Corrupt(
        "The graph has no output of probabilities (rows by classes).",
        about="bundle",
        hint="Convert the model with the option zipmap off.",
    )


def _part(bundle: Bundle, role: str) -> str:
    if role not in bundle.files:
        raise Corrupt(f"The bundle names no {role} file.", about="bundle")
    return bundle.files[role]


def _decode(objects: ObjectStore, manifest: Manifest, path: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(objects.get(manifest.find(path).digest), type=kind)
    except NotFound as error:
        raise Corrupt(f"The bundle has no {path}: {error.message}", about="bundle") from None
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{path} of the bundle does not hold what it should: {error}.", about="bundle") from None
