"""`Run`: what a training says about itself while it goes on."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import shutil
import traceback
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from msgspec import structs

from interlock.core.errors import Conflict
from interlock.core.ids import new_id
from interlock.sdk.recording import live, shapes, words
from interlock.sdk.recording.console import Lines, stamped
from interlock.sdk.recording.entries import Ended, Filed, Published, Said
from interlock.sdk.recording.opened import unheard
from interlock.sdk.recording.opening import Opening, Plan
from interlock.sdk.recording.outbox import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from interlock.sdk.recording.models import Given
    from interlock.sdk.recording.versions import Made

_SETTLE_S: Final = 30.0


class Run:
    """One run, recorded: `with interlock.run("churn") as run: run.metrics(loss=0.1)`.

    It is a context manager, a decorator (each call of the function is a run), or begun and ended by `start` and
    `finish`. What it is told is on disk a tenth of a second later and at the workspace about a second later.

    Args:
        plan: what it begins with.
    """

    def __init__(self, plan: Plan) -> None:
        self.id = plan.resume or new_id()
        self.resumed = bool(plan.resume)
        self.push: Callable[[Any], None] = self._refuse
        self._plan = plan
        self._opening: Opening | None = None
        self._pid = 0
        self._over = False
        self._said: dict[str, str] = {}
        self._inputs: list[str] = []
        self._lines = Lines()

    @property
    def ref(self) -> str:
        """How to name it: `run:ID`."""
        return f"run:{self.id}"

    @property
    def location(self) -> str:
        """The workspace that it is recorded in."""
        return self._opened.recorder.location

    def for_script(self, script: Path | None, ears: Any) -> None:
        """Let the run, before it begins, be about a script that knows nothing of it.

        Args:
            script: the file that runs, where the process itself does not know; or None.
            ears: what hears what is printed; None: Python's own streams.
        """
        self._plan = structs.replace(self._plan, script=script or self._plan.script, files=True, ears=ears)

    def start(self) -> Self:
        """Return the run, which goes on from now until `finish`.

        Raises:
            NotFound: there is no workspace, or no run to resume.
            Conflict: it was started before.
        """
        if self._opening is not None:
            raise Conflict(f"{self.ref} was started before.", about="run", hint="Make another one with interlock.run.")
        self._pid = os.getpid()
        self._opening = Opening(self, self._plan)
        self.params(self._plan.params)
        return self

    def metrics(self, values: Mapping[str, float] | None = None, /, *, step: int | None = None, **named: float) -> None:
        """Record one point of each metric: `run.metrics(loss=0.1, step=3)` or `run.metrics({"val/loss": 0.1})`.

        Args:
            values: values by name, for names that are no Python words.
            step: their place in the series; without it, the next one of each metric.
            named: values by name.

        Raises:
            Invalid: a value is no number, or a name is no text.
            Conflict: the run is not going on.

        Cost: under a microsecond; the rest is done in a thread.
        """
        if values is not None:
            named = words.numbers({**values, **named})
        for value in named.values():
            if type(value) is not float:
                named = words.numbers(named)
                break
        if step is not None and type(step) is not int:
            step = words.whole(step)
        self.push((self.id, time_ns(), step, named))

    def params(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Record params. A param keeps its first value; those of tables in tables go by `outer.inner`.

        Raises:
            Conflict: one has another value already.
        """
        said = words.texts({**(values or {}), **named}, "param")
        for name, value in said.items():
            if self._said.get(name, value) != value:
                raise Conflict(
                    f"Param {name!r} is {self._said[name]!r} already; {value!r} cannot replace it.",
                    about="param",
                    hint="Params never change; log a metric or a tag, or start another run.",
                )
        if said:
            self.push(Said(self.id, params=said))
            self._said.update(said)

    def tags(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Record tags; a tag takes the newest value."""
        if said := words.texts({**(values or {}), **named}, "tag"):
            self.push(Said(self.id, tags=said))

    def log(self, text: str) -> None:
        """Add lines to the run's log, besides what the process prints."""
        at = time_ns()
        self.push(Said(self.id, log="".join(stamped("log", line, at) for line in words.clean(text).splitlines())))

    def input(self, source: str | os.PathLike[str]) -> None:
        """Record that the run read a version of a dataset or model, such as `data:people@3`, or a file.

        Args:
            source: the version's reference; or a `Path`, of whose file path, size and SHA-256 are kept.

        Raises:
            OSError: there is no such file.

        Cost: a file is read once more, in a thread.
        """
        if isinstance(source, os.PathLike):
            self._opened.lookout.inputs.named(Path(source))
            return
        ref = str(source)
        if ref not in self._inputs:
            self._inputs.append(ref)
            self.push(Said(self.id, inputs=tuple(self._inputs)))

    def artifact(self, path: str | os.PathLike[str], name: str = "") -> None:
        """Keep a file, or all files of a folder, as they are now.

        Args:
            path: the file or folder.
            name: where it lies in the run; its own name when left out.

        Raises:
            OSError: it is not there or cannot be read.
            Invalid: the name leaves the run's folder.

        Cost: one copy of the bytes.
        """
        source = Path(path)
        target = words.path(name or source.resolve().name)
        if not source.is_dir():
            self._file(source, target)
            return
        for file in sorted(source.rglob("*")):
            if file.is_file():
                self._file(file, words.path(f"{target}/{file.relative_to(source).as_posix()}"))

    def write(self, name: str, content: bytes | str) -> None:
        """Keep text or bytes as a file of this name."""
        self._keep(words.path(name), content.encode() if isinstance(content, str) else content)

    def figure(self, drawn: Any, name: str) -> None:
        """Keep a figure: of matplotlib, plotly, Pillow, ours, or anything that notebooks can show.

        Args:
            drawn: the figure.
            name: where it lies; without a folder, in `figures`. For matplotlib the ending chooses PNG, SVG or PDF.
        """
        self._keep(*shapes.figure(drawn, words.path(name if "/" in name else f"figures/{name}")))

    def table(self, rows: Any, name: str) -> None:
        """Keep a table: Parquet of a frame, CSV of rows that are dicts or of columns by name.

        Args:
            rows: the table.
            name: where it lies; without a folder, in `tables`. The ending `.csv` or `.parquet` chooses the format.
        """
        self._keep(*shapes.table(rows, words.path(name if "/" in name else f"tables/{name}")))

    def model(self, model: Any, name: str, **given: Unpack[Given]) -> Made:
        """Make a version of a model, of which the run is the origin; its `reference` waits until the number is known.

        Beside its original, the version has an ONNX twin and the record of how far both agree.

        Args:
            model: a fitted estimator.
            name: the model's name in the registry.
            given: `example`, a few rows of its inputs; `training`, the rows that it was fitted on, of which a sample is
                compared too; `target` and `evaluation`, the column that it predicts and labelled rows that it did not
                see (a table, or a pair of inputs and truths): with `training` and these the version can be judged,
                approved and served. The run keeps `training` then, so that gates can look in it for the people of
                `evaluation`: leave the id column in both.

        Raises:
            Invalid: the parts do not fit together.
            MissingExtra: a library that writes the files is not installed.
        """
        from interlock.sdk.recording.models import trained_on, write_model
        from interlock.sdk.recording.versions import Made

        written = write_model(model, name, given)
        if rows := trained_on(written, given, model):
            self._keep(*rows)  # before the version: whoever sees it finds them
        files = {path: self._staged(content) for path, content in written.items()}
        self.push(Published(self.id, name, files, tuple(ref for ref in self._inputs if ref.startswith("data:"))))
        return Made(self, name, written)

    def flush(self, timeout_s: float = _SETTLE_S) -> bool:
        """Return whether the workspace has all that was said until now; if it is away, the disk has it."""
        return self._opened.recorder.flush(timeout_s)

    def finish(self, status: str = "finished", reason: str = "", *, timeout_s: float = _SETTLE_S) -> None:
        """End the run and wait until the workspace has it, or keep it on disk when the workspace is away.

        Args:
            status: finished, failed or killed.
            reason: why it did not finish.
            timeout_s: how long to wait at most.
        """
        if self._over or self._opening is None:
            return
        self._over = True
        opening, recorder = self._opening, self._opening.recorder
        if os.getpid() == self._pid:
            opening.close(timeout_s / 3)
            self.push(
                lambda: [
                    Said(self.id, log=self._lines.close()),
                    Ended(self.id, status, words.clean(reason), time_ns() // 1000),
                ]
            )
        recorder.leave(self)
        self.push = self._refuse
        try:
            done = recorder.close(timeout_s) if not recorder.speakers else recorder.flush(timeout_s)
        finally:
            opening.end()  # only now: a signal that comes meanwhile finds the run, and waits for the disk
        if not done and os.getpid() == self._pid:
            warn(
                f"{self.ref} is kept on this machine as far as it was written; "
                f"`interlock sync` sends it to {recorder.location}."
            )

    def printed(self, stream: str, text: str, at_ns: int) -> None:
        """Take what the process printed on a stream (`out`, `err`, or `both`).

        Raises:
            Conflict: the run is over.
        """
        if os.getpid() == self._pid:
            self.push(lambda: [Said(self.id, log=lines)] if (lines := self._lines.feed(stream, text, at_ns)) else [])

    def again(self) -> Any:
        """Return the entry with which a child process begins to add to the run; None where the run is its own."""
        return None if os.getpid() == self._pid else self._opened.again()

    def disown(self) -> None:
        """Leave the run to the parent: called in a child that was forked."""
        if self._opening is not None and self._opening.recorder.pid != os.getpid():
            self._opening.recorder.disown()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, reason = outcome(error)
        if error is not None and status == "failed" and not isinstance(error, SystemExit):
            self.push_trace(error)
        self.finish(status, reason)

    def push_trace(self, error: BaseException) -> None:
        """Add the traceback of an error to the log."""
        with contextlib.suppress(Conflict):
            text = "".join(traceback.format_exception(error))
            self.push(Said(self.id, log="".join(stamped("err", line) for line in text.splitlines())))

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of which each call is a run like this one, with its plain arguments as params."""
        signature = inspect.signature(function)

        def begin(args: Any, kwargs: Any) -> Run:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            plain = {n: v for n, v in bound.arguments.items() if isinstance(v, str | int | float | bool) or v is None}
            return Run(self._plan.with_params({**plain, **self._plan.params}))

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def waited(*args: Any, **kwargs: Any) -> Any:
                with begin(args, kwargs):
                    return await function(*args, **kwargs)

            return waited

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with begin(args, kwargs):
                return function(*args, **kwargs)

        return called

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self._plan.experiment or 'its script'}>"

    @property
    def _opened(self) -> Opening:
        if self._opening is None:
            self._refuse(None)
            raise AssertionError
        return self._opening

    def _refuse(self, item: Any) -> None:  # noqa: ARG002 - stands for `push` while the run does not go on
        what, hint = (
            ("is over", "Resume it with interlock.run(resume=ID).")
            if self._over
            else (
                "has not begun",
                "Write `with interlock.run(...) as run:`, or call start().",
            )
        )
        raise Conflict(f"{self.ref} {what}.", about="run", hint=hint)

    def _keep(self, path: str, content: bytes) -> None:
        self.push(Filed(self.id, path, self._staged(content)))

    def _staged(self, content: bytes) -> str:
        place = self._opened.recorder.stage()
        place.write_bytes(content)
        return place.name

    def _file(self, source: Path, target: str) -> None:
        place = self._opened.recorder.stage()
        with unheard():  # what the script leaves is not what it read
            shutil.copyfile(source, place)
        self.push(Filed(self.id, target, place.name))


def outcome(error: BaseException | None) -> tuple[str, str]:
    """Return the status and the reason of a run that ended with this error, or with none."""
    if error is None:
        return "finished", ""
    if isinstance(error, SystemExit):
        if error.code in {None, 0}:
            return "finished", ""
        return "failed", f"exit code {error.code}" if isinstance(error.code, int) else str(error.code)
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return "killed", type(error).__name__
    return "failed", live.told(error)
