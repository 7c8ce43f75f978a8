"""The model registry through MlflowClient: models, versions, aliases, stages, tags, search, copies."""

from __future__ import annotations

import threading

import mlflow
import pytest
from errors import raises
from mlflow import MlflowClient


def version(client: MlflowClient, name: str, run: str, **more):
    """Register what a run logs under `model`."""
    client.log_text(run, "weights", "model/weights.txt")
    return client.create_model_version(name, f"{client.get_run(run).info.artifact_uri}/model", run, **more)


@pytest.fixture
def model(client, unique) -> str:
    """The name of a registered model without versions."""
    return client.create_registered_model(unique("model")).name


@pytest.mark.route("POST registered-models/create", "GET registered-models/get")
def test_a_registered_model(client, unique) -> None:
    name = unique("été 100% #1 +")
    made = client.create_registered_model(name, tags={"team": "red"}, description="why")
    found = client.get_registered_model(name)
    assert (found.name, found.description, found.tags) == (name, "why", {"team": "red"})
    assert 0 < found.creation_timestamp == made.creation_timestamp <= found.last_updated_timestamp
    assert found.latest_versions == []
    assert found.aliases == {}
    with raises("RESOURCE_ALREADY_EXISTS", name):
        client.create_registered_model(name)
    for wrong in ("", "a/b", "a:b"):
        with raises("INVALID_PARAMETER_VALUE"):
            client.create_registered_model(wrong)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.get_registered_model(unique("nobody"))


@pytest.mark.route("PATCH registered-models/update", "POST registered-models/rename")
def test_a_model_is_described_and_renamed(client, model, run, unique) -> None:
    version(client, model, run)
    client.set_registered_model_alias(model, "champion", 1)
    client.set_registered_model_tag(model, "t", "1")
    before = client.get_registered_model(model).last_updated_timestamp
    assert client.update_registered_model(model, "new words").description == "new words"
    assert client.get_registered_model(model).last_updated_timestamp >= before
    name = unique("renamed")
    client.rename_registered_model(model, name)
    found = client.get_registered_model(name)
    assert (found.description, found.aliases, found.tags) == ("new words", {"champion": "1"}, {"t": "1"})
    assert client.get_model_version(name, "1").name == name
    assert client.get_model_version_by_alias(name, "champion").version == "1"
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.get_registered_model(model)
    other = client.create_registered_model(unique()).name
    with raises("RESOURCE_ALREADY_EXISTS"):
        client.rename_registered_model(name, other)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.update_registered_model(unique("nobody"), "x")


@pytest.mark.route("DELETE registered-models/delete")
def test_a_model_is_deleted_with_its_versions(client, model, run) -> None:
    version(client, model, run)
    client.set_registered_model_alias(model, "champion", 1)
    client.delete_registered_model(model)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.get_registered_model(model)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.get_model_version(model, "1")
    assert client.search_model_versions(f"name = '{model}'") == []
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.delete_registered_model(model)
    client.create_registered_model(model)
    assert client.get_registered_model(model).aliases == {}


@pytest.mark.route("POST model-versions/create", "GET model-versions/get", "GET model-versions/get-download-uri")
def test_versions_count_up(client, model, run, unique) -> None:
    first = version(client, model, run, tags={"a": "1"}, description="first", run_link="https://example.org/1")
    assert first.version == "1"
    found = client.get_model_version(model, "1")
    assert (found.status, found.run_id, found.description) == ("READY", run, "first")
    assert (found.tags, found.run_link, found.current_stage, found.aliases) == (
        {"a": "1"},
        "https://example.org/1",
        "None",
        [],
    )
    assert found.creation_timestamp > 0
    assert found.source == f"{client.get_run(run).info.artifact_uri}/model"
    place = client.get_model_version_download_uri(model, "1")
    assert mlflow.artifacts.load_text(f"{place}/weights.txt") == "weights"
    assert version(client, model, run).version == "2"
    for nobody in ((unique("nobody"), "1"), (model, "3")):
        with raises("RESOURCE_DOES_NOT_EXIST"):
            client.get_model_version(*nobody)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        version(client, unique("nobody"), run)
    with raises("INVALID_PARAMETER_VALUE"):
        client.get_model_version(model, "one")


@pytest.mark.route("POST model-versions/create")
def test_versions_have_no_gaps_when_many_register_at_once(client, model, run) -> None:
    made: list[str] = []

    def work() -> None:
        made.extend(version(client, model, run).version for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, made)) == list(range(1, len(made) + 1))
    assert len(made) >= 5


@pytest.mark.route("POST model-versions/create")
@pytest.mark.parametrize(
    "source",
    [
        "file:///etc",
        "/etc/passwd",
        "mlflow-artifacts:/../../etc",
        "models:/nobody/1",
        "runs:/../x",
        "",
        "https://x/../../y",
    ],
)
def test_a_source_that_leads_elsewhere_is_refused(client, model, source) -> None:
    with raises("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
        client.create_model_version(model, source)


@pytest.mark.route("PATCH model-versions/update", "DELETE model-versions/delete")
def test_a_version_is_described_and_deleted(client, model, run) -> None:
    for _ in range(2):
        version(client, model, run)
    assert client.update_model_version(model, "1", "words").description == "words"
    client.set_registered_model_alias(model, "old", "1")
    client.delete_model_version(model, "1")
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.get_model_version(model, "1")
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.delete_model_version(model, "1")
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.update_model_version(model, "1", "x")
    assert client.get_registered_model(model).aliases == {}
    assert [found.version for found in client.search_model_versions(f"name = '{model}'")] == ["2"]


@pytest.mark.route("POST model-versions/create")
@pytest.mark.ours_only("MLflow registers what is not there; a version of ours holds its bytes")
def test_a_version_has_files(client, model, run) -> None:
    with raises("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        client.create_model_version(model, f"{client.get_run(run).info.artifact_uri}/nothing", run)
    assert client.search_model_versions(f"name = '{model}'") == []


@pytest.mark.route("POST model-versions/create")
@pytest.mark.ours_only("MLflow gives the number of a deleted last version away again")
def test_a_number_is_never_given_twice(client, model, run) -> None:
    version(client, model, run)
    client.delete_model_version(model, "1")
    assert version(client, model, run).version == "2"


@pytest.mark.route("POST registered-models/alias", "GET registered-models/alias", "DELETE registered-models/alias")
def test_aliases_move(client, model, run, unique) -> None:
    for _ in range(2):
        version(client, model, run)
    client.set_registered_model_alias(model, "champion", 1)
    client.set_registered_model_alias(model, "best", "1")
    assert client.get_registered_model(model).aliases == {"champion": "1", "best": "1"}
    assert sorted(client.get_model_version(model, "1").aliases) == ["best", "champion"]
    client.set_registered_model_alias(model, "champion", 2)
    assert client.get_model_version_by_alias(model, "champion").version == "2"
    client.delete_registered_model_alias(model, "champion")
    with raises("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
        client.get_model_version_by_alias(model, "champion")
    client.delete_registered_model_alias(model, "never")
    for wrong in ("v1", "V12", "latest", "Latest", "a b", "", "a/b", "a" * 256):
        with raises("INVALID_PARAMETER_VALUE"):
            client.set_registered_model_alias(model, wrong, 1)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.set_registered_model_alias(model, "x", 9)
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.set_registered_model_alias(unique("nobody"), "x", 1)


@pytest.mark.route("POST model-versions/transition-stage", "GET registered-models/get-latest-versions")
def test_stages(client, model, run) -> None:
    for _ in range(3):
        version(client, model, run)
    assert client.transition_model_version_stage(model, "1", "production").current_stage == "Production"
    client.transition_model_version_stage(model, "2", "Staging")
    latest = {found.current_stage: found.version for found in client.get_latest_versions(model)}
    assert latest == {"None": "3", "Production": "1", "Staging": "2"}
    assert [found.version for found in client.get_latest_versions(model, ["Staging"])] == ["2"]
    client.transition_model_version_stage(model, "2", "Production", archive_existing_versions=True)
    assert client.get_model_version(model, "1").current_stage == "Archived"
    assert client.get_model_version(model, "2").current_stage == "Production"
    assert client.get_model_version(model, "1").last_updated_timestamp > 0
    with raises("INVALID_PARAMETER_VALUE"):
        client.transition_model_version_stage(model, "1", "Dancing")
    with raises("INVALID_PARAMETER_VALUE"):
        client.get_latest_versions(model, ["Dancing"])
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.transition_model_version_stage(model, "9", "Staging")
    listed = client.get_registered_model(model).latest_versions
    assert {found.current_stage for found in listed} == {"None", "Archived", "Production"}


@pytest.mark.route("POST registered-models/set-tag", "POST model-versions/set-tag", "DELETE *delete-tag")
def test_tags(client, model, run, unique) -> None:
    version(client, model, run)
    client.set_registered_model_tag(model, "a", "1")
    client.set_registered_model_tag(model, "a", "2")
    client.set_registered_model_tag(model, "long", "v" * 100_000)
    client.set_model_version_tag(model, "1", "b", "é")
    client.set_model_version_tag(model, "1", "c", 3)
    assert client.get_registered_model(model).tags["a"] == "2"
    assert len(client.get_registered_model(model).tags["long"]) == 100_000
    assert client.get_model_version(model, "1").tags == {"b": "é", "c": "3"}
    client.delete_registered_model_tag(model, "a")
    client.delete_model_version_tag(model, "1", "b")
    client.delete_registered_model_tag(model, "never")
    client.delete_model_version_tag(model, "1", "never")
    assert "a" not in client.get_registered_model(model).tags
    assert client.get_model_version(model, "1").tags == {"c": "3"}
    with raises("INVALID_PARAMETER_VALUE"):
        client.set_registered_model_tag(model, "x", "v" * 100_001)
    with raises("INVALID_PARAMETER_VALUE"):
        client.set_model_version_tag(model, "1", "k" * 251, "v")
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.set_registered_model_tag(unique("nobody"), "a", "1")
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.set_model_version_tag(model, "9", "a", "1")


@pytest.mark.route("POST model-versions/create")
def test_a_version_is_copied(client, model, run, unique) -> None:
    version(client, model, run, tags={"a": "1"}, description="words")
    client.set_registered_model_alias(model, "champion", 1)
    target = unique("copy")
    for number, source in enumerate((f"models:/{model}/1", f"models:/{model}@champion"), 1):
        copied = client.copy_model_version(source, target)
        assert (copied.name, copied.version, copied.run_id) == (target, str(number), run)
        assert copied.source == f"models:/{model}/1"
        assert copied.description == "words"
        place = client.get_model_version_download_uri(target, str(number))
        assert mlflow.artifacts.load_text(f"{place}/weights.txt") == "weights"
    with raises("INTERNAL_ERROR", "RESOURCE_DOES_NOT_EXIST"):  # the client's words around the server's
        client.copy_model_version(f"models:/{model}/9", target)


@pytest.mark.route("POST model-versions/create", "POST registered-models/create")
def test_register_model_by_address(client, active, unique) -> None:
    from sklearn.linear_model import LinearRegression

    info = mlflow.sklearn.log_model(LinearRegression().fit([[0], [1]], [0, 1]), name="m", pip_requirements=["numpy"])
    name = unique("by address")
    first = mlflow.register_model(info.model_uri, name, tags={"a": "1"})
    second = mlflow.register_model(f"runs:/{active}/m", name)
    assert (first.version, second.version) == ("1", "2")
    assert first.run_id == second.run_id == active
    assert first.tags == {"a": "1"}
    logged = client.get_logged_model(info.model_id)
    assert name in logged.tags["mlflow.modelVersions"]


@pytest.fixture(scope="module")
def family(server) -> dict[str, list[str]]:
    """Three models with one to three versions each, made in this order; what they are called."""
    client = MlflowClient()
    experiment = client.create_experiment("search registry")
    runs = [client.create_run(experiment).info.run_id for _ in range(2)]
    for name, count, tags in (("fam_b", 2, {"team": "red"}), ("fam_a", 3, {"team": "Red"}), ("FAM_c", 1, {})):
        client.create_registered_model(name, tags=tags)
        for number in range(count):
            version(client, name, runs[number % 2], tags={"odd key": str(number)} if number else {})
    return {"runs": runs}


MODELS = {
    "name = 'fam_a'": "a",
    "name LIKE 'fam_%'": "ab",
    "name ILIKE 'fam__'": "abc",
    "tag.team = 'red'": "b",
    "tags.team ILIKE 'RED'": "ab",
    "tag.team = 'red' AND name LIKE 'fam%'": "b",
    "tag.`team` = 'Red'": "a",
}


@pytest.mark.route("GET registered-models/search")
@pytest.mark.parametrize("text", MODELS)
def test_models_are_found_by_filter(client, family, text) -> None:
    found = client.search_registered_models(filter_string=text)
    assert "".join(sorted(model.name[-1] for model in found if model.name.lower().startswith("fam_"))) == MODELS[text]


@pytest.mark.route("GET registered-models/search")
@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ([], "cab"),
        (["name"], "cab"),
        (["name DESC"], "bac"),
        pytest.param(["creation_timestamp"], "bac", marks=pytest.mark.ours_only("MLflow does not know this order")),
        (["last_updated_timestamp ASC", "name"], "bac"),
        (["timestamp DESC"], None),
    ],
)
def test_models_are_ordered_and_have_pages(client, family, order, wanted) -> None:
    seen, token, pages = "", None, 0
    while pages == 0 or token:
        page = client.search_registered_models("name ILIKE 'fam__'", max_results=1, order_by=order, page_token=token)
        assert len(page) == 1
        seen += page[0].name[-1]
        token, pages = page.token, pages + 1
    assert pages == 3
    assert wanted in {seen, None}


VERSIONS = {
    "name = 'fam_a'": "a3 a2 a1",
    "name LIKE 'fam_%'": "a3 a2 a1 b2 b1",
    "name ILIKE 'FAM__'": "c1 a3 a2 a1 b2 b1",
    "name IN ('fam_a', 'FAM_c')": "c1 a3 a2 a1",
    "name = 'fam_a' AND version_number > 1": "a3 a2",
    "name = 'fam_a' AND version_number <= 2": "a2 a1",
    "run_id = 'RUN_0' AND name LIKE 'fam_%'": "a3 a1 b1",
    "run_id IN ('RUN_1')": "a2 b2",
    "source_path LIKE '%RUN_1%'": "a2 b2",
    "tag.`odd key` = '1'": "a2 b2",
    "tags.\"odd key\" LIKE '%' AND name = 'fam_a'": "a3 a2",
}


@pytest.mark.route("GET model-versions/search")
@pytest.mark.parametrize("text", VERSIONS)
def test_versions_are_found_by_filter(client, family, text) -> None:
    for number, run in enumerate(family["runs"]):
        text = text.replace(f"RUN_{number}", run)
    found = client.search_model_versions(text, order_by=["name", "version_number DESC"])
    names = " ".join(f"{entry.name[-1]}{entry.version}" for entry in found)
    for number, run in enumerate(family["runs"]):
        text = text.replace(run, f"RUN_{number}")
    assert names == VERSIONS[text]


@pytest.mark.route("GET model-versions/search")
def test_versions_are_ordered_and_have_pages(client, family) -> None:
    for order, wanted in (
        (["name ASC", "version_number ASC"], "a1 a2 a3 b1 b2"),
        (["version_number DESC", "name ASC"], "a3 a2 b2 a1 b1"),
        (["creation_timestamp ASC", "name", "version_number ASC"], None),
        (["last_updated_timestamp DESC"], None),
        ([], "a3 a2 a1 b2 b1"),
    ):
        seen, token, pages = [], None, 0
        while pages == 0 or token:
            page = client.search_model_versions("name LIKE 'fam_%'", 2, order, token)
            seen += [f"{entry.name[-1]}{entry.version}" for entry in page]
            token, pages = page.token, pages + 1
        assert pages == 3
        assert sorted(seen) == ["a1", "a2", "a3", "b1", "b2"]
        assert wanted in {" ".join(seen), None}, order


@pytest.mark.route("GET registered-models/search", "GET model-versions/search")
@pytest.mark.parametrize("text", ["nonsense", "size = 'x'", "name > 'a'", "name = unquoted", "params.x IN ('1')"])
def test_a_filter_that_cannot_be_read_is_refused(client, text) -> None:
    for search in (client.search_registered_models, client.search_model_versions):
        with raises("INVALID_PARAMETER_VALUE"):
            search(text)
        with raises("INVALID_PARAMETER_VALUE"):
            search(order_by=["nonsense"])


@pytest.mark.route("POST registered-models/get-latest-versions", "GET registered-models/get-latest-versions")
def test_the_latest_by_both_verbs(client, wire, model, run) -> None:
    version(client, model, run)
    got = wire.get("registered-models/get-latest-versions", {"name": model})
    assert wire.post("registered-models/get-latest-versions", {"name": model}) == got
    (found,) = got["model_versions"]
    assert (found["version"], found["current_stage"], found["status"]) == ("1", "None", "READY")
    assert type(found["creation_timestamp"]) is int
