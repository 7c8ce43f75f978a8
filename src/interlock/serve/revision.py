"""One revision of a deployment, loaded: its routes, each with a model whose golden requests pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Finding, Invalid, NotFound
from interlock.core.refs import parse
from interlock.serve.golden import check_golden
from interlock.serve.guard import Guard, stale_header
from interlock.serve.http import header_text
from interlock.serve.policy import DEFAULTS, Rules
from interlock.serve.router import Router
from interlock.serve.rows import row_reader, tensor_reader
from interlock.store.predictions import Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from interlock.core.bundles import Column, Route, Serving
    from interlock.serve.model import LoadedModel
    from interlock.serve.sources import Source as Models
    from interlock.serve.sources import Wanted


class LiveRoute:
    """A route with its model.

    Attributes:
        route: what the spec says.
        model: the loaded model.
        name: the model's name, such as `credit`.
        version: its version, such as `7`.
        born: when the version was made, or None.
        guard: looks at what it takes and gives.
    """

    def __init__(self, route: Route, model: LoadedModel, born: datetime | None = None) -> None:
        ref = parse(route.model, "model")
        self.route = route
        self.model = model
        self.name = ref.name
        self.version = str(ref.version or ref.alias)
        self.born = born
        self.guard = Guard(model, DEFAULTS)

    def source(self, deployment: str, revision: int) -> Source:
        """Return what the prediction log says of all answers of this route."""
        route = self.route
        return Source(deployment, route.model, route.bundle, revision, route.role, self.model.inputs.names)


_RESERVED: Final = frozenset({"probability", "prediction_id"})  # what answers call other things


class View:
    """Some routes of a revision, under one name that callers may use, and the columns they take together.

    Attributes:
        routes: the routes.
        columns: the input columns of all of them.
        names: their names.
        target: the column that is predicted, as answers call it.
        call_s: how long the slowest of them takes for one row.
        row_s: how long the slowest takes for each further row of a call.
        one: a model for all where they take the very same inputs, so that rows are prepared once; else None.
        rows: reads rows for that one, or None.
        tensors: reads tensors for that one, or None.
    """

    def __init__(self, routes: Sequence[LiveRoute]) -> None:
        self.routes = tuple(routes)
        self.router = Router([live.route for live in routes]) if len(routes) > 1 else None
        columns: dict[str, Column] = {}
        for live in routes:
            columns.update({column.name: column for column in live.model.bundle.inputs if column.name not in columns})
        self.columns = tuple(columns.values())
        self.names = frozenset(columns)
        target = routes[0].model.bundle.target
        self.target = target if target not in _RESERVED else f"predicted_{target}"
        self.call_s = max(live.model.call_s for live in routes)
        self.row_s = max(live.model.row_s for live in routes)
        self.one = routes[0].model if all(live.model.inputs == routes[0].model.inputs for live in routes) else None
        self.rows = row_reader(self.columns) if self.one is not None else None
        self.tensors = tensor_reader(self.columns) if self.one is not None else None

    def pick(self, key: str) -> int:
        """Return the index of the route that answers a subject."""
        return 0 if self.router is None else self.router.pick(key)


class Revision:
    """What is served. It grows older, and never changes otherwise: a swap puts another one in its place.

    Attributes:
        deployment: the deployment's name.
        number: the revision's number.
        spec: the digest of its DeploymentSpec.
        routes: its routes.
        whole: the view over all of them.
        views: what callers may name: the deployment, a model, a model and one of its versions.
        serving: how it answers.
        ages: how old each version is, in seconds, when somebody looked last.
    """

    def __init__(
        self, deployment: str, number: int, spec: str, routes: Sequence[LiveRoute], serving: Serving = DEFAULTS
    ) -> None:
        self.deployment = deployment
        self.number = number
        self.spec = spec
        self.routes = tuple(routes)
        self.serving = serving
        self.ages: dict[str, float] = {}
        for live in routes:
            live.guard = Guard(live.model, serving)
        self.whole = View(routes)
        self.views = _views(deployment, self.whole)
        self.sources = {id(live): live.source(deployment, number) for live in self._all()}
        self._headers: dict[tuple[str, ...], tuple[tuple[bytes, bytes], ...]] = {}

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

    def headers(self, models: tuple[str, ...]) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that say which models answered, how old they are, revision, and configuration's digest."""
        found = self._headers.get(models)
        if found is None:
            found = self._headers[models] = (
                (b"interlock-model", header_text(", ".join(models))),
                (b"interlock-revision", str(self.number).encode()),
                (b"interlock-configuration", self.spec[:16].encode()),
                *([stale_header(age)] if (age := max(map(self.stale_s, models), default=0.0)) else []),
            )
        return found

    def stale_s(self, model: str) -> float:
        """Return how old a version is, in seconds; 0.0 where it is not so old that answers have to say so."""
        age, limit = self.ages.get(model, 0.0), self.serving.stale_after_s
        return age if limit is not None and age >= limit else 0.0

    def grow(self, now: datetime) -> None:
        """Look how old the versions are; answers from now on say it."""
        self.ages = {live.route.model: max((now - live.born).total_seconds(), 0.0) for live in self.routes if live.born}
        self._headers = {}

    def _all(self) -> list[LiveRoute]:
        return [live for view in self.views.values() for live in view.routes]


def load_revision(
    source: Models, wanted: Wanted, loaded: Mapping[str, LoadedModel], rules: Rules | None = None
) -> Revision:
    """Return a revision whose models are loaded and give the golden answers.

    Args:
        source: says what the routes are, and loads their models.
        wanted: the revision.
        loaded: models in memory already, by bundle.
        rules: how to answer where its spec does not say.

    Raises:
        Corrupt: spec or bundle are damaged.
        NotFound: an object is missing.
        Invalid: the routes cannot be served together, or a golden request fails; `findings` says which.
    """
    rules = rules or Rules()
    spec = source.spec(wanted)
    serving = spec.serving.over(rules.defaults)
    Router(spec.routes)
    models: dict[str, LoadedModel] = {}
    findings: list[Finding] = []
    for route in spec.routes:
        if route.bundle in models:
            continue
        models[route.bundle] = model = _allowed(loaded.get(route.bundle), serving) or source.load(route.bundle)
        findings += [
            msgspec.structs.replace(found, message=f"{route.model}: {found.message}")
            for found in check_golden(model, model.golden)
        ]
    if findings:
        raise Invalid(
            f"Revision {wanted.revision} of {source.name!r} takes no traffic: {findings[0].message}",
            about="deployment",
            hint="The revision before it goes on answering.",
            findings=findings,
        )
    if len({model.bundle.target for model in models.values()}) > 1:
        raise Invalid("The routes predict different columns.", about="deployment", hint="Deploy them apart.")
    answers = {(model.bundle.task, tuple(map(type, model.bundle.classes[:1]))) for model in models.values()}
    if len(answers) > 1:
        raise Invalid(
            "The routes answer in different kinds: values, numbers or names.",
            about="deployment",
            hint="Deploy them apart.",
        )
    routes = [LiveRoute(route, models[route.bundle], rules.born(route.model)) for route in spec.routes]
    return Revision(source.name, wanted.revision, wanted.configuration, routes, serving)


def _allowed(model: LoadedModel | None, serving: Serving) -> LoadedModel | None:
    """Return a model in memory that may answer; None for an original where none may any more."""
    return None if model is not None and model.engine.name == "worker" and not serving.code_models else model


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
