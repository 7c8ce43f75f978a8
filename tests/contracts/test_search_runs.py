"""Search over runs: every operator and order, NULL and NaN, pages, what is refused."""

from __future__ import annotations

import math

import mlflow
import pytest
from errors import raises
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType

RUNS = {
    # name: (start_time, metrics, params, tags)
    "a": (100, {"acc": 0.5, "loss": 3}, {"lr": "0.01", "kind": "Tree"}, {"team": "Red", "odd key.x": "1"}),
    "b": (200, {"acc": 0.7}, {"lr": "0.1", "kind": "tree"}, {"team": "red"}),
    "c": (300, {"acc": math.nan, "loss": 1}, {"lr": "1e-3"}, {}),
    "d": (400, {"loss": 2}, {"lr": "0.01", "note": "a%b_c"}, {"team": "blue"}),
    "e": (500, {"acc": 0.5}, {}, {"note": "it's"}),
    "f": (500, {}, {"kind": "forest"}, {"team": "blue"}),
}


@pytest.fixture(scope="module")
def family(server) -> tuple[str, dict[str, str]]:
    """An experiment with six runs of which `e` and `f` start at the same time, and a deleted one; names by id."""
    client = MlflowClient()
    experiment = client.create_experiment("search runs")
    names = {}
    for name, (start, metrics, params, tags) in RUNS.items():
        run = client.create_run(experiment, start_time=start, run_name=f"run {name}").info.run_id
        client.log_batch(
            run,
            [Metric(key, value, 1, 0) for key, value in metrics.items()],
            [Param(*pair) for pair in params.items()],
            [RunTag(*pair) for pair in tags.items()],
        )
        names[run] = name
        if name in "ab":
            client.set_terminated(run, "FINISHED" if name == "a" else "FAILED", end_time=start + 50)
    ids = {name: run for run, name in names.items()}
    data = Dataset("people", f"digest-{ids['c'][:8]}", "local", "{}")
    client.log_inputs(ids["c"], [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    names[gone := client.create_run(experiment, start_time=50, run_name="run x").info.run_id] = "x"
    client.delete_run(gone)
    return experiment, names


def search(client: MlflowClient, family: tuple[str, dict[str, str]], text: str = "", **more) -> str:
    experiment, names = family
    for run, name in names.items():
        text = text.replace(f"ID_{name}", run)
    return "".join(names[run.info.run_id] for run in client.search_runs([experiment], text, **more))


FILTERS = {
    "metrics.acc > 0.5": "b",
    "metrics.acc >= 0.5": "abe",
    "metric.acc < 0.7": "ae",
    "metrics.acc <= 0.7": "abe",
    "metrics.acc = 0.5": "ae",
    "metrics.loss != 2": "ac",
    "metrics.`loss` > 1.5e0": "ad",
    'metrics."loss" > -1': "acd",
    "params.lr = '0.01'": "ad",
    'params.lr = "0.01"': "ad",
    "parameter.lr != '0.01'": "bc",
    "params.kind LIKE 'tr%'": "b",
    "params.kind ILIKE 'tr%'": "ab",
    "params.kind LIKE 't_ee'": "b",
    "params.note LIKE 'a%c'": "d",
    "params.note = 'a%b_c'": "d",
    "params.kind IS NULL": "cde",
    "params.kind IS NOT NULL": "abf",
    "tags.team = 'red'": "b",
    "tag.team ILIKE 'RED'": "ab",
    "tags.team IS NULL": "ce",
    "tags.team IS NOT NULL AND params.lr IS NULL": "f",
    "tags.`odd key.x` = '1'": "a",
    "tags.\"odd key.x\" = '1'": "a",
    'tags.note = "it\'s"': "e",
    "attributes.status = 'FINISHED'": "a",
    "status != 'RUNNING'": "ab",
    "attributes.run_name LIKE 'run _'": "abcdef",
    "run_name = 'run c'": "c",
    "`run name` = 'run c'": "c",
    "attributes.`Run name` = 'run c'": "c",
    "start_time > 300": "def",
    "attributes.start_time <= 200 and end_time >= 250": "b",
    "created = 100": "a",
    "run_id = 'ID_d'": "d",
    "run_id IN ('ID_a', 'ID_b', 'nobody')": "ab",
    "attributes.run_id NOT IN ('ID_a','ID_b')": "cdef",
    "artifact_uri LIKE 'mlflow-artifacts:%'": "abcdef",
    "dataset.name = 'people'": "c",
    "datasets.name LIKE 'peo%' AND dataset.context = 'training'": "c",
    "dataset.digest ILIKE 'DIGEST-%'": "c",
    "metrics.acc >= 0.5 AND params.lr LIKE '0%' and tags.team ILIKE 'r%'": "ab",
    "metrics.acc > 0 AND metrics.acc < 0.6 AND metrics.loss > 0": "a",
    "  metrics.loss>0   AND  params.lr='0.01' ": "ad",
    "params.never = 'x'": "",
    "": "abcdef",
}


@pytest.mark.route("POST runs/search")
@pytest.mark.parametrize("text", FILTERS)
def test_runs_are_found_by_filter(client, family, text) -> None:
    assert "".join(sorted(search(client, family, text))) == FILTERS[text]


EXTENSIONS = {
    "metrics.acc = 0.7 OR params.lr = '0.01'": "abd",
    "metrics.acc = 0.5 AND (params.kind = 'Tree' OR tags.note IS NOT NULL)": "ae",
    "NOT tags.team = 'blue' AND start_time > 0": "abce",
    "params.lr > 0.005": "abd",
    "params.lr <= 0.01 AND NOT metrics.loss = 3": "cd",
    "attribute.status = 'running'": "cdef",
}


@pytest.mark.route("POST runs/search")
@pytest.mark.ours_only("extensions: OR, NOT, parentheses, params compared as numbers, status in either case")
@pytest.mark.parametrize("text", EXTENSIONS)
def test_runs_are_found_by_more_than_and(client, family, text) -> None:
    assert "".join(sorted(search(client, family, text))) == EXTENSIONS[text]


ORDERS = {
    # ties and what has no value: the later start first, then the smaller id; NaN and NULL last in both directions
    (): "EFdcba",
    ("start_time",): "abcdEF",
    ("attributes.start_time ASC",): "abcdEF",
    ("start_time DESC",): "EFdcba",
    ("created DESC", "run_name"): "efdcba",
    ("attributes.end_time DESC", "run_name ASC"): "baCDEF",
    ("attributes.run_name DESC",): "fedcba",
    ("run_name",): "abcdef",
    ("Created DESC", "run_name"): "efdcba",
    ("attributes.status", "run_name"): "bacdef",
    ("metrics.acc", "run_name"): "aebcdf",
    ("metrics.acc DESC", "run_name"): "baecdf",
    ("metrics.acc ASC", "start_time DESC"): "eab",
    ("metrics.loss DESC", "run_name DESC"): "adcfeb",
    ("metrics.`loss`", "metrics.acc"): "cda",
    ("params.lr", "run_name"): "adbcef",
    ("param.lr DESC", "run_name"): "cbadef",
    ("tags.team", "run_name"): "adfbce",
    ("tag.team DESC", "run_name DESC"): "bfdaec",
    ('tags."odd key.x"', "run_name"): "abcdef",
    ("metrics.never", "run_name DESC"): "fedcba",
}


@pytest.mark.route("POST runs/search")
@pytest.mark.parametrize("order", ORDERS)
def test_runs_are_ordered(client, family, order) -> None:
    """Capitals stand for runs whose order follows from their random ids."""
    found = search(client, family, order_by=list(order))
    wanted = ORDERS[order]
    assert sorted(found) == list("abcdef")
    for place, (name, want) in enumerate(zip(found, wanted, strict=False)):
        if want.islower():
            assert name == want, f"at {place}: {found}, wanted {wanted}"


@pytest.mark.route("POST runs/search")
def test_ties_go_by_start_and_then_by_id(client, family) -> None:
    experiment, names = family
    last = sorted(run for run, name in names.items() if name in "ef")
    found = [run.info.run_id for run in client.search_runs([experiment])]
    assert found[:2] == last
    assert [names[run] for run in found[2:]] == list("dcba")


@pytest.mark.route("POST runs/search")
@pytest.mark.parametrize("order", [[], ["metrics.acc DESC"], ["tags.team"], ["params.lr DESC", "start_time"]])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_pages_put_together_are_the_whole(client, family, order, size) -> None:
    experiment, names = family
    whole = search(client, family, order_by=order)
    seen, token, pages = "", None, 0
    while pages == 0 or token:
        page = client.search_runs([experiment], order_by=order, max_results=size, page_token=token)
        assert 1 <= len(page) <= size
        seen += "".join(names[run.info.run_id] for run in page)
        token, pages = page.token, pages + 1
    assert seen == whole
    assert pages == math.ceil(6 / size)


@pytest.mark.route("POST runs/search")
@pytest.mark.ours_only("MLflow counts from the start: a run that comes in between moves all others")
def test_a_run_that_comes_between_pages_moves_nothing(client, experiment) -> None:
    runs = [client.create_run(experiment, start_time=100 + at).info.run_id for at in range(5)]
    first = client.search_runs([experiment], max_results=2)
    client.create_run(experiment, start_time=1000)
    rest = client.search_runs([experiment], max_results=10, page_token=first.token)
    assert [run.info.run_id for run in [*first, *rest]] == runs[::-1]


@pytest.mark.route("POST runs/search")
def test_views(client, family) -> None:
    assert search(client, family, run_view_type=ViewType.DELETED_ONLY) == "x"
    assert sorted(search(client, family, run_view_type=ViewType.ALL)) == list("abcdefx")


@pytest.mark.route("POST runs/search")
def test_what_a_found_run_holds(client, family) -> None:
    experiment, _ = family
    (found,) = client.search_runs([experiment], "run_name = 'run c'")
    assert math.isnan(found.data.metrics.pop("acc"))
    assert found.data.metrics["loss"] == 1
    assert found.data.params == {"lr": "1e-3"}
    assert found.data.tags["mlflow.runName"] == "run c"
    assert found.inputs.dataset_inputs[0].dataset.name == "people"
    same = client.get_run(found.info.run_id)
    assert math.isnan(same.data.metrics.pop("acc"))
    assert found.to_dictionary() == same.to_dictionary()


@pytest.mark.route("POST runs/search")
def test_several_experiments(client, family, experiment) -> None:
    mine = client.create_run(experiment, start_time=450).info.run_id
    found = client.search_runs([family[0], experiment], "start_time >= 400", order_by=["start_time"])
    assert [run.info.run_id for run in found][1] == mine
    assert len(found) == 4


WRONG = [
    "metrics.acc > 'high'",
    "metrics.acc LIKE '5'",
    "metrics.acc > ",
    "params.lr = bare",
    "params.kind <> 'x'",
    "tags.team BETWEEN 'a' AND 'b'",
    "attributes.nonsense = 'x'",
    "start_time LIKE '1%'",
    "start_time = 'x'",
    "status > 'RUNNING'",
    "run_id IN ('a'",
    "run_id IN ()",
    "thing.x = '1'",
    "params.a = 'open",
    "= 'x'",
    "dataset.size = '1'",
    "params.lr = '1'; DROP TABLE runs",
]


@pytest.mark.route("POST runs/search")
@pytest.mark.parametrize("text", WRONG)
def test_a_filter_that_cannot_be_read_is_refused(client, family, text) -> None:
    with raises("INVALID_PARAMETER_VALUE"):
        search(client, family, text)


@pytest.mark.route("POST runs/search")
@pytest.mark.ours_only("MLflow takes the part that it understands")
@pytest.mark.parametrize("text", ["params.a = 'b' params.c = 'd'", "AND", "metrics.acc > 1 AND", "AND params.a = 'b'"])
def test_a_filter_that_is_half_a_filter_is_refused(client, family, text) -> None:
    with raises("INVALID_PARAMETER_VALUE"):
        search(client, family, text)


@pytest.mark.route("POST runs/search")
@pytest.mark.parametrize("order", ["acc", "metrics.acc UP", "thing.x", "metrics.acc DESC ASC", "attributes.nonsense"])
def test_an_order_that_cannot_be_read_is_refused(client, family, order) -> None:
    with raises("INVALID_PARAMETER_VALUE"):
        search(client, family, order_by=[order])


@pytest.mark.route("POST runs/search")
@pytest.mark.ours_only("MLflow's messages do not say where")
def test_the_message_points_at_the_place(wire, experiment) -> None:
    body = {"experiment_ids": [experiment], "filter": "metrics.acc > 1 AND params.kind ~ 'x'"}
    message = wire.refused("POST", "runs/search", body)
    assert "~" in message
    assert "32" in message or "33" in message, "counted from 0 or 1"


@pytest.mark.route("POST runs/search", "GET experiments/get-by-name")
def test_a_frame_of_runs(client, family) -> None:
    frame = mlflow.search_runs(experiment_names=["search runs"], order_by=["run_name"])
    assert list(frame["tags.mlflow.runName"]) == [f"run {name}" for name in "abcdef"]
    assert list(frame["params.lr"])[:2] == ["0.01", "0.1"]
    assert frame["metrics.acc"].isna().sum() == 3
    assert frame["start_time"].iloc[0].timestamp() == 0.1
