"""Operations that look at models and versions, and find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.errors import Invalid
from interlock.core.operations import Permission, operation
from interlock.core.refs import parse
from interlock.registry.finding import Wanted, page_of_models, page_of_versions
from interlock.registry.history import Change, changes_of
from interlock.registry.parts import Part
from interlock.registry.reading import approvals_of, model_meant, version_of
from interlock.registry.records import Approval, Model, ModelPage, ModelVersion, VersionPage

if TYPE_CHECKING:
    from collections.abc import Sequence

Changes = list[Change]
Approvals = list[Approval]
Models = list[Model]
Versions = list[ModelVersion]
_MOST = 10_000


class Looking(Part):
    """What there is."""

    @operation(Permission.REGISTRY_READ)
    def version(self, version: str) -> ModelVersion:
        """Show one version of a model; a number finds an archived one too.

        Args:
            version: model:NAME@3, model:NAME@champion, or model:NAME for the newest.

        Raises:
            NotFound: there is no such version or alias.
        """
        return version_of(self._store.database, version)

    @operation(Permission.REGISTRY_READ)
    def versions(self, model: str, archived: bool = False) -> Versions:
        """List the versions of a model, oldest first.

        Args:
            model: the model.
            archived: list those too that were put away.
        """
        name = model_meant(self._store.database, model, archived=archived).name
        return self._books.versions.of(self._store.database, name, archived=archived)

    @operation(Permission.REGISTRY_READ)
    def model(self, model: str) -> Model:
        """Show one model.

        Args:
            model: its name.

        Raises:
            NotFound: there is none.
        """
        return model_meant(self._store.database, model)

    @operation(Permission.REGISTRY_READ)
    def models(self, archived: bool = False) -> Models:
        """List all models.

        Args:
            archived: list those instead that were put away.
        """
        kind = "NOT NULL" if archived else "NULL"
        rows = self._store.database.all(f"SELECT name FROM models WHERE archived_at IS {kind} ORDER BY name")  # noqa: S608
        return self._books.models.named(self._store.database, [row["name"] for row in rows])

    @operation(Permission.REGISTRY_READ)
    def approvals(self, version: str) -> Approvals:
        """List who approved a version, on which digests.

        Args:
            version: the version.
        """
        return approvals_of(self._store.database, version_of(self._store.database, version))

    @operation(Permission.REGISTRY_READ)
    def history(self, ref: str) -> Changes:
        """List what was changed of a model or of a version, and what it was before, oldest first.

        Args:
            ref: model:NAME for the model and its aliases, model:NAME@3 for a version.
        """
        return changes_of(self._store, self._books.card(self._store.database, parse(ref, "model")))

    @operation(Permission.REGISTRY_READ)
    def find(
        self,
        filter: str = "",
        order_by: list[str] | None = None,
        limit: int = 100,
        page_token: str = "",
        archived: bool = False,
    ) -> VersionPage:
        """Find versions of all models, page by page, in the grammar of docs/reference/search.md.

        Args:
            filter: such as "metrics.auc > 0.8 and params.depth = 3 and created > '2026-01-01' and feature = 'AGEP'".
            order_by: such as "metrics.auc DESC"; newest first without it.
            limit: how many a page has at most.
            page_token: where the page begins: what the last page came with.
            archived: those that were put away instead of live ones.

        Raises:
            Invalid: the filter, the order or the token is not sound; the message points at the place.
        """
        page = page_of_versions(self._store, _wanted(filter, order_by or _NEWEST, limit, page_token, archived=archived))
        found = self._books.versions.at(self._store.database, [(row["model"], row["version"]) for row in page.rows])
        return VersionPage(tuple(found), page.next_token)

    @operation(Permission.REGISTRY_READ)
    def find_models(
        self,
        filter: str = "",
        order_by: list[str] | None = None,
        limit: int = 100,
        page_token: str = "",
        archived: bool = False,
    ) -> ModelPage:
        """Find models, page by page: by what they are, or by what one of their live versions has.

        Args:
            filter: such as "name LIKE 'credit%' and stage = 'deployed' and feature = 'AGEP'".
            order_by: such as "created DESC"; by name without it.
            limit: how many a page has at most.
            page_token: where the page begins: what the last page came with.
            archived: those that were put away instead of live ones.

        Raises:
            Invalid: the filter, the order or the token is not sound; the message points at the place.
        """
        page = page_of_models(self._store, _wanted(filter, order_by or (), limit, page_token, archived=archived))
        found = self._books.models.named(self._store.database, [row["name"] for row in page.rows])
        return ModelPage(tuple(found), page.next_token)


_NEWEST = ("creation_timestamp DESC",)


def _wanted(filter: str, order_by: Sequence[str], limit: int, page_token: str, *, archived: bool) -> Wanted:
    if not 1 <= limit <= _MOST:
        raise Invalid(f"A page has 1 to {_MOST:,} rows, not {limit}.", about="limit")
    return Wanted(filter, tuple(order_by), limit, page_token, archived)
