from __future__ import annotations

import pytest

from interlock.bridges.webhooks import mlflow
from interlock.bridges.webhooks.faces import MlflowFace, check_names, face_of
from interlock.core.errors import Invalid
from interlock.core.events import KINDS

PROMPT = {"mlflow.prompt.is_prompt": "true", "_mlflow_prompt_type": "text"}


@pytest.fixture
def told(store, catalogue):
    """Plays a change and returns what MLflow's webhooks are told of it."""

    def play(change):
        start = store.ledger.size()
        store.database.write(lambda tx: change(tx, catalogue))
        events = store.ledger.events(start - 1)
        return [message for event in events for message in mlflow.translate(store.database, event)]

    return play


def test_names_are_made_of_kinds_that_there_are() -> None:
    assert {kind for kind in mlflow.SOURCES.values() if kind} <= set(KINDS)
    assert set(mlflow.EXAMPLES) == set(mlflow.SOURCES)
    assert MlflowFace().kinds(["budget_policy.exceeded"]) == set()
    with pytest.raises(Invalid, match="no face"):
        face_of("other", "")
    with pytest.raises(Invalid, match="at least one"):
        check_names(MlflowFace(), [])


def test_a_model_and_its_versions(told, catalogue) -> None:
    assert told(lambda tx, c: c.models.create(tx, "m", description="d", tags={"a": "b"})) == [
        ("registered_model", "created", {"name": "m", "tags": {"a": "b"}, "description": "d"})
    ]
    draft = catalogue.versions.draft("m", source="s3://b/x", location="s3://b/x", description="v", tags={"k": "1"})
    version = {"name": "m", "version": "1", "source": "s3://b/x", "run_id": None}
    assert told(lambda tx, c: c.versions.create(tx, draft)) == [
        ("model_version", "created", version | {"tags": {"k": "1"}, "description": "v"})
    ]
    about = {"name": "m", "version": "1"}
    assert told(lambda tx, c: c.versions.tag(tx, "m", 1, {"x": "1", "y": "2", "k": "1"})) == [
        ("model_version_tag", "set", about | {"key": "x", "value": "1"}),
        ("model_version_tag", "set", about | {"key": "y", "value": "2"}),
    ]
    assert told(lambda tx, c: c.versions.untag(tx, "m", 1, ["x", "nothing"])) == [
        ("model_version_tag", "deleted", about | {"key": "x"})
    ]
    assert told(lambda tx, c: c.aliases.set(tx, "m", "best", 1)) == [
        ("model_version_alias", "created", {"name": "m", "alias": "best", "version": "1"})
    ]
    assert told(lambda tx, c: c.aliases.delete(tx, "m", "best")) == [
        ("model_version_alias", "deleted", {"name": "m", "alias": "best"})
    ]
    assert told(lambda tx, c: c.versions.describe(tx, "m", 1, description="new")) == []
    assert told(lambda tx, c: c.models.tag(tx, "m", {"t": "u"})) == []


def test_a_prompt_and_its_versions(told, catalogue) -> None:
    assert told(lambda tx, c: c.models.create(tx, "p", tags=PROMPT | {"a": "b"})) == [
        ("prompt", "created", {"name": "p", "tags": {"a": "b"}, "description": ""})
    ]
    tags = PROMPT | {"mlflow.prompt.text": "Hello {{name}}", "t": "u"}
    draft = catalogue.versions.draft("p", source="dummy-source", tags=tags)
    version = {"name": "p", "version": "1", "template": "Hello {{name}}", "tags": {"t": "u"}, "description": None}
    assert told(lambda tx, c: c.versions.create(tx, draft)) == [("prompt_version", "created", version)]
    assert told(lambda tx, c: c.models.tag(tx, "p", {"k": "v"})) == [
        ("prompt_tag", "set", {"name": "p", "key": "k", "value": "v"})
    ]
    assert told(lambda tx, c: c.models.untag(tx, "p", ["k"])) == [("prompt_tag", "deleted", {"name": "p", "key": "k"})]
    about = {"name": "p", "version": "1"}
    assert told(lambda tx, c: c.versions.tag(tx, "p", 1, {"k": "v"})) == [
        ("prompt_version_tag", "set", about | {"key": "k", "value": "v"})
    ]
    assert told(lambda tx, c: c.versions.untag(tx, "p", 1, ["k"])) == [
        ("prompt_version_tag", "deleted", about | {"key": "k"})
    ]
    assert told(lambda tx, c: c.aliases.set(tx, "p", "prod", 1)) == [
        ("prompt_alias", "created", {"name": "p", "alias": "prod", "version": "1"})
    ]
    assert told(lambda tx, c: c.aliases.delete(tx, "p", "prod")) == [
        ("prompt_alias", "deleted", {"name": "p", "alias": "prod"})
    ]


def test_a_new_version_is_told_as_it_was_made(store, catalogue) -> None:
    """However late it is told: what was tagged since has messages of its own."""
    store.database.write(lambda tx: catalogue.models.create(tx, "m"))
    draft = catalogue.versions.draft("m", source="s3://b/x", tags={"k": "1", "gone": "x"}, description="first")
    start = store.ledger.size()
    store.database.write(lambda tx: catalogue.versions.create(tx, draft))
    store.database.write(lambda tx: catalogue.versions.tag(tx, "m", 1, {"k": "2", "new": "y"}))
    store.database.write(lambda tx: catalogue.versions.untag(tx, "m", 1, ["gone"]))
    store.database.write(lambda tx: catalogue.versions.describe(tx, "m", 1, description="second"))
    [made, *_] = [mlflow.translate(store.database, event) for event in store.ledger.events(start - 1)]
    assert made[0][2]["tags"] == {"k": "1", "gone": "x"}
    assert made[0][2]["description"] == "first"
