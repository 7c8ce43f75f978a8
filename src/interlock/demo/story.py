"""The story that the demo tells, part by part.

Every part looks first what has happened already, so a demo that was stopped in the middle goes on where it was.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from interlock.core.errors import Invalid, NotFound
from interlock.data.service import DataService
from interlock.demo import people
from interlock.demo.client import Client, send_month
from interlock.demo.tables import gates_table, life_table
from interlock.monitor.records import NO_VERDICT

if TYPE_CHECKING:
    from pathlib import Path

    from interlock.demo.people import Month
    from interlock.demo.screen import Screen
    from interlock.monitor.records import WindowReport
    from interlock.registry.service import ModelVersion
    from interlock.sdk import Workspace

NAME = "employment"
_BEGIN = datetime(2016, 1, 1, tzinfo=UTC)


class Story:
    """One telling of the story.

    Args:
        workspace: the example's workspace, on this machine.
        folder: the example's folder.
        screen: where it is told.
        count: how many people come in a month.
    """

    def __init__(self, workspace: Workspace, folder: Path, screen: Screen, count: int = people.PEOPLE) -> None:
        self.ws = workspace
        self.folder = folder
        self.screen = screen
        self.count = count
        self._said = "keep"

    def data(self) -> None:
        """Ingest 2015, ages 18-54; show that a corrupted file is refused."""
        say = self.screen.line
        self.screen.title("1. Data: census records of 2015, ages 18-54")
        for change in self.ws.loop.apply():
            say(f"{change.action} {change.what}: {change.detail}")
        version = self.ws.data.version("data:people@1")
        contract = self.ws.data.contract("people")
        age = next(rule for rule in contract.columns if rule.name == "AGEP")
        say(
            f"{version.ref}: {version.rows} rows, {len(version.columns)} columns, digest {version.digest[:16]}",
            mark="+",
        )
        told = {column.name: column for column in self.ws.data.profile(version.ref).columns}
        say(
            f"its profile: {sum(c.nulls for c in told.values())} empty cells; AGEP {told['AGEP'].minimum:g} to"
            f" {told['AGEP'].maximum:g}, mean {told['AGEP'].mean:.1f}; SCHL {told['SCHL'].distinct} codes; employed"
            f" {told['employed'].mean:.1%}"
        )
        say(
            f"its contract: {len(contract.columns)} columns;"
            f" for instance AGEP {age.kind} in {age.minimum:g}..{age.maximum:g}"
        )
        broken = self.folder / "data" / "corrupted.parquet"
        people.corrupted(DataService(self.ws.store).frame("data:people@1")).write_parquet(broken)
        try:
            self.ws.data.ingest("people", [broken])  # type: ignore[list-item] # a workspace stores the path's bytes first
        except Invalid as error:
            say(f"a corrupted file is refused: {error.message}", mark="!")
            for finding in error.findings:
                rows = f" (rows {', '.join(map(str, finding.rows))})" if len(finding.rows) == finding.count else ""
                say(f"{finding.rule}: {finding.message}{rows}")
        say(f"data:people still has {self.ws.data.show('people').versions} version")

    def first_candidate(self) -> None:
        """Train with SEX and RAC1P; the gate stops it."""
        self.screen.title("2. Train: a gradient-boosted classifier, the pipeline of pipeline.py")
        version = self._candidate(1, {"use_sensitive": "true"})
        run = self.ws.track.run(version.run)
        say = self.screen.line
        say(f"{run.ref}: {run.status} in {(run.ended_at or run.started_at) - run.started_at}", mark="+")
        say(
            f"params {', '.join(f'{k}={v}' for k, v in sorted(run.params.items()) if k != 'inputs')};"
            f" ROC AUC {run.metrics['roc_auc']:.3f} on people it has not seen"
        )
        say(
            f"kept with it: {', '.join(run.inputs)}, code {run.code[:12]}, environment {run.environment[:12]},"
            f" {len(run.artifacts)} artifacts, log {self.ws.track.logs(run.ref, 'trained on')!r}"
        )
        self.screen.title("3. Register and gate")
        self._gates(version.ref)

    def second_candidate(self) -> None:
        """Train without them; all gates pass, and it waits for an approval."""
        version = self._candidate(2, {})
        self._gates(version.ref)
        if version.stage == "validated":
            self.turn(_BEGIN)
            self.screen.line(f"{version.ref} waits for an approval", mark="!")

    def approve(self) -> None:
        """Approve as the demo's user; a server comes up."""
        self.screen.title("4. Approve and deploy")
        ref = f"model:{NAME}@2"
        if self.ws.registry.version(ref).stage == "validated":
            self.ws.audit.approve(ref, "reviewed the gate report")
        for approval in self.ws.registry.approvals(ref):
            self.screen.line(
                f"approved by {approval.actor}, bound to bundle {approval.bundle[:12]} and report"
                f" {approval.report[:12]}",
                mark="+",
            )
        with self.screen.busy("golden requests in a fresh process, then a server ..."):
            self.turn(_BEGIN)
        found = self.ws.deploy.show(NAME)
        routes = ", ".join(f"{route.model} {route.weight:.0%}" for route in found.routes)
        self.screen.line(
            f"deployment:{NAME} revision {found.revision} answers on {found.url} (process {found.pid}): {routes}",
            mark="+",
        )

    def live(self, year: int, title: str) -> None:
        """Live through one year: people come, windows close, labels arrive a month later."""
        self.screen.title(title)
        months = people.months()
        done = len(self.ws.store.ledger.events(kinds=("labels.joined",)))
        for number, month in enumerate(months):
            if month.year == year and number >= done:
                self._month(month, months[number - 1] if number else None)

    def last_labels(self) -> None:
        """Bring the labels of the last month, and take a last turn."""
        month = people.months()[-1]
        self._label(month)
        self.turn(datetime(2019, 2, 1, tzinfo=UTC))
        self.screen.line(self._quality(month))

    def replay(self) -> None:
        """Show what the first model would have scored on the requests of 2018."""
        old = self.ws.monitor.replay(NAME, f"model:{NAME}@2", "2018-01-01", "2019-01-01")
        if old.logged and old.replayed:
            self.screen.line(
                f"all of 2018, {old.labels} labelled requests: ROC AUC {old.logged.value:.3f} as answered;"
                f" {old.model} replayed on the same requests: {old.replayed.value:.3f}; {old.flips} decisions differ",
                mark="+",
            )

    def prove(self) -> None:
        """Walk from one answer of 2017 back to everything behind it, and verify the ledger."""
        self.screen.title("9. Prove it")
        since, until = (int(datetime(2017, month, 1, tzinfo=UTC).timestamp() * 1e6) for month in (2, 3))
        ident = next(iter(self.ws.store.predictions.rows(NAME, since, until))).id
        self.screen.line(f"$ interlock why prediction:{ident}")
        answer = self.ws.loop.why(f"prediction:{ident}")
        for link in answer.links:
            self.screen.line(f"{link.what:<13} {link.ref}: {link.detail} [{link.checked}]")
        self.screen.line("$ interlock ledger verify")
        found = self.ws.ledger.verify()
        self.screen.line(
            f"{'every byte is as it was written' if found.ok else 'NOT SOUND'}: {found.entries} entries,"
            f" {found.checkpoints} signed checkpoints, root {found.root[:16]}",
            mark="+" if found.ok else "!",
        )

    def life(self) -> None:
        """Print the table of the life."""
        self.screen.title("The life of model:employment")
        self.screen.table(life_table(self.ws, NAME))

    def turn(self, until: datetime) -> None:
        """Take one turn of the loop, and tell what it did."""
        done = self.ws.loop.turn(until.isoformat())
        for decision in done.decisions:
            self.screen.line(decision, mark="+")
        self._verdict()
        if any(job.startswith("retrain") and ": done" in job for job in done.jobs):
            self.screen.title("7. Retrain: the alarm starts the pipeline by itself")
        for job in done.jobs:
            self.screen.line(job, mark="+" if ": done" in job else "!")

    def _month(self, month: Month, before: Month | None) -> None:
        """Let a month's people come, then the labels of the month before; take a turn after each."""
        rows = people.arrivals(self.folder, month, self.count)
        sent = self.ws.store.predictions.request_ids(NAME)
        client = Client(self._url(), NAME, self.folder / "answers.jsonl")
        with self.screen.progress(month.name, rows.height) as tick:
            send_month(client, month, rows, sent, tick)
        client.close()
        self.turn(month.end)
        text = self._window(month)
        if before is not None:
            self._label(before)
            self.turn(month.end)
            text += f"; {self._quality(before)}"
        self.screen.line(text)

    def _label(self, month: Month) -> None:
        path = self.folder / "data" / f"labels-{month.name}.parquet"
        people.as_labels(people.arrivals(self.folder, month, self.count)).write_parquet(path)
        self.ws.monitor.label(NAME, path)  # type: ignore[arg-type] # a workspace stores the path's bytes first

    def _window(self, month: Month) -> str:
        """Return what a month's people looked like to the monitor."""
        found = self._reports(month)
        scored = " and ".join(f"{r.predictions} by {r.model.rpartition(':')[2]}" for r in found)
        drifted = [d.reason for r in found for d in r.drifts if d.severity == "alarm"]
        more = f" (and {len(drifted) - 2} more columns)" if len(drifted) > 2 else ""
        return f"{month.name}: scored {scored}; {'; '.join(drifted[:2]) + more if drifted else 'no drift'}"

    def _quality(self, month: Month) -> str:
        """Return how good the answers of a month were, now that its labels are there."""
        parts = []
        for report in self._reports(month):
            if report.realised:
                expected = (
                    "no estimate"
                    if report.distrust or not report.estimated
                    else f"{report.estimated.value:.3f} estimated"
                )
                parts.append(f"ROC AUC {report.realised.value:.3f} ({expected})")
        return f"labels of {month.name}: {', '.join(parts)}"

    def _reports(self, month: Month) -> list[WindowReport]:
        return [report for report in self.ws.monitor.windows(NAME) if report.window == month.name]

    def _verdict(self) -> None:
        """Say what the monitor says, when it says something new."""
        found = self.ws.monitor.show(NAME)
        if found.verdict not in {self._said, NO_VERDICT}:
            self._said = found.verdict
            reason = found.reason or f"{found.model} is watched from the next window on"
            self.screen.line(f"verdict {found.verdict!r}: {reason}", mark="+" if found.verdict == "keep" else "!")

    def _url(self) -> str:
        found = self.ws.deploy.show(NAME)
        return found.url if found.live else self.ws.deploy.start(NAME).url

    def _candidate(self, number: int, args: dict[str, str]) -> ModelVersion:
        try:
            found = self.ws.registry.version(f"model:{NAME}@{number}")
        except NotFound:
            with self.screen.busy("training ..."):
                return self.ws.loop.candidate("train", args)
        if found.stage == "registered":  # the demo was stopped before its gates could judge it
            self.ws.audit.check(found.ref)
        return self.ws.registry.version(found.ref)

    def _gates(self, ref: str) -> None:
        for mark, text in gates_table(self.ws.audit.report(ref)):
            self.screen.line(text, mark=mark)
        version = self.ws.registry.version(ref)
        self.screen.line(f"{ref} is {version.stage!r}", mark="!" if version.stage == "development" else "+")
