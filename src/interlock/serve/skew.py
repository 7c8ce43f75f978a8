"""Golden rows on the way that requests take, and the column at which an answer becomes another one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from interlock.core.errors import Error, Finding
from interlock.serve.http import to_json
from interlock.serve.turns import Ask, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from interlock.serve.model import LoadedModel
    from interlock.serve.prepared import Prepared
    from interlock.serve.revision import LiveRoute, Revision

_MOST_PROBES: Final = 1000
_WIDEST: Final = _MOST_PROBES // 2  # columns: the value of another row takes two rows
_SURE: Final = 1e-5  # nearer to 0 or 1, a probability of 32 bits says little
Row = dict[str, Any]


class Way:
    """The way to one model: the readers of requests, the model's input columns, its engine.

    Args:
        revision: what is served.
        live: the route of the model.
    """

    def __init__(self, revision: Revision, live: LiveRoute) -> None:
        self._revision = revision
        single = len(revision.routes) == 1
        self._view = revision.whole if single else revision.view(live.name, live.version)
        self._live = live
        self._words = words_of(live.model)
        names = [column.name for column in live.model.bundle.inputs]
        self._rows: list[Row] = [{name: row.get(name) for name in names} for row in live.model.golden.rows]

    def wrong(self, first: int, last: int) -> list[Finding]:
        """Return what is wrong with the answers to some golden rows; nothing when they are those known.

        Args:
            first: the number of the first row.
            last: the number of the row behind the last one.

        Cost: as requests with these rows in JSON, one for each reader.
        """
        golden = self._live.model.golden
        rows, wanted = self._rows[first:last], golden.scores[first:last]
        found: dict[tuple[str, str], Finding] = {}
        for ask in self._asks(rows):
            try:
                prepared = self._prepared(ask)
                heard = self._differing(prepared, rows)
                scores = self._live.model.run(prepared).scores
            except Error as error:
                heard = [
                    Finding("self_check_failed", f"{self._words.rows} are not answered: {error}", count=len(rows)),
                    *error.findings,
                ]
            else:
                gaps = [abs(a - b) for a, b in zip(scores, wanted, strict=True)]
                bad = [row for row, gap in enumerate(gaps) if not gap <= golden.tolerance]  # so that NaN is bad
                if bad:
                    lost = not heard and len(self._rows[0]) > _WIDEST
                    heard.insert(0, self._other_scores(bad, gaps, lost=lost))
            for one in heard:
                found.setdefault((one.rule, one.column), one)
        return list(found.values())

    def effects(self) -> dict[str, list[float]]:
        """Return what each column does to the scores of golden rows when it has the next one's value, in log odds.

        NaN where the score is too near to 0 or 1 to tell. Of a regression, it is the change of the value. Of a model
        with one golden row nothing, nor of one with more than 500 columns, whose findings say so.

        Cost: one call of the model with a thousand rows at most.
        """
        rows = self._rows[: _MOST_PROBES // len(self._rows[0])]
        asked, names = [*rows], list(rows[0]) if len(rows) > 1 else []
        for name in names:
            asked += [{**row, name: after[name]} for row, after in zip(rows, [*rows[1:], rows[0]], strict=True)]
        try:
            scores = self._live.model.run(self._prepared(next(self._asks(asked)))).scores if names else []
        except Error:
            return {}
        if self._live.model.bundle.task != "regression":
            scores = [_odds(score) for score in scores]
        size = len(rows)
        return {
            name: [scores[size * at + row] - scores[row] for row in range(size)] for at, name in enumerate(names, 1)
        }

    def moved(self, before: Mapping[str, Sequence[float]]) -> list[Finding]:
        """Return the column whose effect on the score is most unlike what it was; nothing when none's is.

        A column whose values are all shifted by the same has the same effect in a linear model, and is not found.

        Args:
            before: what `effects` gave while the answers were right; nothing where nobody asked then.

        Cost: as `effects`; nothing where there is no `before`.
        """
        if not before:
            return []
        now, gaps = self.effects(), {}
        for name in before.keys() & now.keys():
            pairs = zip(now[name], before[name], strict=True)
            told = [abs(a - b) for a, b in pairs if math.isfinite(a - b)]
            gaps[name] = sum(told) / len(told) if told else 0.0
        name = max(sorted(gaps), key=gaps.__getitem__, default="")
        if not name or not gaps[name] > self._live.model.golden.tolerance:
            return []
        message = f"Column {name!r}: what it does to the score is not what it did when this model was first asked."
        return [Finding("self_check_effect", message, name)]

    def _asks(self, rows: Sequence[Row]) -> Iterator[Ask]:
        """Return rows as each reader of requests gives them."""
        body = to_json({"instances": rows})
        read = self._view.rows.read(body) if self._view.rows is not None else None
        if read is not None:
            yield Ask({}, len(read[0]), typed=read[0])
        else:
            said = msgspec.json.decode(body)["instances"]
            yield Ask({name: [row[name] for row in said] for name in said[0]}, len(said))
        if self._view.tensors is not None:
            columns = [
                {"name": name, "shape": [len(rows)], "datatype": "FP64", "data": [row[name] for row in rows]}
                for name in rows[0]
            ]
            if (found := self._view.tensors.read(to_json({"inputs": columns}))) is not None:
                yield Ask({}, len(rows), typed=[tensor.data for tensor in found.inputs], by_column=True)

    def _prepared(self, ask: Ask) -> Prepared:
        return Turn(ask, self._revision, self._view, "self-check", 0).parts()[0].prepared

    def _differing(self, prepared: Prepared, rows: Sequence[Row]) -> list[Finding]:
        """Return the columns whose values do not arrive as they were sent, or do not reach the engine so."""
        found = []
        for at, name in enumerate(rows[0]):
            sent = [row[name] for row in rows]
            for what, place in (
                (prepared.values[at], "arrives with other values than were sent"),
                (self._fed(prepared, at, name), "reaches the engine with other values than were sent"),
            ):
                bad = (
                    []
                    if what is None
                    else [row for row, pair in enumerate(zip(sent, what, strict=True)) if not _same(*pair)]
                )
                if bad:
                    message = f"Column {name!r} {place}, in {len(bad)} of {len(rows)} golden rows."
                    found.append(Finding("self_check_column", message, name, tuple(bad[:10]), len(bad)))
                    break
        return found

    def _fed(self, prepared: Prepared, at: int, name: str) -> Sequence[object] | None:
        """Return a column as the engine takes it; None where that cannot be told."""
        if self._live.model.bundle.layout == "matrix":  # whose one input may be called as a column is
            (matrix,) = prepared.feeds.values()
            return matrix[:, at].tolist()  # type: ignore[no-any-return]
        feed = prepared.feeds.get(name)
        return None if feed is None else feed.ravel().tolist()

    def _other_scores(self, bad: Sequence[int], gaps: Sequence[float], *, lost: bool) -> Finding:
        """Return that scores differ; `lost`: that nobody can find the column at which they do."""
        worst = max((gaps[row] for row in bad), key=lambda gap: math.inf if math.isnan(gap) else gap)
        message = (
            f"{len(bad)} of {len(gaps)} golden rows, asked as requests are, get another score than"
            f" {self._words.when}: the largest difference is {worst:.3g},"
            f" {self._live.model.golden.tolerance:.3g} is allowed."
        )
        if lost:
            message += f" Which column does it is not looked for: it has more than {_WIDEST}."
        return Finding("self_check_differs", message, rows=tuple(bad[:10]), count=len(bad))


class Words(NamedTuple):
    """What a model's golden rows are called, and since when their scores are known."""

    rows: str
    when: str


def words_of(model: LoadedModel) -> Words:
    """Return how to speak of a model's golden rows: of one that came without, nobody knows what training saw."""
    if model.parts.source == "training":
        return Words("Rows of training", "in training")
    return Words("Its example rows" if model.parts.source == "example" else "Rows of zeros", "when it was opened")


def _same(sent: object, found: object) -> bool:
    """Return whether a value is what was sent: to 32 bits, and a missing one still missing."""
    if isinstance(sent, (int, float)) and isinstance(found, (int, float)):
        both_missing = sent != sent and found != found  # noqa: PLR0124 - NaN
        return both_missing or math.isclose(sent, found, rel_tol=1e-6, abs_tol=1e-37)
    if sent is None:
        return found is None or found != found or found == ""  # noqa: PLR0124 - NaN
    return sent == found or str(sent) == found


def _odds(score: float) -> float:
    return math.log(score / (1 - score)) if _SURE < score < 1 - _SURE else math.nan
