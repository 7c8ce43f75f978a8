"""The service of traces: what applications did for their requests, as operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from interlock.core.clock import parse_instant, to_micros
from interlock.core.errors import Invalid
from interlock.core.operations import Permission, operation
from interlock.core.refs import parse
from interlock.track.runs import check_names
from interlock.track.search import Query
from interlock.track.trace_search import search_traces
from interlock.track.trace_views import Trace, TracePage, WholeTrace, shown_trace, shown_traces
from interlock.track.traces import Traces
from interlock.track.tracker import Tracker

if TYPE_CHECKING:
    from interlock.store import Store

_MOST: Final = 500


class TraceService:
    """Traces: what applications did for each request, span by span."""

    name = "traces"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._experiments = Tracker(store).experiments
        self._traces = Traces(store)

    @operation(Permission.TRACK_READ)
    def search(
        self,
        filter: str = "",
        experiments: list[str] | None = None,
        order_by: list[str] | None = None,
        limit: int = 100,
        page_token: str = "",
    ) -> TracePage:
        """List traces, newest first, or those that a filter finds; page by page, without their spans.

        Args:
            filter: such as "status = 'ERROR' and span.attributes.model = 'small' and execution_time > 500".
            experiments: their names or ids; without any, all active ones.
            order_by: such as "execution_time DESC".
            limit: how many a page has at most, up to 500.
            page_token: where the page begins: what the last page came with.

        Raises:
            NotFound: there is no such experiment.
            Invalid: the filter, the order or the token is not sound; the message points at the place.
        """
        if limit > _MOST:
            raise Invalid(f"A page has at most {_MOST} traces, not {limit}.", about="limit")
        idents = self._experiments.idents(experiments)
        page = search_traces(
            self._store.database, idents, Query(filter, tuple(order_by or ()), "all", limit, page_token)
        )
        found = self._traces.some([row["id"] for row in page.rows])
        return TracePage(tuple(shown_traces(found, self._experiments.names())), page.next_token)

    @operation(Permission.TRACK_READ)
    def show(self, trace: str) -> WholeTrace:
        """Show a trace with its spans, as a tree.

        Args:
            trace: its id or trace:ID.

        Raises:
            NotFound: there is none.
        """
        ident = parse(trace, "trace").name
        facts = self._traces.get(ident)
        return shown_trace(facts, self._traces.spans([ident]).get(ident, ()), self._experiments.names())

    @operation(Permission.TRACK_WRITE, emits=("trace.changed",))
    def tag(self, trace: str, tags: dict[str, str] | None = None, remove: list[str] | None = None) -> Trace:
        """Tag a trace, or take tags away.

        Args:
            trace: its id or trace:ID.
            tags: values by name; one that is there takes the new value.
            remove: names of tags to take away.

        Raises:
            NotFound: there is no such trace, or it has no such tag; nothing is changed then.
        """
        check_names(tags or (), "tag")
        ident = parse(trace, "trace").name
        self._store.database.write(lambda tx: self._traces.change(tx, ident, tags or {}, remove or ()))
        (found,) = shown_traces([self._traces.get(ident)], self._experiments.names())
        return found

    @operation(Permission.TRACK_WRITE, emits=("trace.deleted",))
    def delete(self, traces: list[str]) -> int:
        """Delete traces for good, with all that belongs to them; return how many.

        Args:
            traces: their ids or trace:ID, at most 500.

        Raises:
            NotFound: one is not there; none is deleted then.
            Invalid: there are too many.
        """
        idents = list(dict.fromkeys(parse(trace, "trace").name for trace in traces))
        if len(idents) > _MOST:
            raise Invalid(f"At most {_MOST} traces are deleted at once; {len(idents)} were named.", about="trace")
        return self._store.database.write(lambda tx: self._traces.delete_some(tx, idents))

    @operation(Permission.TRACK_WRITE, emits=("trace.deleted",))
    def prune(self, experiment: str, before: str, limit: int = 0) -> int:
        """Delete the traces of an experiment that began before an instant, oldest first; return how many.

        Args:
            experiment: its name, its id or experiment:ID.
            before: the instant, such as 2026-01-31 (its first moment, UTC) or 2026-01-31T12:00:00+01:00.
            limit: at most so many; 0 for all.

        Raises:
            NotFound: there is no such experiment.
            Invalid: that is no instant, or the limit is below 0.
        """
        try:
            until = to_micros(parse_instant(before))
        except ValueError:
            hint = "Write it like 2026-01-31 or 2026-01-31T12:00:00Z."
            raise Invalid(f"{before!r} is no instant.", about="instant", hint=hint) from None
        if limit < 0:
            raise Invalid("A limit is 0 or more.", about="limit")
        ident = self._experiments.find(experiment).id
        return self._traces.delete(ident, [], until, limit or None)
