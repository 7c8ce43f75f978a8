"""A model that came without a bundle: which of its files can answer, what it takes, and what it is asked first."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from interlock.core.bundles import Agreement, Bundle, Column, Linear
from interlock.core.errors import Corrupt, Invalid
from interlock.serve.beside import (
    EXAMPLE_FILE,
    MLMODEL_FILE,
    SIGNATURE_FILE,
    TOLERANCE,
    golden_of,
    names_of,
    texts_of,
)
from interlock.serve.engines.booster import library_of, need_library, open_booster, try_apart, wide_enough
from interlock.serve.engines.linear import LinearRunner
from interlock.serve.engines.onnx import OnnxRunner, answers_of, open_session
from interlock.serve.engines.wire import class_labels
from interlock.serve.loading import BUNDLE_FILE, WORTH_A_LIBRARY_S, Parts, agrees, faster, part, seconds, worker
from interlock.store.manifests import Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from interlock.core.ports import ObjectStore
    from interlock.serve.engines.onnx import Session
    from interlock.store.manifests import Entry

Kind = Literal["onnx", "booster", "skops", "pickle", "zip", ""]
TARGET: Final = "prediction"
TWIN_FILE, LINEAR_FILE = "twin.json", "linear.json"
_RECORDS: Final = frozenset({TWIN_FILE, SIGNATURE_FILE, EXAMPLE_FILE, LINEAR_FILE, MLMODEL_FILE})
_LONGEST: Final = 16 << 20
_SUFFIXES: Final[dict[str, Kind]] = {".onnx": "onnx", ".ubj": "booster", ".skops": "skops"}
_PICKLES: Final = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".sav", ".cloudpickle", ".dill")
_HEAD: Final = 256
_LABELS: Final = frozenset({"tensor(int64)", "tensor(string)"})
_TYPES: Final[dict[str, Literal["integer", "float", "string", "boolean"]]] = {
    "tensor(float)": "float",
    "tensor(double)": "float",
    "tensor(int64)": "integer",
    "tensor(int32)": "integer",
    "tensor(string)": "string",
    "tensor(bool)": "boolean",
}
_TIE: Final = 1e-6
_CHOICES: Final = "Give a folder with an ONNX file, a booster in its library's own format, or a bundle."


class _Twin(msgspec.Struct):
    """What is read of the record of an ONNX twin."""

    verdict: str
    reason: str = ""
    answers: str = ""
    digest: str = ""
    rows: int = 0
    max_difference: float = 0.0
    tolerance: float = 1e-4
    label_flips: int = 0
    inputs: tuple[Column, ...] = ()
    classes: tuple[int | str, ...] = ()
    engines: dict[str, Agreement] = {}


class Folder:
    """The files of a folder, by what is in them.

    Args:
        objects: where they rest.
        manifest: the folder.

    Raises:
        Corrupt: a file is not what its name says.
    """

    def __init__(self, objects: ObjectStore, manifest: Manifest) -> None:
        self._objects = objects
        self.kinds: dict[str, Kind] = {}
        self._entries: dict[str, Entry] = {entry.path: entry for entry in manifest.files}
        for path, entry in self._entries.items():
            if path in _RECORDS:
                continue
            with objects.open(entry.digest) as source:
                self.kinds[path] = kind = _kind(source.read(_HEAD), path)
            said = next((named for suffix, named in _SUFFIXES.items() if path.endswith(suffix)), kind)
            if said != kind:
                found = {"": "of no format that is known here", "zip": "a zip archive"}.get(kind, f"a {kind} file")
                raise Corrupt(f"{path} is not what its name says: it is {found}.", about="model_version")

    def of(self, kind: Kind) -> str:
        """Return the path of the file of a kind, or "".

        Raises:
            Invalid: there are several.
        """
        found = [path for path, given in self.kinds.items() if given == kind]
        if len(found) > 1:
            raise Invalid(
                f"The folder has {len(found)} files that could answer: {', '.join(found[:5])}.",
                about="model_version",
                hint="Keep one in it.",
            )
        return found[0] if found else ""

    def read(self, path: str) -> bytes:
        """Return a file's bytes, checked."""
        return self._objects.get(self._entries[path].digest)

    def plain(self, path: str) -> bytes:
        """Return the bytes of a file, none of one that is not there or very long."""
        entry = self._entries.get(path)
        return self.read(path) if entry is not None and entry.size_bytes <= _LONGEST else b""

    def record(self, path: str, kind: Any) -> Any:
        """Return a record, None where there is none.

        Raises:
            Corrupt: it holds something else.
        """
        if path not in self._entries:
            return None
        try:
            return msgspec.json.decode(self.read(path), type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Corrupt(f"{path} does not hold what it should: {error}.", about="model_version") from None


def lone(path: Path) -> bool:
    """Return whether a file is a model by itself: an ONNX graph, or a booster in its library's own format."""
    with path.open("rb") as source:
        return _kind(source.read(_HEAD), path.name) in {"onnx", "booster"}


def open_folder(objects: ObjectStore, digest: str, *, code_models: bool = False) -> Parts | None:
    """Return the parts of a model that came without a bundle; None of a bundle.

    An ONNX file answers first, then a booster's own file, then an original where the policy allows it.

    Args:
        objects: where the folder rests.
        digest: its manifest.
        code_models: whether the policy allows originals.

    Raises:
        Corrupt, Invalid, Denied, MissingExtra: see `LoadedModel.open`.
    """
    manifest = read_manifest(objects, digest)
    if any(entry.path == BUNDLE_FILE for entry in manifest.files):
        return None
    folder = Folder(objects, manifest)
    if path := folder.of("onnx"):
        return _onnx(folder, path)
    if path := folder.of("booster"):
        return _booster(folder, path)
    if path := folder.of("skops"):
        return _original(folder, path, code_models=code_models)
    pickles = [path for path, kind in folder.kinds.items() if kind == "pickle"]
    if pickles:
        raise Invalid(
            f"The only model here is a pickle ({', '.join(pickles[:3])}), and to read a pickle runs whatever code it "
            "holds.",
            about="model_version",
            hint="Register the model with run.model, which keeps forms that run no code.",
        )
    raise Invalid("No file of this version can answer.", about="model_version", hint=_CHOICES)


def _onnx(folder: Folder, path: str) -> Parts:
    graph = folder.read(path)
    twin: _Twin | None = folder.record(TWIN_FILE, _Twin)
    if twin is not None:
        if twin.verdict != "agrees":
            raise Invalid(f"{path} does not agree with its original: {twin.reason}.", about="model_version")
        if twin.digest != hashlib.sha256(graph).hexdigest():
            raise Corrupt(f"{path} is not the file that {TWIN_FILE} judged.", about="model_version")
    session = open_session(graph)
    columns, layout = _inputs(folder, session, twin)
    task, classes = _answers(session, graph, twin)
    agreement = Agreement(0, 0.0, TOLERANCE, 0)
    if twin is not None:
        agreement = Agreement(twin.rows, twin.max_difference, twin.tolerance, twin.label_flips)
    files = {"serving": path} | ({"booster": own} if twin is not None and (own := folder.of("booster")) else {})
    bundle = Bundle("onnx", task, columns, TARGET, classes, files, agreement, layout, twin.engines if twin else {})
    runner = OnnxRunner(session, answers_of(session, task, len(classes)))
    golden, source = golden_of(folder, columns)
    parts = Parts(bundle, golden, runner, source, read=_reader(folder, bundle))
    _check_labels(parts, session)
    if agrees(bundle, "linear") and (form := folder.record(LINEAR_FILE, Linear)) is not None:
        return parts._replace(engine=LinearRunner(form, bundle), linear=form)
    if "booster" in files and seconds(bundle, golden, runner) >= WORTH_A_LIBRARY_S:
        try_apart(folder.read(files["booster"]))
        engine, timed = faster(bundle, golden, runner, folder.read(files["booster"]))
        parts = parts._replace(engine=engine, timed=timed)
    return parts


def _booster(folder: Folder, path: str) -> Parts:
    data = folder.read(path)
    need_library(data)
    try_apart(data)
    runner = open_booster(data)
    said = names_of(folder)
    own = [] if all(name == f"Column_{place}" for place, name in enumerate(runner.names)) else runner.names
    names = own or said or [f"x{place}" for place in range(runner.width)]
    wide_enough(runner, len(names))
    columns = tuple(Column(name, "float") for name in names)
    task: Literal["classification", "regression"] = "classification" if runner.classes else "regression"
    agreement = Agreement(0, 0.0, TOLERANCE, 0)
    bundle = Bundle(
        runner.name, task, columns, TARGET, tuple(range(runner.classes)), {"booster": path}, agreement, "matrix"
    )
    golden, source = golden_of(folder, columns)
    return Parts(bundle, golden, runner, source, read=_reader(folder, bundle))


def _reader(folder: Folder, bundle: Bundle) -> Callable[[str], bytes]:
    return lambda role: folder.read(part(bundle, role))


def _original(folder: Folder, path: str, *, code_models: bool) -> Parts:
    texts = texts_of(folder)
    names = names_of(folder)
    columns = tuple(Column(name, "string" if name in texts else "float") for name in names)
    bundle = Bundle(
        flavor="sklearn",
        task="regression",
        inputs=columns,
        target=TARGET,
        classes=(),
        files={"original": path},
        agreement=Agreement(0, 0.0, TOLERANCE, 0),
        layout="columns" if texts.intersection(names) else "matrix",
    )
    runner = worker(folder.read(path), bundle, code_models=code_models)
    if not columns:
        runner.close()
        raise Invalid("Nothing beside the original says which columns it takes.", about="model_version", hint=_CHOICES)
    if runner.classes:
        bundle = msgspec.structs.replace(bundle, task="classification", classes=tuple(runner.classes))
    golden, source = golden_of(folder, columns)
    return Parts(bundle, golden, runner, source, read=_reader(folder, bundle), code_models=code_models)


def _kind(head: bytes, path: str) -> Kind:
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5:
        return "pickle"
    if head.startswith(b"PK\x03\x04"):
        return "skops" if path.endswith(".skops") else "pickle" if path.endswith(_PICKLES) else "zip"
    if library_of(head):
        return "booster"
    if head[:1] == b"\x08" and path.endswith(".onnx"):
        return "onnx"
    return "pickle" if path.endswith(_PICKLES) else ""


def _inputs(
    folder: Folder, session: Session, twin: _Twin | None
) -> tuple[tuple[Column, ...], Literal["matrix", "columns"]]:
    """Return the columns that a graph takes.

    Raises:
        Invalid: it takes something else than rows of columns, or does not say how many.
    """
    nodes = list(session.get_inputs())
    for node in nodes:
        if node.type not in _TYPES or len(node.shape) > 2 or (len(node.shape) == 0):
            raise Invalid(
                f"The graph's input {node.name!r} is {node.type} of {len(node.shape)} dimensions; columns of a table "
                "are wanted.",
                about="model_version",
            )
    matrix = len(nodes) == 1 and len(nodes[0].shape) == 2
    if twin is not None and twin.inputs:
        return twin.inputs, "matrix" if matrix and nodes[0].name not in [c.name for c in twin.inputs] else "columns"
    if not matrix:
        if any(len(node.shape) == 2 and node.shape[1] not in {1, None} for node in nodes):
            raise Invalid("The graph takes several tables; one column each is served.", about="model_version")
        return tuple(Column(node.name, _TYPES[node.type]) for node in nodes), "columns"
    kind, width, names = _TYPES[nodes[0].type], nodes[0].shape[1], names_of(folder)
    if not isinstance(width, int):
        width = len(names)
    if kind == "string" or width < 1:
        why = "text" if kind == "string" else "an unknown number of columns"
        raise Invalid(f"The graph's one input holds {why}.", about="model_version", hint="Give an example beside it.")
    if len(names) != width:
        names = [nodes[0].name] if width == 1 else [f"x{place}" for place in range(width)]
    return tuple(Column(name, kind) for name in names), "matrix"


def _answers(
    session: Session, graph: bytes, twin: _Twin | None
) -> tuple[Literal["classification", "regression"], tuple[int | str, ...]]:
    """Return what a graph answers, and the classes that it tells apart."""
    outputs = session.get_outputs()
    tables = [node for node in outputs if node.type in {"tensor(float)", "tensor(double)"} and len(node.shape) == 2]
    label = next((node for node in outputs if node.type in _LABELS), None)
    widths = [node.shape[1] for node in tables if isinstance(node.shape[1], int)]
    values = label is None and (not tables or widths[:1] == [1])
    if (twin is not None and twin.answers == "values") or (values and (twin is None or not twin.answers)):
        return "regression", ()
    listed: Sequence[int | str] = twin.classes if twin is not None and twin.classes else class_labels(graph)
    if len(listed) > 1:
        return "classification", tuple(listed)
    if label is not None and label.type == "tensor(string)":
        raise Invalid("The graph answers labels that it does not list.", about="model_version")
    count = max(widths[0], 2) if widths else 0
    if not count:
        answers_of(session, "classification", 2)  # says what is missing, if that is the matter
        raise Invalid("The graph does not say how many classes it tells apart.", about="model_version")
    return "classification", tuple(range(count))


def _check_labels(parts: Parts, session: Session) -> None:
    """Refuse a graph whose own labels are others than the classes that its probabilities stand for.

    Raises:
        Corrupt: it is one.
    """
    from interlock.serve.columns import InputColumns

    label = next((node for node in session.get_outputs() if node.type in _LABELS), None)
    rows, bundle = parts.golden.rows, parts.bundle
    if label is None or not rows or bundle.task == "regression":
        return
    try:
        feeds = InputColumns(bundle, parts.engine.inputs).prepare({name: [r[name] for r in rows] for name in rows[0]})
        table = parts.engine.run(feeds.feeds).tolist()
        given = OnnxRunner(session, label.name).run(feeds.feeds).reshape(-1).tolist()
    except Exception:  # noqa: BLE001 - what does not answer is told when it is asked in earnest
        return
    for row, said in zip(table, given, strict=True):
        shares = row if len(row) > 1 else [1 - row[0], row[0]]
        best = max(range(len(shares)), key=shares.__getitem__)
        clear = max(shares) - sorted(shares)[-2] > _TIE
        if clear and str(bundle.classes[best]) != str(said):
            raise Corrupt("The graph's labels are not those of its probabilities.", about="model_version")
