"""Moves of versions along their life cycle, each an event, in the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from interlock.core.clock import to_micros
from interlock.core.errors import Conflict, Denied
from interlock.core.refs import Ref
from interlock.registry.aliases import EARNED, TRUSTED, AliasBook
from interlock.registry.lifecycle import Stage, check_move
from interlock.registry.reading import model_of, row_of

if TYPE_CHECKING:
    from interlock.core.ports import Transaction
    from interlock.store import Store


class Stages:
    """Where versions stand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._aliases = AliasBook(store)

    def by_hand(self, tx: Transaction, ref: Ref, stage: Stage, reason: str) -> None:
        """Move a version because somebody says so: back to development, or into retirement.

        Raises:
            Denied: the stage has to be earned.
            Conflict: the version answers in a deployment, or the life cycle does not know this move.
        """
        if stage not in {"development", "retired"}:
            raise Denied(
                f"Nobody moves a version to {stage!r} by hand.",
                about="model_version",
                hint="`interlock audit check` validates, `interlock audit approve` approves,"
                " `interlock deploy` deploys.",
            )
        row = row_of(tx, ref)
        if row["stage"] == "deployed":
            raise Conflict(
                f"model:{row['model']}@{row['version']} answers in a deployment.",
                about="model_version",
                hint="Deploy another version or roll back first.",
            )
        self.advance(tx, Ref("model", row["model"], row["version"]), stage, reason)

    def advance(self, tx: Transaction, ref: Ref, stage: Stage, reason: str) -> None:
        """Move a version; one that stands there already stays.

        One that is retired is champion or challenger no more; in a model with gates, so is one that is neither approved
        nor deployed any more.

        Raises:
            NotFound: there is no such version.
            Conflict: the life cycle does not know this move, the version is archived, or its files rest outside.
        """
        row = row_of(tx, ref)
        origin: Stage = msgspec.convert(row["stage"], Stage)
        if origin == stage:
            return
        check_move(origin, stage)
        name = str(Ref("model", row["model"], row["version"]))
        if row["archived_at"] is not None:
            raise Conflict(
                f"{name} is archived.", about="model_version", hint=f"Run `interlock registry restore {name}` first."
            )
        if not row["bundle"] and stage not in {"development", "retired"}:
            raise Conflict(
                f"{name} is not pinned: its files rest outside, so nobody can say what would be {stage}.",
                about="model_version",
                hint="Register a version whose files are kept here.",
            )
        tx.run(
            "UPDATE model_versions SET stage = :stage, stage_reason = :reason, stage_at = :at"
            " WHERE model = :model AND version = :version",
            {
                "stage": stage,
                "reason": reason,
                "at": to_micros(self._store.clock.now()),
                "model": row["model"],
                "version": row["version"],
            },
        )
        data = {"origin": origin, "stage": stage, "reason": reason}
        self._store.ledger.append(tx, "model_version.moved", name, data)
        gated = model_of(tx, row["model"], archived=True).gated
        if stage == "retired" or (stage not in TRUSTED and (origin in TRUSTED or gated)):
            self._aliases.drop_all(tx, row["model"], row["version"], EARNED)
