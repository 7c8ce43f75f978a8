"""The service of logged models: what runs saved as models, as operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.operations import Permission, operation
from interlock.core.refs import parse
from interlock.track.experiments import among
from interlock.track.logged_model_views import LoggedModel, LoggedModelPage, shown_models
from interlock.track.logged_models import ModelChange, model_row
from interlock.track.runs import check_names
from interlock.track.search import Query, search_logged_models
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from interlock.store import Store


class LoggedModelService:
    """Logged models: what runs saved as models, before anybody registers it."""

    name = "logged_models"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tracker = Tracker(store)

    @operation(Permission.TRACK_READ)
    def search(
        self,
        filter: str = "",
        experiments: list[str] | None = None,
        order_by: list[str] | None = None,
        limit: int = 100,
        page_token: str = "",
        deleted: bool = False,
    ) -> LoggedModelPage:
        """List logged models, newest first, or those that a filter finds; page by page.

        Args:
            filter: such as "name = 'tree' and metrics.auc > 0.8 and attributes.status = 'READY'".
            experiments: their names or ids; without any, all active ones.
            order_by: such as "metrics.auc DESC".
            limit: how many a page has at most.
            page_token: where the page begins: what the last page came with.
            deleted: deleted ones instead of active ones.

        Raises:
            NotFound: there is no such experiment.
            Invalid: the filter, the order or the token is not sound; the message points at the place.
        """
        idents = self._tracker.experiments.idents(experiments)
        query = Query(filter, tuple(order_by or ()), "deleted" if deleted else "active", limit, page_token)
        page = search_logged_models(self._tracker, idents, query)
        return LoggedModelPage(tuple(self._shown([row["id"] for row in page.rows])), page.next_token)

    @operation(Permission.TRACK_READ)
    def show(self, model: str) -> LoggedModel:
        """Show a logged model: params, metrics on each dataset, files.

        Args:
            model: its id or logged_model:ID.

        Raises:
            NotFound: there is none.
        """
        ident = parse(model, "logged_model").name
        model_row(self._store.database, ident)
        (found,) = self._shown([ident])
        return found

    @operation(Permission.TRACK_WRITE, emits=("logged_model.changed",))
    def tag(self, model: str, tags: dict[str, str] | None = None, remove: list[str] | None = None) -> LoggedModel:
        """Tag a logged model, or take tags away.

        Args:
            model: its id or logged_model:ID.
            tags: values by name; one that is there takes the new value.
            remove: names of tags to take away.

        Raises:
            NotFound: there is no such logged model, or it has no such tag; nothing is changed then.
            Conflict: it is deleted.
        """
        check_names(tags or (), "tag")
        return self._change(model, ModelChange(tags=tags or {}, untag=tuple(remove or ())))

    @operation(Permission.TRACK_WRITE, emits=("logged_model.changed",))
    def delete(self, model: str) -> LoggedModel:
        """Delete a logged model: lists leave it out, and it can be restored.

        Args:
            model: its id or logged_model:ID.
        """
        return self._change(model, ModelChange(lifecycle="deleted"))

    @operation(Permission.TRACK_WRITE, emits=("logged_model.changed",))
    def restore(self, model: str) -> LoggedModel:
        """Restore a logged model that was deleted.

        Args:
            model: its id or logged_model:ID.
        """
        return self._change(model, ModelChange(lifecycle="active"))

    def _change(self, model: str, wanted: ModelChange) -> LoggedModel:
        ident = parse(model, "logged_model").name
        self._store.database.write(lambda tx: self._tracker.logged_models.change(tx, ident, wanted))
        (found,) = self._shown([ident])
        return found

    def _shown(self, idents: list[str]) -> list[LoggedModel]:
        """Return logged models by their ids, in the order given."""
        rows = {r["id"]: r for r in among(self._store.database, "SELECT * FROM logged_models WHERE id IN", idents)}
        facts = self._tracker.logged_models.load([rows[ident] for ident in idents])
        files = {ident: self._tracker.artifacts.all(ident) for ident in idents}
        return shown_models(facts, self._tracker.experiments.names(), files)
