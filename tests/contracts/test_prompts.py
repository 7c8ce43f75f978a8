"""Prompts: models with a mark, which searches for models must not show."""

from __future__ import annotations

import json

import mlflow
import pytest
from errors import raises
from mlflow.exceptions import MlflowException


@pytest.mark.route("POST registered-models/create", "POST model-versions/create", "GET registered-models/get")
def test_a_prompt_is_registered_and_loaded(unique) -> None:
    name = unique("greet")
    first = mlflow.genai.register_prompt(name, "Hello {{name}}, é!", commit_message="first", tags={"lang": "en"})
    assert (first.version, first.template, first.commit_message) == (1, "Hello {{name}}, é!", "first")
    second = mlflow.genai.register_prompt(name, "Hi {{name}}!")
    assert second.version == 2
    for address in (f"prompts:/{name}/1", f"prompts:/{name}/2"):
        assert mlflow.genai.load_prompt(address, cache_ttl_seconds=0).version == int(address[-1])
    loaded = mlflow.genai.load_prompt(name, version=1, cache_ttl_seconds=0)
    assert loaded.format(name="Ann") == "Hello Ann, é!"
    assert loaded.tags["lang"] == "en"
    assert loaded.variables == {"name"}
    assert mlflow.genai.load_prompt(f"prompts:/{name}@latest", cache_ttl_seconds=0).version == 2
    assert mlflow.genai.load_prompt(unique("nobody"), version=1, allow_missing=True) is None
    with pytest.raises(MlflowException):
        mlflow.genai.load_prompt(unique("nobody"), version=1)


@pytest.mark.route("POST model-versions/create")
def test_a_chat_prompt_keeps_its_form(unique) -> None:
    name = unique("chat")
    template = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "{{question}}"}]
    form = {"type": "object", "properties": {"answer": {"type": "string"}}}
    mlflow.genai.register_prompt(name, template, response_format=form)
    loaded = mlflow.genai.load_prompt(name, version=1)
    assert loaded.template == template
    assert loaded.response_format == form
    assert loaded.format(question="Why?")[1] == {"role": "user", "content": "Why?"}


@pytest.mark.route("POST registered-models/alias", "POST registered-models/set-tag", "POST model-versions/set-tag")
def test_aliases_and_tags_of_a_prompt(client, unique) -> None:
    name = unique("tagged")
    for text in ("one", "two"):
        mlflow.genai.register_prompt(name, text)
    mlflow.genai.set_prompt_alias(name, "live", 1)
    assert mlflow.genai.load_prompt(f"prompts:/{name}@live", cache_ttl_seconds=0).template == "one"
    mlflow.genai.set_prompt_alias(name, "live", 2)
    assert mlflow.genai.load_prompt(f"prompts:/{name}@live", cache_ttl_seconds=0).template == "two"
    mlflow.genai.delete_prompt_alias(name, "live")
    with pytest.raises(MlflowException):
        mlflow.genai.load_prompt(f"prompts:/{name}@live", cache_ttl_seconds=0)
    mlflow.genai.set_prompt_tag(name, "team", "red")
    mlflow.genai.set_prompt_version_tag(name, 1, "seen", "yes")
    assert mlflow.genai.get_prompt_tags(name)["team"] == "red"
    assert mlflow.genai.load_prompt(name, version=1, cache_ttl_seconds=0).tags["seen"] == "yes"
    mlflow.genai.delete_prompt_tag(name, "team")
    mlflow.genai.delete_prompt_version_tag(name, 1, "seen")
    assert "team" not in mlflow.genai.get_prompt_tags(name)
    assert [found.version for found in client.search_prompt_versions(name)] in ([2, 1], [1, 2], ["2", "1"])


@pytest.mark.route("GET registered-models/search", "GET model-versions/search")
def test_prompts_and_models_do_not_mix(client, unique) -> None:
    stem = unique("mix")
    prompt, model = f"{stem}-prompt", f"{stem}-model"
    mlflow.genai.register_prompt(prompt, "text", tags={"a": "1"})
    mlflow.genai.set_prompt_tag(prompt, "team", "red")
    client.create_registered_model(model)
    mine = f"name LIKE '{stem}%'"
    assert [found.name for found in client.search_registered_models(mine)] == [model]
    assert client.search_model_versions(mine) == []
    assert [found.name for found in mlflow.genai.search_prompts(mine)] == [prompt]
    assert [found.name for found in mlflow.genai.search_prompts("tags.team = 'red' AND " + mine)] == [prompt]
    with raises("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"):
        mlflow.genai.register_prompt(model, "text")
    with raises("RESOURCE_ALREADY_EXISTS"):
        client.create_registered_model(prompt)
    with raises("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        client.get_registered_model(prompt)


@pytest.mark.route("DELETE model-versions/delete", "DELETE registered-models/delete")
def test_prompts_are_deleted(client, unique) -> None:
    name = unique("gone")
    mlflow.genai.register_prompt(name, "text")
    client.delete_prompt_version(name, "1")
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.get_prompt_version(name, "1")
    client.delete_prompt(name)
    assert client.get_prompt(name) is None


@pytest.mark.route("POST runs/set-tag", "GET model-versions/search")
def test_a_prompt_knows_the_runs_that_used_it(client, active, unique) -> None:
    name = unique("used")
    mlflow.genai.register_prompt(name, "text")
    mlflow.genai.load_prompt(name, version=1, cache_ttl_seconds=0)
    client.link_prompt_version_to_run(active, f"prompts:/{name}/1")
    linked = json.loads(client.get_run(active).data.tags["mlflow.linkedPrompts"])
    assert {"name": name, "version": "1"} in linked
