"""Where a server's models come from: a deployment, versions of the registry, folders of files."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.bundles import DeploymentSpec, Route
from interlock.core.canonical import digest
from interlock.core.errors import Denied, Error, GateClosed, Invalid, NotFound
from interlock.core.refs import is_name
from interlock.serve.model import LoadedModel
from interlock.serve.sources import Named, Wanted
from interlock.store.manifests import Entry, put_entries, put_folder, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interlock.core.ports import ObjectStore
    from interlock.serve.sources import Source
    from interlock.store import Store

PAPERS: Final = frozenset({"model.proof.json", "model.sig", "model.approval.txt"})
"""Files that are about a folder and not of it: what was signed cannot hold its own signature."""

_LONE: Final = (".onnx", ".ubj", ".json", ".txt", ".model")
_FOLDER: Final = ("./", "../", "/", "~", "file:///")
_DIGITS: Final = 12
_LEASE: Final = timedelta(hours=1)


class Files:
    """The model in a folder, or in a file that is all of it, which is copied into the workspace's object store.

    Nothing names these objects, and a collection of garbage takes what nobody touched for a day. So they are held again
    every hour, as long as somebody asks what is wanted, which a server does all the time.

    Args:
        folder: the folder; where it holds one folder and nothing else, that one. Or an ONNX file, or a booster's own.
        store: the workspace.
        code_models: whether originals may answer, in a process of their own.

    Raises:
        NotFound: there is no such folder.
        Invalid: it is empty, or holds something else than plain files.

    Attributes:
        name: under which name it answers.
        bundle: the digest of its files' manifest.
    """

    def __init__(self, folder: Path, store: Store, *, code_models: bool = False) -> None:
        name = called(str(folder.absolute()))
        name = name if is_name(name) else "model"
        self.name = f"serve:{name}"
        self._objects = store.objects
        self._code_models = code_models
        self._folder = folder
        self._held_at = store.clock.now()
        self._clock = store.clock
        self.bundle = bundle = _put(store.objects, folder)
        route = Route(f"model:{name}@sha-{bundle[:_DIGITS]}", bundle, 1.0)
        self._spec = DeploymentSpec(self.name, 1, (route,))

    def wanted(self) -> Wanted:
        """Return the folder as it was when the server read it."""
        self._hold()
        return Wanted(1, digest(msgspec.json.encode(self._spec)))

    def spec(self, wanted: Wanted) -> DeploymentSpec:  # noqa: ARG002 - there is only one
        """Return one route to it."""
        return self._spec

    def load(self, bundle: str) -> LoadedModel:
        """Return its model; never from a pickle."""
        return LoadedModel.open(self._objects, bundle, code_models=self._code_models)

    def _hold(self) -> None:
        """Keep the files from being collected for another day. Cost: a look at the clock, and a touch a file an hour.

        Where they are gone (the machine slept for days) the folder is copied again, as it is now: that brings them back
        where it has not changed since.
        """
        now = self._clock.now()
        if abs(now - self._held_at) < _LEASE:
            return
        self._held_at = now
        with contextlib.suppress(Error, OSError):  # the model is in memory, and answers whatever becomes of its files
            held = self._objects.hold(self.bundle)
            if not held or not all(
                self._objects.hold(one.digest) for one in read_manifest(self._objects, self.bundle).files
            ):
                _put(self._objects, self._folder)


def _put(objects: ObjectStore, place: Path) -> str:
    """Return the digest of the manifest of a folder, or of one file, which is kept."""
    if place.is_file():
        return put_entries(objects, [Entry(place.name, place.stat().st_size, objects.put(place))])
    return put_folder(objects, inmost(place), without=PAPERS)


class Stock:
    """What a server may serve.

    Args:
        store: the workspace.
        code_models: whether originals may answer, in a process of their own.
        approved_only: whether only what somebody approved may be served.
        admit: raises where a folder, whose files have this digest, is not approved.
        roots: folders below which models may be loaded while the server runs; None while it starts: any.
    """

    def __init__(
        self,
        store: Store,
        *,
        code_models: bool = False,
        approved_only: bool = False,
        admit: Callable[[Path, str], None] | None = None,
        roots: Sequence[Path] | None = None,
    ) -> None:
        self._store = store
        self._code_models = code_models
        self._approved_only = approved_only
        self._admit = admit
        self._roots = roots

    def source(self, place: str) -> Source:
        """Return what loads the model of a reference, of a folder (`./it`, `/there/it`, `file:///there/it`) or a file.

        Raises:
            GateClosed: nobody approved it, and that is wanted here.
            Denied: the folder is not below a root.
            NotFound, Invalid: see `Files` and `Named`.
        """
        if is_folder(place):
            return self._files(Path(place.removeprefix("file://")).expanduser())
        store = self._store
        found = Named(
            place, store.database, store.objects, code_models=self._code_models, approved_only=self._approved_only
        )
        found.wanted()
        return found

    def size(self, source: Source) -> int:
        """Return how many bytes the files of what is wanted have."""
        bundles = {route.bundle for route in source.spec(source.wanted()).routes}
        return sum(entry.size_bytes for one in bundles for entry in read_manifest(self._store.objects, one).files)

    def _files(self, folder: Path) -> Files:
        if self._roots is not None:
            real = folder.resolve()
            if not any(real.is_relative_to(root.resolve()) for root in self._roots):
                raise Denied("Models are not loaded from this folder.", about="model", hint="Allow it by --model-root.")
        if folder.is_file():
            _check_lone(folder)
        elif not folder.is_dir():
            raise NotFound("There is no such folder.", about="model", hint="Name a folder with a model's files.")
        if self._approved_only and self._admit is None:
            raise GateClosed(
                "Nobody approved the files of a folder; only what is approved is shown to others.",
                about="server",
                hint="Listen on this machine only, serve a version of the registry, or say --unapproved.",
            )
        found = Files(folder, self._store, code_models=self._code_models)
        if self._approved_only and self._admit is not None:
            self._admit(folder.parent if folder.is_file() else inmost(folder), found.bundle)
        return found


def is_folder(place: str) -> bool:
    """Return whether a text names a folder or a file, and no version of the registry.

    A file may be named without `./` before it, where there is one.
    """
    if place.startswith(_FOLDER) or place in {".", ".."}:
        return True
    return ("/" in place or place.endswith(_LONE)) and Path(place).is_file()


def _check_lone(file: Path) -> None:
    """Accept a file that answers without others beside it.

    Raises:
        Invalid: it does not.
    """
    from interlock.serve.opening import lone

    if not lone(file):
        raise Invalid(
            f"{file.name!r} is a file; name its folder.",
            about="model",
            hint="By itself only an ONNX file is served, or a booster in its library's own format.",
        )


def inmost(folder: Path) -> Path:
    """Return the folder in which a model's files are: archives often unpack to one folder in a folder.

    Raises:
        NotFound: there is no such folder.
        Invalid: it is empty.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder {str(folder)!r}.", about="model")
    inside = list(folder.iterdir())
    if not inside:
        raise Invalid(f"Folder {str(folder)!r} is empty.", about="model", hint="Put the model's files there.")
    if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink():
        return inmost(inside[0])
    return folder


class Nothing:
    """What a server that was started without a model has until one is loaded."""

    name = "models"

    def wanted(self) -> Wanted:
        """Return nothing.

        Raises:
            NotFound: always.
        """
        raise NotFound("The server was started without a model.", about="model", hint="Load one.")

    def spec(self, wanted: Wanted) -> DeploymentSpec:  # noqa: ARG002 - see `Source`
        """Return nothing; see `wanted`."""
        raise NotFound("The server was started without a model.", about="model", hint="Load one.")

    def load(self, bundle: str) -> LoadedModel:  # noqa: ARG002 - see `Source`
        """Return nothing; see `wanted`."""
        raise NotFound("The server was started without a model.", about="model", hint="Load one.")


def called(place: str) -> str:
    """Return the name under which a server knows a model that it is started with."""
    if is_folder(place):
        path = Path(place.removeprefix("file://")).expanduser()
        return path.stem if path.is_file() else path.resolve().name
    return place.removeprefix("model:")
