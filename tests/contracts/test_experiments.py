"""Experiments through MlflowClient: make, find, change, delete, restore, search."""

from __future__ import annotations

import time

import pytest
from errors import raises
from mlflow import MlflowClient
from mlflow.entities import ExperimentTag, ViewType


@pytest.mark.route("POST experiments/create", "GET experiments/get", "GET experiments/get-by-name")
def test_an_experiment_is_found_by_id_and_name(client, unique) -> None:
    name = unique("été 100% / #1 +")
    made = client.create_experiment(name, tags={"team": "people", "empty": ""})
    found = client.get_experiment(made)
    assert (found.name, found.lifecycle_stage) == (name, "active")
    assert {"team": "people", "empty": ""}.items() <= found.tags.items()
    assert 0 < found.creation_time <= found.last_update_time
    assert found.artifact_location.startswith("mlflow-artifacts:/")
    assert dict(client.get_experiment_by_name(name)) == dict(found)
    assert client.get_experiment_by_name(unique("nobody")) is None


@pytest.mark.route("GET experiments/get")
def test_the_default_experiment_is_there(client) -> None:
    assert client.get_experiment("0").name == "Default"


@pytest.mark.route("POST experiments/create")
def test_experiment_names_have_rules(client, unique) -> None:
    name = unique()
    client.create_experiment(name)
    with raises("RESOURCE_ALREADY_EXISTS", name):
        client.create_experiment(name)
    client.create_experiment(unique("n" * 400))
    for wrong in ("", "n" * 501):
        with raises("INVALID_PARAMETER_VALUE"):
            client.create_experiment(wrong)


@pytest.mark.route("POST experiments/update", "POST experiments/set-experiment-tag", "DELETE experiment tag")
def test_an_experiment_is_renamed_and_tagged(client, experiment, unique) -> None:
    name = unique("renamed")
    before = client.get_experiment(experiment)
    client.rename_experiment(experiment, name)
    client.set_experiment_tag(experiment, "a", "1")
    client.set_experiment_tag(experiment, "a", "2")
    client.set_experiment_tag(experiment, "b", "v" * 20_000)
    found = client.get_experiment(experiment)
    assert (found.name, found.tags["a"]) == (name, "2")
    assert len(found.tags["b"]) == 20_000
    assert found.last_update_time >= before.last_update_time
    client.delete_experiment_tag(experiment, "a")
    assert "a" not in client.get_experiment(experiment).tags
    assert client.get_experiment_by_name(before.name) is None
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.delete_experiment_tag(experiment, "never")
    with raises("INVALID_PARAMETER_VALUE"):
        client.set_experiment_tag(experiment, "c", "v" * 20_001)
    with raises("INVALID_PARAMETER_VALUE"):
        client.set_experiment_tag(experiment, "../c", "v")


@pytest.mark.route("POST experiments/update")
def test_a_name_that_is_taken_is_refused(client, experiment, unique) -> None:
    other = unique()
    client.create_experiment(other)
    with raises("RESOURCE_ALREADY_EXISTS", "BAD_REQUEST"):
        client.rename_experiment(experiment, other)


@pytest.mark.route("POST experiments/delete", "POST experiments/restore")
def test_a_deleted_experiment_keeps_its_name_and_takes_nothing(client, experiment) -> None:
    run = client.create_run(experiment).info.run_id
    name = client.get_experiment(experiment).name
    client.delete_experiment(experiment)
    assert client.get_experiment(experiment).lifecycle_stage == "deleted"
    assert client.get_experiment_by_name(name).lifecycle_stage == "deleted"
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    with raises("RESOURCE_ALREADY_EXISTS", name):
        client.create_experiment(name)
    for change in (
        lambda: client.create_run(experiment),
        lambda: client.set_experiment_tag(experiment, "a", "1"),
    ):
        with raises("INVALID_PARAMETER_VALUE"):
            change()
    with raises("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        client.delete_experiment(experiment)
    client.restore_experiment(experiment)
    assert client.get_experiment(experiment).lifecycle_stage == "active"
    assert client.get_run(run).info.lifecycle_stage == "active"
    with raises("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        client.restore_experiment(experiment)


@pytest.mark.route("POST experiments/update")
@pytest.mark.ours_only("MLflow answers 500")
def test_a_deleted_experiment_is_not_renamed(client, experiment, unique) -> None:
    client.delete_experiment(experiment)
    with raises("INVALID_PARAMETER_VALUE"):
        client.rename_experiment(experiment, unique())


@pytest.mark.route("GET experiments/get", "POST experiments/*")
def test_what_is_not_there_is_said_so(client) -> None:
    for call in (client.get_experiment, client.delete_experiment, client.restore_experiment):
        with raises("RESOURCE_DOES_NOT_EXIST"):
            call("987654321")
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.rename_experiment("987654321", "x")
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.set_experiment_tag("987654321", "k", "v")
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.create_run("987654321")


@pytest.fixture(scope="module")
def family(server) -> tuple[str, dict[str, str]]:
    """Five experiments, made in this order: b, a, C, e (deleted), d; and the start of their names."""
    client, stem = MlflowClient(), "search_experiments%/"
    made = {}
    for name, tags in {
        "b": {"size": "10"},
        "a": {"size": "9", "odd key": "x"},
        "C": {"color": "Red"},
        "e": {},
        "d": {"color": "red"},
    }.items():
        made[name] = client.create_experiment(stem + name, tags=tags)
    client.delete_experiment(made["e"])
    time.sleep(0.005)
    client.rename_experiment(made["a"], stem + "other")
    client.rename_experiment(made["a"], stem + "a")
    return stem, made


FILTERS = {
    "name = 'STEMb'": "b",
    "attribute.name != 'STEMb'": "aCd",
    "name LIKE '%STEM%'": "abCd",
    "name LIKE 'STEMc'": "",
    "name ILIKE 'STEMc'": "C",
    "tag.color = 'red'": "d",
    "tags.color ILIKE 'RED'": "Cd",
    "tags.color LIKE 'r_d'": "d",
    "tag.color != 'red'": "C",
    "tags.\"odd key\" = 'x'": "a",
    "tags.`odd key` = 'x'": "a",
    "tag.size = '10' AND name LIKE '%b'": "b",
    "tag.color IS NULL AND name LIKE '%STEM%'": "ab",
    "tag.color IS NOT NULL": "Cd",
    "creation_time >= 0 and last_update_time > 0 and name LIKE '%STEM%'": "abCd",
    "creation_time > 99999999999999": "",
}


@pytest.mark.route("GET experiments/search")
@pytest.mark.parametrize("text", FILTERS)
def test_experiments_are_found_by_filter(client, family, text) -> None:
    stem, made = family
    found = {entry.experiment_id for entry in client.search_experiments(filter_string=text.replace("STEM", stem))}
    assert {name for name, made_id in made.items() if made_id in found} == set(FILTERS[text])


@pytest.mark.route("GET experiments/search")
@pytest.mark.ours_only("extensions of the grammar")
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("name = 'STEMa' OR name = 'STEMb'", "ab"),
        ("(name = 'STEMa' OR name = 'STEMb') AND NOT tag.size = '9'", "b"),
    ],
)
def test_experiments_or_not_and_parentheses(client, family, text, wanted) -> None:
    stem, made = family
    found = {entry.experiment_id for entry in client.search_experiments(filter_string=text.replace("STEM", stem))}
    assert found == {made[name] for name in wanted}


@pytest.mark.route("GET experiments/search")
@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        (["name"], "Cabd"),
        (["name DESC"], "dbaC"),
        (["creation_time ASC", "name"], "baCd"),
        (["experiment_id DESC"], "dCab"),
        (["last_update_time DESC", "name DESC"], None),
        (None, None),
    ],
)
def test_experiments_are_ordered(client, family, order, wanted) -> None:
    stem, made = family
    names = {made_id: name for name, made_id in made.items()}
    found = client.search_experiments(filter_string=f"name LIKE '{stem}%'", order_by=order)
    if wanted:
        assert "".join(names[entry.experiment_id] for entry in found) == wanted
    else:
        assert names[found[0].experiment_id] == ("a" if order else "d")


@pytest.mark.route("GET experiments/search")
def test_experiments_have_views_and_pages(client, family) -> None:
    stem, made = family
    text = f"name LIKE '{stem}%'"
    deleted = client.search_experiments(ViewType.DELETED_ONLY, filter_string=text)
    assert [entry.experiment_id for entry in deleted] == [made["e"]]
    assert len(client.search_experiments(ViewType.ALL, filter_string=text)) == 5
    seen, token, pages = [], None, 0
    while pages == 0 or token:
        page = client.search_experiments(filter_string=text, order_by=["name"], max_results=1, page_token=token)
        assert len(page) == 1
        seen += page
        token, pages = page.token, pages + 1
    assert [entry.name[-1] for entry in seen] == list("Cabd")
    assert pages == 4


WRONG = [
    "nonsense",
    "name = unquoted",
    "name ~ 'x'",
    "size = '10'",
    "tag.size > 'a' AND",
    "creation_time LIKE '%1'",
    "name = 'a' 'b'",
    "params.a = 'b'",
    "tag.a = 5",
    "name = 'open",
]


@pytest.mark.route("GET experiments/search")
@pytest.mark.parametrize("text", WRONG)
def test_a_filter_that_cannot_be_read_is_refused(client, text) -> None:
    with raises("INVALID_PARAMETER_VALUE"):
        client.search_experiments(filter_string=text)


@pytest.mark.route("GET experiments/search")
@pytest.mark.parametrize("order", ["size", "name SIDEWAYS", "tags.size", "name ASC DESC"])
def test_an_order_that_cannot_be_read_is_refused(client, order) -> None:
    with raises("INVALID_PARAMETER_VALUE"):
        client.search_experiments(order_by=[order])


@pytest.mark.route("POST experiments/create")
def test_tags_may_come_with_an_experiment(client, unique) -> None:
    made = client.create_experiment(unique(), tags={f"t{i}": str(i) for i in range(20)})
    assert isinstance(client.get_experiment(made).tags, dict)
    assert len([key for key in client.get_experiment(made).tags if key.startswith("t")]) == 20
    assert ExperimentTag("t1", "1").value == client.get_experiment(made).tags["t1"]
