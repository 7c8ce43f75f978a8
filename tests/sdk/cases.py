"""The calls that tests/sdk/test_local_remote.py makes both ways: at least one for every operation of every service.

A case is an operation and its arguments, or a function that makes them from what happened before. Cases run in this
order, as one story: calls that write run on two workspaces that began alike, one in a folder, one behind a server;
calls that read run both ways on the same workspace. What is refused belongs here too. (Unknown, missing and mistyped
arguments need no cases: they are tried on every operation anyway.)

To add a service: one `Case("service.operation", {...})` for each operation, below.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from interlock.store.segments import pack


class Past:
    """What happened before on one side.

    Attributes:
        folder: a folder with files for operations that take some.
        bundle: the digest of a bundle that both workspaces hold.
        results: the results so far of each operation, in order; errors are left out.
    """

    def __init__(self, folder: Path, bundle: str) -> None:
        self.folder = folder
        self.bundle = bundle
        self.results: dict[str, list[Any]] = {}

    def last(self, operation: str) -> Any:
        """Return the newest result of an operation."""
        return self.results[operation][-1]


POLICY = {
    "metrics": [{"measure": "roc_auc", "operator": ">=", "threshold": 0.6}],
    "approvals": 1,
    "target": "employed",
    "id": "person",
}


DELIVERY = {
    "writer": "w",
    "number": 1,
    "segments": {"loss": pack([2, 3], [10, 20], [1.5, 1.25])},
    "params": {"late": "x"},
    "log": "printed\n",
    "inputs": ["data:people@1"],
}


class Case(NamedTuple):
    """One call: `arguments` are given, or made from the past of its side; None are none."""

    operation: str
    arguments: dict[str, Any] | Callable[[Past], dict[str, Any]] | None = None


def answers(past: Past, people: str, month: int, deployment: str = "d", model: str = "m@1") -> dict[str, Any]:
    """Return the arguments that let a version answer for the people of a file."""
    return {"people": past.folder / people, "deployment": deployment, "model": model, "month": month}


def signed(past: Past) -> dict[str, Any]:
    """Return the arguments that check the newest signature of model-signing."""
    made = past.last("registry.sign")
    return {"version": made.version, "signature": made.signature, "key": made.key}


CASES: list[Case] = [
    # notes: the example service of these tests
    Case("notes.add", lambda past: {"title": "first", "files": [past.folder / "people.csv"]}),
    Case("notes.add", lambda past: {"title": "first", "files": []}),
    Case("notes.add", lambda past: {"title": "missing", "files": [past.folder / "poeple.csv"]}),
    Case("notes.add", lambda past: {"title": "folder", "files": [str(past.folder)]}),
    Case(
        "notes.add",
        lambda past: {
            "title": "all \u00e4\u4e2d",
            "files": (str(past.folder / "people.csv"), past.folder / "empty.csv"),
            "stars": 5,
            "weight": 0.25,
            "done": True,
            "tags": ["a", "b"],
            "facts": {"deep": {"list": [1, 2.5, None, "x"]}},
            "mood": "bad",
            "place": {"city": "Bern", "floor": 2},
            "cover": past.folder / "empty.csv",
        },
    ),
    Case("notes.add", {"title": "many", "files": [], "stars": 9}),
    Case("notes.add", {"title": "mood", "files": [], "mood": "ugly"}),
    Case("notes.add", {"title": "lie", "files": [{"name": "x", "digest": "0" * 64, "size_bytes": 1}]}),
    Case("notes.add", {"title": "traversal", "files": [{"name": "../x", "digest": "../../x", "size_bytes": 1}]}),
    Case("notes.notes"),
    Case("notes.notes", {"limit": 1}),
    Case("notes.notes", {"limit": 10**17, "tag": "a"}),
    Case("notes.notes", {"limit": 10**25}),
    Case("notes.get", {"title": "first"}),
    Case("notes.get", {"title": "frist"}),
    Case("notes.get", lambda past: {"title": past.last("notes.add").title}),
    Case("notes.count"),
    Case("notes.nothing"),
    Case("notes.who"),
    Case("notes.echo"),
    Case(
        "notes.echo", {"value": (1, (2, "x")), "numbers": [1, 2.5, float("nan")], "pairs": {"a": "b"}, "version": "v"}
    ),
    Case("notes.echo", {"value": "a\x00b\x1b[31m"}),
    Case("notes.echo", {"value": "\ud800"}),
    Case("notes.echo", {"value": object()}),
    Case("notes.limits"),
    Case("notes.proofread", {"titles": ["a", ""]}),
    Case("notes.need", {"module": "json"}),
    Case("notes.size", lambda past: {"file": past.folder / "people.csv"}),
    Case("notes.fail", {"how": "NotFound"}),
    Case("notes.fail", {"how": "Conflict"}),
    Case("notes.fail", {"how": "Invalid"}),
    Case("notes.fail", {"how": "Denied"}),
    Case("notes.fail", {"how": "GateClosed"}),
    Case("notes.fail", {"how": "MissingExtra"}),
    Case("notes.fail", {"how": "Corrupt"}),
    Case("notes.fail", {"how": "Error"}),
    Case("notes.break_off"),
    Case("notes.notes"),
    # ledger
    Case("ledger.events"),
    Case("ledger.events", {"after": 0, "limit": 1}),
    Case("ledger.events", {"kinds": ["experiment.created"]}),
    Case("ledger.events", {"kinds": ["experiment.craeted"]}),
    Case("ledger.events", {"limit": 0}),
    Case("ledger.event", {"index": 0}),
    Case("ledger.event", {"index": 10**9}),
    Case("ledger.proof", {"index": 0}),
    Case("ledger.proof", {"index": -1}),
    Case("ledger.checkpoint"),
    Case("ledger.growth", {"size": 1}),
    Case("ledger.growth", {"size": 10**9}),
    Case("ledger.erase", {"index": 0, "reason": " "}),
    Case("ledger.erase", {"index": 0, "reason": "asked for"}),
    Case("ledger.erase", {"index": 0, "reason": "asked for"}),
    Case("ledger.event", {"index": 0}),
    Case("ledger.proof", {"index": 0}),
    Case("ledger.verify"),
    # data
    Case("data.declare", {"name": "people", "declaration": {"id": "person", "target": "employed"}}),
    Case("data.declare", {"name": "no/name", "declaration": {}}),
    Case("data.contract", {"name": "people"}),
    Case("data.ingest", lambda past: {"name": "people", "files": [past.folder / "people.csv"]}),
    Case("data.ingest", lambda past: {"name": "people", "files": [past.folder / "people.csv"], "where": "age > 100"}),
    Case("data.ingest", lambda past: {"name": "people", "files": [past.folder / "people.csv"], "where": "agee >"}),
    Case("data.ingest", lambda past: {"name": "people", "files": [past.folder / "strange.csv"]}),
    Case("data.ingest", lambda past: {"name": "people", "files": [past.folder / "empty.csv"]}),
    Case("data.ingest", {"name": "people", "files": []}),
    Case("data.validate", lambda past: {"name": "people", "files": [past.folder / "strange.csv"]}),
    Case("data.validate", lambda past: {"name": "poeple", "files": [past.folder / "strange.csv"]}),
    Case("data.list"),
    Case("data.show", {"name": "people"}),
    Case("data.show", {"name": "poeple"}),
    Case("data.version", {"ref": "data:people@1"}),
    Case("data.version", {"ref": "people@latest"}),
    Case("data.version", {"ref": "data:people@9"}),
    Case("data.version", {"ref": "model:people"}),
    Case("data.versions", {"name": "people"}),
    Case("data.profile", {"ref": "people"}),
    Case("data.contract", {"name": "people"}),
    # track
    Case("track.start", {"start": {"experiment": "trees", "name": "one", "params": {"depth": "3"}}}),
    Case("track.start", {"start": {"experiment": "no/name"}}),
    Case("track.start", {"start": {"name": "nowhere"}}),
    Case("track.log", lambda past: {"run": past.last("track.start").id, "params": {"depth": "3"}, "tags": {"a": "b"}}),
    Case("track.log", lambda past: {"run": past.last("track.start").id, "params": {"depth": "4"}}),
    Case("track.log_metrics", lambda past: {"run": past.last("track.start").ref, "values": {"loss": 0.5}, "step": 1}),
    Case("track.log_metrics", lambda past: {"run": past.last("track.start").ref, "values": {"loss": float("nan")}}),
    Case(
        "track.log_artifact",
        lambda past: {"run": past.last("track.start").id, "path": "data/people", "file": past.folder / "people.csv"},
    ),
    Case(
        "track.log_artifact",
        lambda past: {"run": past.last("track.start").id, "path": "../people", "file": past.folder / "people.csv"},
    ),
    Case("track.run", lambda past: {"run": past.last("track.start").id}),
    Case("track.run", {"run": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}),
    Case("track.metric", lambda past: {"run": past.last("track.start").id, "name": "loss"}),
    Case("track.metric", lambda past: {"run": past.last("track.start").id, "name": "los"}),
    Case("track.logs", lambda past: {"run": past.last("track.start").id, "contains": "x"}),
    Case("track.finish", lambda past: {"run": past.last("track.start").id, "status": "failed", "reason": "why not"}),
    Case("track.finish", lambda past: {"run": past.last("track.start").id}),
    Case("track.finish", lambda past: {"run": past.last("track.start").id, "status": "lost"}),
    Case("track.resume", lambda past: {"run": past.last("track.start").id}),
    Case("track.resume", {"run": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}),
    Case("track.deliver", lambda past: {"run": past.last("track.start").id, "delivery": DELIVERY}),
    Case("track.deliver", lambda past: {"run": past.last("track.start").id, "delivery": DELIVERY}),
    Case(
        "track.deliver",
        lambda past: {
            "run": past.last("track.start").id,
            "delivery": {"writer": "w", "number": 2, "segments": {"x": b"no segment"}},
        },
    ),
    Case("track.run", lambda past: {"run": past.last("track.start").id}),
    Case("track.logs", lambda past: {"run": past.last("track.start").id}),
    Case("track.delete", lambda past: {"run": past.last("track.start").id}),
    Case("track.log", lambda past: {"run": past.last("track.start").id, "tags": {"a": "c"}}),
    Case("track.search", {"deleted": True}),
    Case("track.restore", lambda past: {"run": past.last("track.start").id}),
    Case("track.search", {"filter": "metrics.loss < 2 and params.depth >= 3", "order_by": ["metrics.loss DESC"]}),
    Case("track.search", {"filter": "metrics.loss <"}),
    Case("track.search", {"experiments": ["tress"]}),
    Case("track.search", {"page_token": "garbage"}),
    Case("track.start", {"start": {"experiment": "trees", "name": "two", "params": {"depth": "9"}}}),
    Case("track.compare", lambda past: {"runs": [run.id for run in past.results["track.start"][:2]]}),
    Case("track.compare", lambda past: {"runs": [past.last("track.start").id]}),
    Case("track.runs"),
    Case("track.runs", {"experiment": "nothing", "limit": 1}),
    Case("track.experiments"),
    # train
    Case("train.run", {"entry": "pipeline:twice", "args": {"number": 21}, "experiment": "sums"}),
    Case("train.steps", lambda past: {"run": past.last("train.run").id}),
    Case("train.steps", {"run": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}),
    Case("train.run", {"entry": "pipeline:twcie"}),
    Case("train.run", {"entry": "pipeline:twice", "args": {"numbre": 1}}),
    Case("train.run", {"entry": "os:system", "args": {"command": "true"}}),
    # registry, before there is a model
    Case("registry.register", lambda past: {"model": "m", "run": past.last("track.start").id, "bundle": "0" * 64}),
    Case(
        "registry.register",
        lambda past: {
            "model": "m",
            "run": past.last("track.start").id,
            "bundle": past.last("track.log_artifact").digest,
        },
    ),
    Case("registry.move", {"version": "model:m@1", "stage": "retired", "reason": "old"}),
    Case("registry.move", {"version": "model:m@1", "stage": "sold", "reason": "old"}),
    Case("registry.alias", {"model": "m", "alias": "staging", "version": 1}),
    Case("registry.approvals", {"version": "model:m@1"}),
    Case("registry.version", {"version": "m@champion"}),
    Case("registry.version", {"version": "data:m@1"}),
    Case("registry.versions", {"model": "m"}),
    Case("registry.model", {"model": "m"}),
    Case("registry.models"),
    Case("registry.bundle", {"version": "m"}),
    # registry, with a model
    Case("registry.register", lambda past: {"model": "m", "run": past.last("track.start").id, "bundle": past.bundle}),
    Case("registry.register", lambda past: {"model": "m", "run": past.last("track.start").id, "bundle": past.bundle}),
    Case("registry.alias", {"model": "m", "alias": "champion", "version": 1}),
    Case("registry.alias", {"model": "m", "alias": "staging", "version": 1}),
    Case("registry.alias", {"model": "m", "alias": "latest", "version": 1}),
    Case("registry.move", {"version": "m@staging", "stage": "approved", "reason": "please"}),
    Case("registry.version", {"version": "m@staging"}),
    Case("registry.version", {"version": "m@stagign"}),
    Case("registry.versions", {"model": "m"}),
    Case("registry.model", {"model": "m"}),
    Case("registry.models"),
    Case("registry.bundle", {"version": "m@1"}),
    Case(  # a second version, of a run whose environment is known
        "registry.register",
        lambda past: {
            "model": "m",
            "run": past.last("train.run").id,
            "bundle": past.bundle,
            "data": ["data:people@1"],
        },
    ),
    Case("registry.diff", {"left": "m@1", "right": "m@2"}),
    Case("registry.diff", {"left": "m@1", "right": "m@9"}),
    Case("registry.pins", {"version": "m@2"}),
    Case("registry.inspect", {"version": "m@1"}),
    Case("registry.twin", {"version": "m@1"}),
    Case("registry.verify", {"version": "m@1"}),
    Case("registry.verify", {"version": "m@1", "seen": [{"path": "bundle.json", "digest": "0" * 64}]}),
    Case("registry.signature", {"version": "m@1"}),
    Case("registry.sign", {"version": "m@1"}),
    Case("registry.sign", {"version": "m@9"}),
    Case("registry.check_signature", signed),
    Case("registry.check_signature", lambda past: {**signed(past), "version": "m@2"}),
    Case("registry.check_signature", lambda past: {**signed(past), "signature": "{}"}),
    Case("registry.check_signature", lambda past: {**signed(past), "key": "none"}),
    # registry, with files that are sent
    Case("registry.publish", lambda past: {"model": "w", "files": {"deep/people.csv": past.folder / "people.csv"}}),
    Case("registry.publish", lambda past: {"model": "w", "files": {"../people.csv": past.folder / "people.csv"}}),
    Case("registry.publish", lambda past: {"model": "w", "files": {"strange.csv": past.folder / "strange.csv"}}),
    Case("registry.bundle", {"version": "w@1"}),
    Case("registry.tag", {"ref": "model:w", "tags": {"team": "risk"}}),
    Case("registry.tag", {"ref": "w@1", "tags": {"checked": "no", "old": "yes"}, "remove": ["old", "never"]}),
    Case("registry.tag", {"ref": "w@1", "tags": {"": "x"}}),
    Case("registry.describe", {"ref": "w@2", "description": "strange people", "owner": "user:ann"}),
    Case("registry.find", {"wanted": {"tags": {"team": "risk"}, "format": "opaque"}}),
    Case("registry.find", {"wanted": {"text": "STRANGE"}, "limit": 1}),
    Case("registry.find", {"limit": 0}),
    Case("registry.alias", {"model": "w", "alias": "best", "version": 2}),
    Case("registry.rename", {"model": "w", "to": "works"}),
    Case("registry.rename", {"model": "works", "to": "m"}),
    Case("registry.version", {"version": "w@best"}),
    Case("registry.alias_history", {"model": "works"}),
    Case("registry.archive", {"ref": "works@2", "reason": "strange"}),
    Case("registry.archive", {"ref": "works@2"}),
    Case("registry.restore", {"ref": "works@2"}),
    Case("registry.archive", {"ref": "works", "reason": "over"}),
    Case("registry.models", {"archived": True}),
    Case("registry.restore", {"ref": "works"}),
    Case("registry.versions", {"model": "works", "archived": True}),
    # audit, of an environment: a run of ours recorded it, and what is locked is small
    Case(
        "registry.publish",
        lambda past: {
            "model": "light",
            "files": {"people.csv": past.folder / "people.csv"},
            "run": past.last("train.run").id,
        },
    ),
    Case("audit.environment", {"version": "light@1"}),
    Case("audit.environment_text", {"version": "light@1"}),
    Case("audit.prepare", {"version": "light@1"}),
    Case("audit.prepare", {"version": "m@1"}),
    Case("audit.prepare", {"version": "light@1", "packages": ["nothing-of-that-name"]}),
    Case("audit.prepare", {"version": "light@1", "packages": ["msgspec"]}),
    Case("audit.environment", {"version": "light@1"}),
    Case("audit.environment_text", {"version": "light@1"}),
    Case("registry.version", {"version": "light@1"}),
    Case("registry.gc"),
    Case("registry.gc", {"apply": True}),
    # audit
    Case("audit.check", {"version": "m@1"}),
    Case("audit.policy", {"model": "m"}),
    Case("audit.set_policy", {"model": "m", "policy": POLICY}),
    Case("audit.set_policy", {"model": "m", "policy": {"metrics": [{"measure": "roc_auc", "operator": "=="}]}}),
    Case("audit.policy", {"model": "m"}),
    Case("audit.report", {"version": "m@1"}),
    Case("audit.approve", {"version": "m@1"}),
    Case("deploy.deploy", {"name": "d", "model": "m@1"}),
    Case("audit.check", {"version": "m@1"}),
    Case("audit.report", {"version": "m@1"}),
    Case("audit.waive", {"version": "m@1", "gate": "environment", "reason": "known", "until": "2027-01-01"}),
    Case("audit.check", {"version": "m@1"}),
    Case("audit.waive", {"version": "m@1", "gate": "leakage", "reason": "known", "until": "2020-01-01"}),
    Case("audit.waive", {"version": "m@1", "gate": "leek", "reason": "known", "until": "2027-01-01"}),
    Case("audit.refuse", {"version": "m@9", "reason": "no"}),
    Case("audit.approve", {"version": "m@1", "note": "fine"}),
    Case("registry.approvals", {"version": "m@1"}),
    Case("audit.check", {"version": "m@2"}),
    Case("audit.refuse", {"version": "m@2", "reason": "not before it is explained"}),
    Case("audit.approve", {"version": "m@2"}),
    Case("audit.check", {"version": "m@2"}),
    Case("audit.approve", {"version": "m@2", "note": "it is"}),
    # deploy
    Case("deploy.show", {"name": "d"}),
    Case("deploy.deploy", {"name": "d", "model": "m@1", "canary": 0.5}),
    Case("deploy.deploy", {"name": "d", "model": "m@1"}),
    Case("deploy.deploy", {"name": "d", "model": "m@1", "canary": 1.5}),
    Case("deploy.show", {"name": "d"}),
    Case("deploy.deployments"),
    Case("deploy.revisions", {"name": "d"}),
    Case("deploy.promote", {"name": "d"}),
    Case("deploy.rollback", {"name": "d"}),
    Case("deploy.start", {"name": "d"}),
    Case("deploy.start", {"name": "e"}),
    Case("deploy.deploy", {"name": "d", "model": "m@2", "canary": 0.25}),
    Case("deploy.rollback", {"name": "d", "reason": "no gain"}),
    Case("deploy.deploy", {"name": "d", "model": "m@2", "canary": 0.5}),
    Case("deploy.promote", {"name": "d", "reason": "as good"}),
    Case("deploy.rollback", {"name": "d", "reason": "worse after all"}),
    Case("deploy.rollback", {"name": "d"}),
    Case("deploy.revisions", {"name": "d"}),
    Case("deploy.stop", {"name": "d"}),
    Case("deploy.start", {"name": "d"}),
    Case("registry.model", {"model": "m"}),
    # monitor
    Case("monitor.set", {"name": "d", "plan": {"deployment": "d", "id": "person", "target": "employed"}}),
    Case("monitor.set", {"name": "d", "plan": {"deployment": "d", "id": "p", "target": "t", "window": "often"}}),
    Case("monitor.look", {"name": "d"}),
    Case("monitor.watch", {"name": "d", "model": "m@1"}),
    Case("monitor.watch", {"name": "e", "model": "m@1"}),
    Case("monitor.label", lambda past: {"name": "d", "file": past.folder / "people.csv"}),
    Case("monitor.label", lambda past: {"name": "d", "file": past.folder / "strange.csv"}),
    Case("monitor.look", {"name": "d"}),
    Case("monitor.look", {"name": "d", "until": "some day"}),
    Case("monitor.show", {"name": "d"}),
    Case("monitor.show", {"name": "e"}),
    Case("monitor.replay", {"name": "d", "model": "m@1"}),
    # monitor, with answers: a calm month, then one of other people, whose labels show that they do no harm
    Case("notes.answer", lambda past: answers(past, "people.csv", 1)),
    Case("notes.answer", lambda past: answers(past, "apart.csv", 2)),
    Case("monitor.look", {"name": "d", "until": "2026-03-01"}),
    Case("monitor.look", {"name": "d", "until": "2026-03-01"}),
    Case("monitor.label", lambda past: {"name": "d", "file": past.folder / "apart.csv"}),
    Case("monitor.look", {"name": "d", "until": "2026-03-01"}),
    Case("monitor.show", {"name": "d"}),
    Case("monitor.monitors"),
    Case("monitor.windows", {"name": "d"}),
    Case("monitor.prediction", lambda past: {"id": past.last("notes.answer")[0]}),
    Case("monitor.prediction", {"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}),
    Case("monitor.replay", {"name": "d", "model": "m@2", "until": "2026-03-01"}),
    # loop
    Case("loop.turn"),
    Case("loop.plan"),
    Case("loop.apply"),
    Case("loop.apply"),
    Case("loop.turn", {"until": "2026-03-02"}),
    Case("loop.turn", {"until": "some day"}),
    Case("loop.candidate", {"pipeline": "tarin"}),
    Case("loop.jobs"),
    # loop, all the way round: a model is trained, approved and deployed; the world changes; it is replaced
    Case("loop.candidate", {"pipeline": "train", "args": {"people": "data:people@1"}}),
    Case("train.steps", lambda past: {"run": past.last("loop.candidate").run}),
    Case("audit.approve", {"version": "grown@1"}),
    Case("loop.turn"),
    Case("notes.answer", lambda past: answers(past, "older.csv", 2, "g", "grown@1")),
    Case("monitor.label", lambda past: {"name": "g", "file": past.folder / "older.csv"}),
    Case("loop.turn", {"until": "2026-03-02"}),
    Case("loop.turn", {"until": "2026-03-02"}),
    Case("notes.answer", lambda past: answers(past, "older.csv", 3, "g", "grown@2")),
    Case("loop.turn", {"until": "2026-05-01"}),
    Case("loop.why", lambda past: {"ref": f"prediction:{past.last('notes.answer')[0]}"}),
    Case("loop.why", {"ref": "model:grown@champion"}),
    Case("deploy.stop", {"name": "g"}),
    Case("loop.jobs"),
    Case("loop.jobs", {"limit": 1}),
    Case("loop.why", {"ref": "model:m@1"}),
    Case("loop.why", {"ref": "prediction:01ARZ3NDEKTSV4RRFFQ69G5FAV"}),
    Case("loop.why", {"ref": "nothing"}),
    Case("deploy.stop", {"name": "d"}),
    Case("deploy.stop", {"name": "e"}),
    Case("deploy.show", {"name": "d"}),
    Case("audit.refuse", {"version": "m@1", "reason": "after all"}),
    Case("registry.move", {"version": "m@1", "stage": "retired", "reason": "old"}),
    Case("registry.move", {"version": "m@2", "stage": "retired", "reason": "old"}),
    Case("loop.status"),
    Case("ledger.events", {"limit": 10_000}),  # everything that was written down
    Case("ledger.verify"),
]
