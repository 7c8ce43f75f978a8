"""What a server shall serve: what a deployment's row says, or one version of a model that somebody named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from interlock.core.bundles import DeploymentSpec, Route
from interlock.core.canonical import digest
from interlock.core.errors import Corrupt, GateClosed, Invalid, NotFound
from interlock.core.refs import LATEST, no_alias, parse
from interlock.serve.model import LoadedModel

if TYPE_CHECKING:
    from interlock.core.ports import ObjectStore, Reader, Row
    from interlock.core.refs import Ref

_ROW: Final = "SELECT revision, spec FROM deployments WHERE name = :name"
_SOUND: Final = frozenset({"approved", "deployed"})


class Wanted(msgspec.Struct, frozen=True):
    """What shall be served.

    Attributes:
        revision: its number, which grows with each change of a deployment.
        configuration: the digest of its spec.
    """

    revision: int
    configuration: str


class Source(Protocol):
    """Says what shall be served, and loads it.

    Attributes:
        name: under which name it answers.
    """

    name: str

    def wanted(self) -> Wanted:
        """Return what shall be served now.

        Raises:
            NotFound: there is nothing of this name.
            Unavailable: the database cannot be read.
        """
        ...

    def spec(self, wanted: Wanted) -> DeploymentSpec:
        """Return the routes of what is wanted."""
        ...

    def load(self, bundle: str) -> LoadedModel:
        """Return a model of a route, by the digest of its files."""
        ...


class Deployed:
    """A deployment: its row says which spec.

    Args:
        name: the deployment.
        database: where the row stands.
        objects: where specs and bundles rest.
        code_models: whether originals may answer, in a process of their own.
    """

    def __init__(self, name: str, database: Reader, objects: ObjectStore, *, code_models: bool = False) -> None:
        self.name = name
        self._database = database
        self._objects = objects
        self._code_models = code_models

    def wanted(self) -> Wanted:
        """Return what the deployment's row says."""
        row = self._database.one(_ROW, {"name": self.name})
        if row is None:
            raise NotFound.named("deployment", self.name)
        return Wanted(row["revision"], row["spec"])

    def spec(self, wanted: Wanted) -> DeploymentSpec:
        """Return the spec that it names."""
        found = read_spec(self._objects, wanted.configuration)
        if found.name != self.name or not found.routes:
            name = f"Spec {wanted.configuration[:12]}"
            raise Corrupt(f"{name} is not one of deployment {self.name!r} with routes.", about="deployment")
        return found

    def load(self, bundle: str) -> LoadedModel:
        """Return a route's model, be it a bundle or not."""
        return LoadedModel.open(self._objects, bundle, code_models=self._code_models)


class Named:
    """One version of a model; where an alias names it, the version that the alias stands for now.

    Args:
        reference: such as `model:credit@7` or `credit@champion`.
        database: where versions stand.
        objects: where their files rest.
        code_models: whether originals may answer, in a process of their own.
        approved_only: whether versions that nobody approved are refused.

    Raises:
        Invalid: it is no reference of a model.
    """

    def __init__(
        self,
        reference: str,
        database: Reader,
        objects: ObjectStore,
        *,
        code_models: bool = False,
        approved_only: bool = False,
    ) -> None:
        self.ref: Ref = parse(reference, "model")
        if self.ref.path:
            raise Invalid(f"{reference!r} names a file of a version.", about="reference", hint="Leave the path out.")
        self.name = f"serve:{self.ref.name}"
        self._database = database
        self._objects = objects
        self._code_models = code_models
        self._approved_only = approved_only

    def wanted(self) -> Wanted:
        """Return the version that the reference stands for."""
        row = self._row()
        if self._approved_only and row["stage"] not in _SOUND:
            raise GateClosed(
                f"{self.ref.whole}@{row['version']} is {row['stage']!r}; only an approved version is shown to others.",
                about="server",
                hint="Listen on this machine only, approve it, or say --unapproved.",
            )
        return Wanted(row["version"], digest(msgspec.json.encode(self._routes(row["version"], row["bundle"]))))

    def spec(self, wanted: Wanted) -> DeploymentSpec:
        """Return one route to the version."""
        row = self._row(wanted.revision)
        return self._routes(row["version"], row["bundle"])

    def load(self, bundle: str) -> LoadedModel:
        """Return the version's model, be it a bundle or not."""
        return LoadedModel.open(self._objects, bundle, code_models=self._code_models)

    def _routes(self, version: int, files: str) -> DeploymentSpec:
        return DeploymentSpec(self.name, version, (Route(f"model:{self.ref.name}@{version}", files, 1.0),))

    def _row(self, version: int | None = None) -> Row:
        """Return a version's row; the newest version's where neither number nor alias is named."""
        ref = self.ref
        alias = "" if version or ref.version else ref.alias
        values = {"model": ref.name, "version": version or ref.version, "alias": alias}
        if values["version"]:
            where = "version = :version"
        elif alias not in {"", LATEST}:
            where = "version = (SELECT version FROM model_aliases WHERE model = :model AND alias = :alias)"
        else:
            where = "archived_at IS NULL"
        row = self._database.one(
            f"SELECT version, bundle, stage FROM model_versions WHERE model = :model AND {where}"  # noqa: S608 - ours
            " ORDER BY version DESC LIMIT 1",
            values,
        )
        if row is None:
            known = [one["name"] for one in self._database.all("SELECT name FROM models WHERE archived_at IS NULL")]
            if alias not in {"", LATEST} and ref.name in known:
                held = self._database.all("SELECT alias FROM model_aliases WHERE model = :model", {"model": ref.name})
                raise no_alias(ref, [one["alias"] for one in held])
            raise NotFound.named("model_version", str(ref), [f"model:{name}" for name in known])
        if not row["bundle"]:
            raise Invalid(f"The files of {ref} rest elsewhere.", about="model", hint="Register files that are here.")
        return row


def read_spec(objects: ObjectStore, digest: str) -> DeploymentSpec:
    """Return a deployment's spec.

    Raises:
        Corrupt: the object is none.
    """
    try:
        return msgspec.json.decode(objects.get(digest), type=DeploymentSpec)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"Object {digest} is no deployment spec: {error}.", about="deployment") from None
