"""Runs in this process: what they are told is in the workspace when they end."""

from __future__ import annotations

import asyncio
import io
import math
import threading
from pathlib import Path

import msgspec
import pytest

import interlock
from interlock.core.errors import Conflict, Invalid, NotFound
from interlock.pictures import sparkline
from interlock.sdk.recording import surroundings
from interlock.sdk.recording.entries import Said
from interlock.sdk.recording.outbox import Outbox
from interlock.sdk.recording.recorder import Recorder
from interlock.sdk.recording.spool import SpoolReader
from interlock.store.manifests import read_manifest
from interlock.track.environment import Environment


def quiet(experiment: str = "exp", **given):
    return interlock.run(experiment, machine=False, console=False, **given)


def test_what_it_is_told_is_in_the_workspace(workspace) -> None:
    with quiet(name="first", params={"lr": 0.1, "net": {"depth": 3}}, tags={"team": "a"}) as run:
        run.params(seed=7, layers=[8, 4])
        run.tags(note="good")
        for step in range(3):
            run.metrics(loss=1 / (step + 1), step=step)
        run.metrics({"val/auc": 0.9})
        run.metrics({"val/auc": 0.95}, other=True)
        run.log("two\nlines")
    found = workspace.track.run(run.id)
    assert (found.status, found.name, found.experiment) == ("finished", "first", "exp")
    assert found.params == {"lr": "0.1", "net.depth": "3", "seed": "7", "layers": "[8,4]"}
    assert {"team": "a", "note": "good"}.items() <= found.tags.items()
    assert found.metrics == {"loss": 1 / 3, "val/auc": 0.95, "other": 1.0}
    assert workspace.track.metric(run.id, "val/auc").steps == (0, 1)
    assert [line.partition(" ")[2] for line in workspace.track.logs(run.id).splitlines()] == ["log| two", "log| lines"]
    assert workspace.ledger.verify().ok


def test_numbers_of_every_kind_are_kept_to_the_bit(workspace) -> None:
    import numpy as np

    values = [0.1, math.inf, -math.inf, -0.0, 5e-324, np.float32(0.1), np.array(2.5), np.int64(3), True, 7]
    with quiet() as run:
        for value in values:
            run.metrics(x=value)
        run.metrics(y=math.nan)
    assert list(workspace.track.metric(run.id, "x").values) == [float(value) for value in values]
    assert math.isnan(workspace.track.metric(run.id, "y").values[0])


@pytest.mark.parametrize(
    ("values", "named", "says"),
    [
        ({"x": "0.5"}, {}, "'x' got '0.5'"),
        ({"x": None}, {}, "'x' got None"),
        ({"": 1.0}, {}, "'' cannot name"),
        ({3: 1.0}, {}, "3 cannot name"),
        (None, {"x": 1.0, "step": 0.5}, "0.5 is no step"),
        (None, {"x": 1.0, "step": "1"}, "'1' is no step"),
    ],
)
def test_what_is_no_point_is_refused_at_once(project, values, named, says: str) -> None:
    with quiet() as run, pytest.raises(Invalid) as refused:
        run.metrics(values, **named)
    assert says in refused.value.message


def test_a_step_beyond_64_bits_is_left_out_with_a_word(workspace, capfd) -> None:
    with quiet() as run:
        run.metrics(x=1.0, step=2**63)
        run.metrics(x=2.0, step=5)
    assert workspace.track.metric(run.id, "x").steps == (5,)
    assert "left out" in capfd.readouterr().err


def test_a_param_keeps_its_first_value(workspace) -> None:
    with quiet(params={"lr": 0.1}) as run:
        run.params(lr=0.1)
        with pytest.raises(Conflict, match="'0.1' already; '0.2'"):
            run.params(lr=0.2)
    assert workspace.track.run(run.id).params == {"lr": "0.1"}


def test_files_figures_and_tables(workspace, tmp_path: Path) -> None:
    import polars as pl

    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep/b.bin").write_bytes(b"\0b")
    picture = sparkline("three", [1.0, 2.0, 3.0])
    with quiet() as run:
        run.artifact(folder)
        run.artifact(folder / "a.txt", "other/name.txt")
        run.write("notes.md", "# notes")
        run.figure(picture, "curve")
        run.table([{"a": 1, "b": "x"}, {"a": 2}], "rows")
        run.table({"a": [1, 2]}, "columns.csv")
        run.table(pl.DataFrame({"a": [1, 2]}), "frame")
        (folder / "a.txt").write_text("changed afterwards")
    files = {file.name: workspace.read(file.digest) for file in workspace.track.run(run.id).artifacts}
    assert files["out/a.txt"] == files["other/name.txt"] == b"a"
    assert files["out/deep/b.bin"] == b"\0b"
    assert files["notes.md"] == b"# notes"
    assert files["figures/curve.svg"].startswith(b"<svg")
    assert files["tables/rows.csv"] == b"a,b\n1,x\n2,\n"
    assert files["tables/columns.csv"] == b"a\n1\n2\n"
    assert pl.read_parquet(io.BytesIO(files["tables/frame.parquet"]))["a"].to_list() == [1, 2]


def test_paths_that_leave_the_run_are_refused(project, tmp_path: Path) -> None:
    with quiet() as run:
        for name in ("../up", "/abs", "a//b", ""):
            with pytest.raises(Invalid):
                run.write(name, "x")
        with pytest.raises(FileNotFoundError):
            run.artifact(tmp_path / "nothing")


def test_runs_inside_runs_are_nested(workspace) -> None:
    with quiet() as outer:
        with quiet("inner") as inner:
            inner.metrics(x=1.0)
            assert interlock.current_run() is inner
        assert interlock.current_run() is outer
    assert interlock.current_run() is None
    assert workspace.track.run(inner.id).parent == outer.id
    assert workspace.track.run(inner.id).ended_at <= workspace.track.run(outer.id).ended_at


def test_runs_of_threads_belong_to_the_run_of_the_main_thread(workspace) -> None:
    made = []

    def work() -> None:
        with quiet() as run:
            run.metrics(x=1.0)
            made.append(run)

    with quiet() as outer:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    alone = threading.Thread(target=work)
    alone.start()
    alone.join()
    assert [workspace.track.run(run.id).parent for run in made] == [outer.id] * 4 + [""]


def test_a_run_that_ended_goes_on_by_its_id(workspace) -> None:
    with quiet(params={"lr": 1}) as first:
        first.metrics(loss=1.0)
        first.metrics(loss=2.0)
    with quiet(resume=first.id) as again:
        assert again.id == first.id
        assert workspace.track.run(first.id).status == "finished" or again.flush()
        again.metrics(loss=3.0)
        again.flush()
        assert workspace.track.run(first.id).status == "running"
    assert workspace.track.metric(first.id, "loss").steps == (0, 1, 2)
    assert workspace.track.run(first.id).status == "finished"
    with pytest.raises(NotFound):
        quiet(resume="01JD0000000000000000000000").start()


def test_a_run_begins_once_and_is_told_nothing_when_it_is_over(project) -> None:
    run = quiet()
    with pytest.raises(Conflict, match="has not begun"):
        run.metrics(x=1.0)
    with run, pytest.raises(Conflict, match="was started before"):
        run.start()
    for tell in (lambda: run.metrics(x=1.0), lambda: run.params(a=1), lambda: run.tags(a=1), lambda: run.log("x")):
        with pytest.raises(Conflict, match="is over"):
            tell()
    run.finish()


def test_a_decorated_function_makes_a_run_of_each_call(workspace) -> None:
    @quiet("fits", params={"kind": "tree"})
    def fit(depth: int, frame: list[int], rate: float = 0.5) -> int:
        interlock.current_run().metrics(depth=depth)
        return depth * len(frame)

    @quiet("fits")
    async def later(depth: int) -> int:
        return depth

    assert fit(3, [1, 2]) == 6
    assert fit(4, [1]) == 4
    assert asyncio.run(later(5)) == 5
    found = [(run.params, run.status) for run in reversed(workspace.track.runs("fits"))]
    assert found == [
        ({"depth": "3", "rate": "0.5", "kind": "tree"}, "finished"),
        ({"depth": "4", "rate": "0.5", "kind": "tree"}, "finished"),
        ({"depth": "5"}, "finished"),
    ]


def test_the_surroundings_are_recorded_and_named_by_the_start(workspace) -> None:
    with quiet() as run:
        pass
    found = workspace.track.run(run.id)
    environment = msgspec.json.decode(workspace.read(found.environment), type=Environment)
    assert environment.packages["msgspec"]
    assert {"entry", "host", "python"} <= found.tags.keys()
    assert {"interlock/environment.json", "interlock/surroundings.json"} <= {file.name for file in found.artifacts}
    if found.code:
        assert read_manifest(workspace.store.objects, found.code).files


def test_what_is_read_through_the_data_room_is_an_input(workspace, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,age\n1,20\n2,30\n")
    workspace.data.ingest("people", [tmp_path / "people.csv"])
    with quiet() as run:
        assert interlock.data.load("people@latest")["age"].to_list() == [20, 30]
        interlock.data.load("data:people@1")
        with pytest.raises(NotFound):
            interlock.data.load("persons@1")
    assert workspace.track.run(run.id).inputs == ("data:people@1",)


def test_text_that_is_no_unicode_is_kept_as_escapes(workspace) -> None:
    with quiet(params={"p": "\udc80"}) as run:
        run.log("bad \ud800 letter")
        run.metrics(x=1.0)
    assert workspace.track.run(run.id).params == {"p": "\\udc80"}
    assert "bad \\ud800 letter" in workspace.track.logs(run.id)


def test_options_that_are_none_are_refused() -> None:
    with pytest.raises(Invalid, match="has no option 'lr'"):
        interlock.run("exp", lr=0.1)


def test_without_a_workspace_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="interlock init"):
        interlock.run("exp").start()


def test_many_points_of_one_metric_make_segments_that_fit(workspace) -> None:
    with quiet() as run:
        for step in range(70_000):
            run.metrics(x=0.5, step=step)
    assert workspace.track.metric(run.id, "x").steps == tuple(range(70_000))


def test_much_text_arrives_whole(workspace) -> None:
    with quiet() as run:
        run.log("\n".join(["y" * 1000] * 9000))
    assert len(workspace.track.logs(run.id).splitlines()) == 9000


def test_a_run_begins_although_what_is_around_it_cannot_be_kept(workspace, monkeypatch, capfd) -> None:
    def full(self) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Recorder, "stage", full)
    with quiet() as run:
        run.metrics(x=1.0)
    assert "could not be kept: [Errno 28]" in capfd.readouterr().err
    assert workspace.track.run(run.id).status == "finished"
    monkeypatch.setattr(surroundings, "look", full)
    with quiet() as run:
        run.metrics(x=1.0)
    assert workspace.track.run(run.id).metrics == {"x": 1.0}


def test_what_is_on_disk_but_in_no_batch_is_not_forgotten(project, workspace) -> None:
    outbox = Outbox(str(project))
    outbox.put([Said("r", log="cut\n")], cut=True)
    assert outbox.settle(10)
    outbox.put([Said("r", log="loose\n")], cut=False)
    assert not outbox.close(10)
    assert [batch.entries for batch in SpoolReader(outbox.folder).batches(ended=True)] == [[Said("r", log="loose\n")]]


def test_an_experiment_is_called_whatever_tracking_lets_it_be_called(workspace) -> None:
    name = "/Users/me@corp.com/churn: a"
    with quiet(name) as run:
        run.metrics(loss=0.5)
    found = workspace.track.run(run.id)
    assert (found.experiment, found.status, found.metrics) == (name, "finished", {"loss": 0.5})
    with pytest.raises(Invalid, match="of an experiment"), quiet("a\nb"):
        pass


def test_a_model_of_a_run_tells_its_reference_when_the_workspace_has_it(project: Path) -> None:
    pytest.importorskip("skops")
    from sklearn.linear_model import LinearRegression

    import interlock
    from interlock.sdk.recording.versions import versions_of
    from interlock.sdk.workspace import Workspace

    with interlock.run("exp", machine=False, console=False) as run:
        made = [run.model(LinearRegression().fit([[0.0], [1.0]], [0.0, slope]), "line") for slope in (1.0, 2.0)]
        other = run.model(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), "other")
        assert (made[0].name, repr(made[0])) == ("line", "<Made line, number not asked for yet>")
        assert [one.reference for one in made] == ["model:line@1", "model:line@2"]
    assert other.reference == "model:other@1"
    with Workspace.open(project) as workspace:
        assert [ref for ref, _, _ in versions_of(workspace, run.id)] == [
            "model:line@1",
            "model:line@2",
            "model:other@1",
        ]


def test_a_reference_cannot_be_known_while_the_server_is_away(server, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skops")
    from sklearn.linear_model import LinearRegression

    import interlock
    from interlock.core.errors import Unavailable

    monkeypatch.setenv("INTERLOCK_WORKSPACE", server.address)
    run = interlock.run("exp", machine=False, console=False).start()
    made = run.model(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), "line")
    with pytest.raises(Unavailable):
        made.wait(0.2)
    run.finish(timeout_s=0.2)
    with pytest.raises(Unavailable):
        made.wait(0.2)
