"""The service of experiments: the names under which runs are compared, as operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.core.operations import Permission, operation
from interlock.track.experiments import check_title
from interlock.track.records import Experiment, ExperimentPage
from interlock.track.runs import check_names
from interlock.track.search import Query, search_experiments
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from interlock.store import Store
    from interlock.track.experiments import Lifecycle


class ExperimentService:
    """Experiments: names under which runs are compared."""

    name = "experiments"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tracker = Tracker(store)
        self._experiments = self._tracker.experiments

    @operation(Permission.TRACK_READ)
    def search(
        self,
        filter: str = "",
        order_by: list[str] | None = None,
        limit: int = 100,
        page_token: str = "",
        deleted: bool = False,
    ) -> ExperimentPage:
        """List experiments, newest first, or those that a filter finds; page by page.

        Args:
            filter: such as "name LIKE 'credit%' and tags.team = 'risk'".
            order_by: such as "name ASC".
            limit: how many a page has at most.
            page_token: where the page begins: what the last page came with.
            deleted: deleted experiments instead of active ones.

        Raises:
            Invalid: the filter, the order or the token is not sound; the message points at the place.
        """
        query = Query(filter, tuple(order_by or ()), "deleted" if deleted else "active", limit, page_token)
        page = search_experiments(self._tracker, query)
        return ExperimentPage(tuple(self._experiments.shown([row["id"] for row in page.rows])), page.next_token)

    @operation(Permission.TRACK_READ)
    def show(self, experiment: str) -> Experiment:
        """Show an experiment.

        Args:
            experiment: its name, its id or experiment:ID.

        Raises:
            NotFound: there is none.
        """
        return self._shown(self._experiments.find(experiment).id)

    @operation(Permission.TRACK_WRITE, emits=("experiment.created", "experiment.changed"))
    def create(self, name: str, tags: dict[str, str] | None = None) -> Experiment:
        """Make an experiment. A run makes its own where there is none of the name.

        Args:
            name: 1 to 500 characters.
            tags: values by name.

        Raises:
            Conflict: there is one of this name, be it deleted.
            Invalid: the name cannot be one.
        """
        check_names(tags or (), "tag")
        return self._shown(self._store.database.write(lambda tx: self._experiments.create(tx, name, tags)))

    @operation(Permission.TRACK_WRITE, emits=("experiment.changed",))
    def rename(self, experiment: str, name: str) -> Experiment:
        """Give an experiment another name; its runs stay in it.

        Args:
            experiment: its name, its id or experiment:ID.
            name: the new name, 1 to 500 characters.

        Raises:
            Conflict: another one has this name, or the experiment is deleted.
            Invalid: the name cannot be one.
        """
        ident = self._experiments.find(experiment).id
        check_title(name)
        self._store.database.write(lambda tx: self._experiments.change(tx, ident, name=name))
        return self._shown(ident)

    @operation(Permission.TRACK_WRITE, emits=("experiment.changed",))
    def tag(self, experiment: str, tags: dict[str, str] | None = None, remove: list[str] | None = None) -> Experiment:
        """Tag an experiment, or take tags away.

        Args:
            experiment: its name, its id or experiment:ID.
            tags: values by name; one that is there takes the new value.
            remove: names of tags to take away.

        Raises:
            NotFound: it has no such tag; nothing is changed then.
            Conflict: it is deleted.
        """
        check_names(tags or (), "tag")
        ident = self._experiments.find(experiment).id
        self._store.database.write(lambda tx: self._experiments.change(tx, ident, tags=tags, untag=remove or ()))
        return self._shown(ident)

    @operation(Permission.TRACK_WRITE, emits=("experiment.changed",))
    def delete(self, experiment: str) -> Experiment:
        """Delete an experiment with its runs: lists leave them out, and they can be restored.

        Args:
            experiment: its name, its id or experiment:ID.
        """
        return self._move(experiment, "deleted")

    @operation(Permission.TRACK_WRITE, emits=("experiment.changed",))
    def restore(self, experiment: str) -> Experiment:
        """Restore an experiment that was deleted, and its runs with it.

        Args:
            experiment: its name, its id or experiment:ID.
        """
        return self._move(experiment, "active")

    def _move(self, experiment: str, lifecycle: Lifecycle) -> Experiment:
        ident = self._experiments.find(experiment).id
        self._store.database.write(lambda tx: self._experiments.change(tx, ident, lifecycle=lifecycle))
        return self._shown(ident)

    def _shown(self, ident: str) -> Experiment:
        (found,) = self._experiments.shown([ident])
        return found
