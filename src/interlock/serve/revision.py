"""One revision of a deployment, loaded: its routes, each with a model whose golden requests pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.bundles import Column, DeploymentSpec
from interlock.core.errors import Corrupt, Finding, Invalid, NotFound
from interlock.core.refs import parse
from interlock.serve.golden import check_golden
from interlock.serve.http import Headers, header_text
from interlock.serve.model import LoadedModel
from interlock.serve.router import Router

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interlock.core.bundles import Route
    from interlock.core.ports import ObjectStore


class LiveRoute:
    """A route with its model.

    Attributes:
        route: what the spec says.
        model: the loaded model.
        name: the model's name, such as `credit`.
        version: its version, such as `7`.
    """

    def __init__(self, route: Route, model: LoadedModel) -> None:
        ref = parse(route.model, "model")
        self.route = route
        self.model = model
        self.name = ref.name
        self.version = str(ref.version or ref.alias)


class View:
    """Some routes of a revision, under one name that callers may use, and the columns they take together."""

    def __init__(self, routes: Sequence[LiveRoute]) -> None:
        self.routes = tuple(routes)
        self.router = Router([live.route for live in routes]) if len(routes) > 1 else None
        columns: dict[str, Column] = {}
        for live in routes:
            columns.update({column.name: column for column in live.model.bundle.inputs if column.name not in columns})
        self.columns = tuple(columns.values())
        self.names = frozenset(columns)
        self.target = routes[0].model.bundle.target

    def pick(self, key: str) -> int:
        """Return the index of the route that answers a subject."""
        return 0 if self.router is None else self.router.pick(key)


class Revision:
    """What is served. It never changes: a swap puts another one in its place.

    Attributes:
        deployment: the deployment's name.
        number: the revision's number.
        spec: the digest of its DeploymentSpec.
        routes: its routes.
        whole: the view over all of them.
        views: what callers may name: the deployment, a model, a model and one of its versions.
    """

    def __init__(self, deployment: str, number: int, spec: str, routes: Sequence[LiveRoute]) -> None:
        self.deployment = deployment
        self.number = number
        self.spec = spec
        self.routes = tuple(routes)
        self.whole = View(routes)
        self.views = _views(deployment, self.whole)
        self._headers: dict[str, tuple[tuple[bytes, bytes], ...]] = {}

    def view(self, name: str, version: str = "") -> View:
        """Return the routes behind a name.

        Args:
            name: the deployment's, or a model's.
            version: one of the model's versions, or "" for all that are routed to.

        Raises:
            NotFound: nothing here has this name.
        """
        found = self.views.get((name, version))
        if found is None:
            known = {n for n, v in self.views if not v} if (name, "") not in self.views else set()
            label = f"{name}@{version}" if version else name
            hint = f"Deployment {self.deployment!r} does not serve it. GET / shows what it does."
            raise NotFound.named("model", label, known, hint=hint)
        return found

    def headers(self, models: Sequence[str]) -> Headers:
        """Return the headers that say which models answered, and the revision."""
        key = ", ".join(models)
        if key not in self._headers:
            number = str(self.number).encode()
            self._headers[key] = ((b"interlock-model", header_text(key)), (b"interlock-revision", number))
        return [*self._headers[key]]


def load_revision(
    objects: ObjectStore, deployment: str, number: int, spec: str, loaded: Mapping[str, LoadedModel]
) -> Revision:
    """Return a revision whose models are loaded and give the golden answers.

    Args:
        objects: where specs and bundles rest.
        deployment: the deployment's name.
        number: the revision's number.
        spec: the digest of its DeploymentSpec.
        loaded: models in memory already, by bundle.

    Raises:
        Corrupt: spec or bundle are damaged.
        NotFound: an object is missing.
        Invalid: the routes cannot be served together, or a golden request fails; `findings` says which.
    """
    wanted = read_spec(objects, spec)
    if wanted.name != deployment or not wanted.routes:
        raise Corrupt(f"Spec {spec[:12]} is not one of deployment {deployment!r} with routes.", about="deployment")
    Router(wanted.routes)
    models: dict[str, LoadedModel] = {}
    findings: list[Finding] = []
    for route in wanted.routes:
        if route.bundle in models:
            continue
        models[route.bundle] = model = loaded.get(route.bundle) or LoadedModel.load(objects, route.bundle)
        findings += [
            msgspec.structs.replace(found, message=f"{route.model}: {found.message}")
            for found in check_golden(model, model.golden)
        ]
    if findings:
        raise Invalid(
            f"Revision {number} of {deployment!r} takes no traffic: {findings[0].message}",
            about="deployment",
            hint="The revision before it goes on answering.",
            findings=findings,
        )
    if len({model.bundle.target for model in models.values()}) > 1:
        raise Invalid("The routes predict different columns.", about="deployment", hint="Deploy them apart.")
    return Revision(deployment, number, spec, [LiveRoute(route, models[route.bundle]) for route in wanted.routes])


def read_spec(objects: ObjectStore, digest: str) -> DeploymentSpec:
    """Return a deployment's spec.

    Raises:
        Corrupt: the object is none.
    """
    try:
        return msgspec.json.decode(objects.get(digest), type=DeploymentSpec)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"Object {digest} is no deployment spec: {error}.", about="deployment") from None


def _views(deployment: str, whole: View) -> dict[tuple[str, str], View]:
    views: dict[tuple[str, str], View] = {}
    by_version: dict[str, set[str]] = {}
    for live in whole.routes:
        views.setdefault((live.name, live.version), View([live]))
        by_version.setdefault(live.version, set()).add(live.name)
    for name in {live.name for live in whole.routes}:
        routes = [live for live in whole.routes if live.name == name]
        if len(routes) == 1 or any(live.route.weight > 0 for live in routes):
            views[name, ""] = View(routes)
    for version, names in by_version.items():
        if len(names) == 1:
            views.setdefault((deployment, version), views[names.pop(), version])
    views[deployment, ""] = whole
    return views
