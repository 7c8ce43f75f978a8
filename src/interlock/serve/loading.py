"""From a bundle in the object store to the engine that answers it."""

from __future__ import annotations

import hashlib
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeVar

import msgspec

from interlock.core.bundles import Bundle, Golden, Linear
from interlock.core.errors import Corrupt, Denied, Error, MissingExtra, NotFound
from interlock.serve.columns import InputColumns
from interlock.serve.engines.booster import need_library, open_booster, try_apart
from interlock.serve.engines.linear import LinearRunner
from interlock.serve.engines.onnx import OnnxRunner, answers_of, open_session
from interlock.serve.engines.worker import WorkerRunner
from interlock.store.manifests import Entry, Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock.core.ports import ObjectStore
    from interlock.serve.engines.port import Runner

T = TypeVar("T")
BUNDLE_FILE: Final = "bundle.json"
_FORMS: Final = frozenset({"serving", "linear", "booster"})
_BLOCK: Final = 1 << 20
_TIMED_CALLS: Final = 5
# No booster's own library answers faster than this, and to load one costs 0.3-1 s and 50 MB or more.
WORTH_A_LIBRARY_S: Final = 100e-6
_POLICY: Final = (
    "Where the project's policy allows it: set `code_models = true` under [deployment.NAME.serving] in interlock.toml"
    " and `interlock apply`, or start with `interlock serve --code-models`."
)


class Parts(NamedTuple):
    """What a loaded model is made of.

    Attributes:
        bundle: what the model is.
        golden: requests with their answers.
        engine: what calculates.
        source: where the golden answers come from: `training`; `example`, whose answers were calculated when the model
            was opened; `zeros`, the same for a row of zeros; "" when there are none.
        timed: seconds for the golden rows by engine, where several were tried.
        linear: its coefficients, where it has some.
        read: returns the bytes of a part by its role, for explanations.
        code_models: whether the policy allows originals.
        foreign: whether what its files say of themselves is their own claim: nobody here has looked into them.
    """

    bundle: Bundle
    golden: Golden
    engine: Runner
    source: Literal["training", "example", "zeros", ""] = "training"
    timed: Mapping[str, float] = MappingProxyType({})
    linear: Linear | None = None
    read: Callable[[str], bytes] | None = None
    code_models: bool = False
    foreign: bool = False


def load_bundle(
    objects: ObjectStore,
    digest: str,
    *,
    code_models: bool = False,
    rows: int = 0,
    graph: bool = False,
    foreign: bool = False,
) -> Parts:
    """Return the parts of a bundle's model.

    Coefficients answer where the bundle has some that agree; else the ONNX graph, unless the booster's own library is
    faster on the golden rows (it is only tried where the graph takes over 100 us for them); else, where the policy
    allows it, the original in a process of its own.

    Args:
        objects: where the bundle rests.
        digest: the bundle's manifest.
        code_models: whether the policy allows originals.
        rows: how many rows a call will have, where that is known: a booster's own library is slow to begin and quick
            with many.
        graph: take the ONNX graph, whatever else could answer.
        foreign: the bundle may come from anywhere: its booster is tried in another process before it is opened here.

    Raises:
        NotFound: the bundle, or a file of it, is not there.
        Corrupt: it is no bundle, or its bytes have changed.
        Denied: only its original could answer, which the policy does not allow.
    """
    manifest = read_manifest(objects, digest)
    bundle = decode(objects, manifest, BUNDLE_FILE, Bundle)
    golden = decode(objects, manifest, part(bundle, "golden"), Golden)

    def read(role: str) -> bytes:
        return objects.get(manifest.find(part(bundle, role)).digest)

    _check(objects, manifest, bundle)
    if agrees(bundle, "linear") and not graph:
        form = decode(objects, manifest, part(bundle, "linear"), Linear)
        linear = LinearRunner(form, bundle)
        return Parts(bundle, golden, linear, linear=form, read=read, code_models=code_models, foreign=foreign)
    if "serving" not in bundle.files and "original" in bundle.files and not graph:
        engine: Runner = worker(read("original"), bundle, code_models=code_models)
        return Parts(bundle, golden, engine, read=read, code_models=code_models, foreign=foreign)
    session = open_session(read("serving"))
    engine = OnnxRunner(session, answers_of(session, bundle.task, len(bundle.classes)))
    timed: dict[str, float] = {}
    if agrees(bundle, "booster") and not graph:
        engine, timed = faster(bundle, golden, engine, read("booster"), rows, foreign=foreign)
    return Parts(bundle, golden, engine, timed=timed, read=read, code_models=code_models, foreign=foreign)


def _check(objects: ObjectStore, manifest: Manifest, bundle: Bundle) -> None:
    forms = {path for role, path in bundle.files.items() if role in _FORMS}
    for entry in manifest.files:
        if entry.path in forms:  # one that does not answer today may answer tomorrow
            check_bytes(objects, entry)
    if bundle.task == "classification" and len(bundle.classes) < 2:
        raise Corrupt("The bundle names fewer than two classes.", about="bundle")


def check_bytes(objects: ObjectStore, entry: Entry) -> None:
    """Accept a file whose bytes are those of its digest.

    Raises:
        NotFound: it is not there.
        Corrupt: its bytes have changed.

    Cost: reads it once, in constant memory.
    """
    with objects.open(entry.digest) as source:
        found = hashlib.sha256()
        while block := source.read(_BLOCK):
            found.update(block)
    if found.hexdigest() != entry.digest:
        raise Corrupt(
            f"{entry.path} has changed: its bytes are no longer those of {entry.digest[:16]}.",
            about="bundle",
            hint="Restore it from a backup.",
            digest=entry.digest,
        )


def agrees(bundle: Bundle, role: str) -> bool:
    """Return whether a further form of a model was compared with the original, and agrees."""
    found = bundle.engines.get(role)
    return found is not None and found.rows > 0 and found.max_difference <= found.tolerance


def worker(data: bytes, bundle: Bundle, *, code_models: bool) -> WorkerRunner:
    """Return the engine of an original.

    Raises:
        Denied: the policy does not allow originals.
    """
    if not code_models:
        raise Denied(
            "Only the original could answer, and the policy of this project does not allow originals.",
            about="model",
            hint=_POLICY,
        )
    return WorkerRunner(data, bundle.inputs, bundle.layout)


def seconds(bundle: Bundle, golden: Golden, engine: Runner, rows: int | None = None) -> float:
    """Return how long an engine takes for golden rows, 0.0 when it does not answer them.

    Args:
        bundle: what the model is.
        golden: the rows.
        engine: what calculates.
        rows: take only so many of the first.
    """
    chosen = golden.rows[:rows]
    if not chosen:
        return 0.0
    best = float("inf")
    try:
        inputs = InputColumns(bundle, engine.inputs)
        columns = {name: [row.get(name) for row in chosen] for name in chosen[0]}
        for _ in range(_TIMED_CALLS):
            began = time.perf_counter()
            engine.run(inputs.prepare(columns).feeds)
            best = min(best, time.perf_counter() - began)
    except Exception:  # noqa: BLE001 - the golden check, which follows, says what is wrong
        return 0.0
    return best


def part(bundle: Bundle, role: str) -> str:
    """Return the path of a part.

    Raises:
        Corrupt: the bundle has none of this role.
    """
    if role not in bundle.files:
        raise Corrupt(f"The bundle names no {role} file.", about="bundle")
    return bundle.files[role]


def decode(objects: ObjectStore, manifest: Manifest, path: str, kind: type[T]) -> T:
    """Return a record of a folder.

    Raises:
        Corrupt: it is not there, or holds something else.
    """
    try:
        return msgspec.json.decode(objects.get(manifest.find(path).digest), type=kind)
    except NotFound as error:
        raise Corrupt(f"The bundle has no {path}: {error.message}", about="bundle") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"{path} of the bundle does not hold what it should: {error}.", about="bundle") from None


def faster(
    bundle: Bundle, golden: Golden, graph: Runner, data: bytes, rows: int = 0, *, foreign: bool = False
) -> tuple[Runner, dict[str, float]]:
    """Return the faster one of graph and booster, and what both took; the graph where the booster cannot be tried.

    Args:
        bundle: what the model is.
        golden: the rows to try.
        graph: the engine of the graph.
        data: the booster's own file.
        rows: try so many, the golden ones again and again; 0 tries them once.
        foreign: whether nobody has looked into the file yet.

    Raises:
        Corrupt: the booster does not load.
    """
    if rows and golden.rows:
        again = -(-rows // len(golden.rows))
        golden = msgspec.structs.replace(golden, rows=(golden.rows * again)[:rows])
    timed = {graph.name: seconds(bundle, golden, graph)}
    if timed[graph.name] < WORTH_A_LIBRARY_S:
        return graph, timed
    try:
        if foreign:
            need_library(data)
            try_apart(data)
        booster = open_booster(data)
    except MissingExtra:
        return graph, timed
    except Error as error:
        raise Corrupt(f"The bundle's booster does not load: {error.message}", about="bundle") from None
    timed[booster.name] = seconds(bundle, golden, booster)
    return (booster if 0 < timed[booster.name] < timed[graph.name] else graph), timed
