"""Scoring files: a model version reads tables and writes its answers, each row once, however often it is killed.

Nothing of it is an operation: it reads and writes files where it runs, so it is a verb of the command line over a
workspace's folder (docs/decisions/0010-moving-is-done-where-the-files-are.md). What it did is an event, `batch.scored`,
whose record names model, inputs and outputs by digest; that and the outputs are the record of these answers, which are
not in the prediction log.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from interlock.core.errors import Conflict, Invalid
from interlock.core.ids import new_id
from interlock.deploy.batch_folder import OutputFolder, check_free, peek
from interlock.deploy.batch_inputs import check_unchanged, count_rows, identify, schema_of, sources
from interlock.deploy.batch_records import BATCH_ROWS, FORMATS, Options, Part, Plan, Preview, Report, Watch
from interlock.deploy.batch_work import Work, check_kept, output_columns
from interlock.registry.service import RegistryService
from interlock.serve.release import versions
from interlock.serve.tables import open_table

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from interlock.core.ports import Transaction
    from interlock.store import Store

EVENT = "batch.scored"
_LIBRARIES = ("interlock", "onnxruntime", "numpy")
_PAGE = 1000


class Batch:
    """Files that a model version shall score.

    Args:
        store: the workspace.
        model: the version, such as model:credit@champion.
        inputs: files, or folders of files.
        options: how.

    Raises:
        NotFound: there is no such version or file.
        Invalid: a file does not have the columns that the model takes, an option is out of range, or no file of the
            version can answer.
        Denied: only the version's original could answer.
        Conflict: two columns of the output would have one name.

    Cost: loads the model, and reads what files say of themselves.
    """

    def __init__(
        self, store: Store, model: str, inputs: Sequence[str | os.PathLike[str]], options: Options | None = None
    ) -> None:
        self._store = store
        self.options = options or Options()
        _check(self.options)
        self.version = RegistryService(store).version(model)
        self.sources = sources(inputs)
        self.model = open_table(store.objects, self.version.ref, self.version.bundle)
        self.columns = output_columns(self.model, self.options.carried)
        schemas = {}
        for source in self.sources:
            schema = schemas[str(source.path)] = schema_of(source)
            try:
                self.model.check(schema, text=source.text)
            except Invalid as error:
                raise Invalid(
                    f"{source.path.name}: {error.message}", about="table", hint=error.hint, findings=error.findings
                ) from None
        check_kept(self.options.carried, schemas, self.options.format)

    def preview(self, output: Path) -> Preview:
        """Return what `run` would do; nothing is written.

        Raises:
            Conflict: the folder holds other files.
        """
        check_free(output)
        _, done = peek(output)
        names = tuple(source.path.name for source in self.sources)
        return Preview(self.version.ref, names, self._rows(), tuple(self.columns), done)

    def run(
        self, output: Path, *, watch: Watch | None = None, batch_rows: int = BATCH_ROWS, restart: bool = False
    ) -> Report:
        """Return what came of it, after all of it is on disk and in the ledger.

        What an earlier call with the same arguments has done is checked, not done again.

        Args:
            output: the folder that is written; new, empty, or one in which this was begun.
            watch: is told how it goes.
            batch_rows: how many rows are read and scored at a time.
            restart: throw away what was begun there.

        Raises:
            Conflict: something else was begun there, another process is at it, or a file changed meanwhile.
            Invalid: a row is refused and the options say `fail`; a file cannot be read. Nothing is published.
            Unavailable: the model's answers are no probabilities, or the disk does not take them.
            Corrupt: a part that was done is not as it was written.
        """
        if batch_rows < 1:
            raise Invalid(f"{batch_rows} rows at a time are too few.", about="batch")
        watch = watch or Watch()
        with OutputFolder(output) as folder:
            if restart:
                folder.restart()
            with ThreadPoolExecutor(1, "plan") as pool:
                agreed = pool.submit(self._agree, folder)
                if folder.plan() is not None or folder.done() is not None:
                    agreed.result()  # what is there must be the same before anything is done with it
                done = folder.parts()
                finished = folder.done()
                if finished is not None:
                    return finished
                report = self._work(agreed.result, folder, done, watch, batch_rows)
            report = msgspec.structs.replace(report, event=self._record(agreed.result(), report))
            folder.publish(report)
            return report

    def _agree(self, folder: OutputFolder) -> Plan:
        """Return the plan of a folder, which is written now where nothing was begun.

        Raises:
            Conflict: something else was begun.
        """
        with ThreadPoolExecutor(4, "digest") as pool:
            inputs = tuple(pool.map(identify, self.sources))
        events = self._store.ledger.events(limit=1, newest=True)
        plan = Plan(
            id=new_id(),
            workspace=self._store.identity.id,
            model=self.version.ref,
            bundle=self.version.bundle,
            inputs=inputs,
            options=self.options,
            runtime={name: version for name, version in versions().items() if name in _LIBRARIES} | _polars(),
            after=events[0].index if events else -1,
        )
        held = folder.plan()
        if held is None:
            folder.begin(plan)
            return plan
        if different := _differences(held, plan):
            done = folder.done() is not None
            raise Conflict(
                f"Something else was {'scored into' if done else 'begun in'} {str(folder.path)!r}:"
                f" {'; '.join(different)}.",
                about="folder",
                hint="It is finished and stays as it is: write to another folder with --output."
                if done
                else "Write to another folder, or throw away what was begun with --restart.",
            )
        if held.options != plan.options:  # what is done had no bad row, so it is the same under either rule
            held = msgspec.structs.replace(held, options=plan.options)
            folder.begin(held)
        return held

    def _work(
        self, agreed: Callable[[], Plan], folder: OutputFolder, done: list[Part], watch: Watch, batch_rows: int
    ) -> Report:
        work = Work(agreed, self.options, self.model, folder, watch, batch_rows)
        watch.expects(self._rows())
        resumed = sum(part.taken for part in done)
        if resumed:
            watch.took(resumed, resumed=True)
        parts: list[Part] = []
        try:
            for number, source in enumerate(self.sources):
                parts += work.run(number, source, [part for part in done if part.input == number])
                check_unchanged(source)
        finally:
            watch.ended()
        plan = agreed()
        return Report(
            id=plan.id,
            model=plan.model,
            bundle=plan.bundle,
            inputs=plan.inputs,
            rows=sum(part.taken for part in parts),
            written=sum(part.rows for part in parts),
            refused=sum(part.refused for part in parts),
            resumed=resumed,
            parts=tuple(parts),
            event=-1,
        )

    def _record(self, plan: Plan, report: Report) -> int:
        """Return the index of the event that says what was done; it is written once, however often this is called."""
        after = plan.after
        while page := self._store.ledger.events(after, (EVENT,), plan.model, _PAGE):
            for event in page:
                if event.data is not None and event.data["batch"] == plan.id:
                    return event.index
            after = page[-1].index
        record = self._store.objects.put(msgspec.json.encode((plan, report.parts)))
        data = {
            "batch": plan.id,
            "bundle": plan.bundle,
            "inputs": [given.digest for given in plan.inputs],
            "outputs": [part.digest for part in report.parts],
            "rows": report.written,
            "refused": report.refused,
            "record": record,
        }

        def change(tx: Transaction) -> int:
            return self._store.ledger.append(tx, "batch.scored", plan.model, data)

        return self._store.database.write(change)

    def _rows(self) -> int | None:
        counts = [count_rows(source) for source in self.sources]
        return None if None in counts else sum(filter(None, counts))


def _check(options: Options) -> None:
    if options.part_rows < 1:
        raise Invalid(f"Parts of {options.part_rows} rows are too small.", about="batch")
    if options.format not in FORMATS:
        raise Invalid(f"There is no format {options.format!r}.", about="batch", hint=f"Known: {', '.join(FORMATS)}.")
    if options.bad_rows not in {"fail", "null", "skip"}:
        raise Invalid(f"Bad rows cannot be {options.bad_rows!r}.", about="batch", hint="Say fail, null or skip.")


def _polars() -> dict[str, str]:
    import polars as pl

    return {"polars": pl.__version__}


def _differences(held: Plan, wanted: Plan) -> list[str]:
    found = []
    if (held.model, held.bundle, held.workspace) != (wanted.model, wanted.bundle, wanted.workspace):
        found.append(f"the model was {held.model}" + (" of another workspace" if held.model == wanted.model else ""))
    if held.inputs != wanted.inputs:
        names = ", ".join(given.name for given in held.inputs[:5])
        found.append(f"the files were {names}{' and more' if len(held.inputs) > 5 else ''}, as they were then")
    for name in ("keep", "id_column", "format", "part_rows", "bad_rows"):
        before, now = getattr(held.options, name), getattr(wanted.options, name)
        if before != now and not (name == "bad_rows" and before == "fail"):
            found.append(f"{name} was {before!r}")
    for name, version in held.runtime.items():
        if wanted.runtime.get(name) != version:
            found.append(f"{name} was {version}")
    return found
