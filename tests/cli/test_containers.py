"""Where we run, as the platforms' variables say it, and whose models may answer there."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.cli.containers import admit, container, memory_bound, reason
from interlock.core.errors import Error, GateClosed, Invalid
from interlock.registry.vouching import check_vouched
from interlock.store.notes import PrivateKey, sign_note

KEY = PrivateKey("interlock/test", b"k" * 32)
DIGEST = "a" * 64
NOTE = sign_note(f"interlock model approval v1\n{DIGEST}\nmodel:credit@7 approved\n", KEY)


@pytest.fixture
def base(tmp_path):
    (tmp_path / "model").mkdir()
    return {"SAGEMAKER_BASE_DIR": str(tmp_path)}


def test_a_plain_machine_is_no_container(tmp_path):
    # The variable that moves SageMaker's folder is one of SageMaker's, too.
    assert container({"HOME": "/root"}, named=True) is None
    assert container({}, named=True) is None


@pytest.mark.parametrize(
    ("variables", "platform", "port"),
    [
        ({}, "SageMaker", 8080),
        ({"SAGEMAKER_BIND_TO_PORT": "9000"}, "SageMaker", 9000),
        ({"AIP_HTTP_PORT": "7080", "AIP_STORAGE_URI": "gs://bucket/model"}, "Vertex AI", 7080),
    ],
)
def test_the_platform_says_where_to_listen(base, variables, platform, port):
    found = container({**base, **variables})
    assert (found.platform, found.port, found.model) == (platform, port, f"{base['SAGEMAKER_BASE_DIR']}/model")


def test_a_multi_model_container_begins_without_one(base):
    found = container({**base, "SAGEMAKER_MULTI_MODEL": "true"})
    assert (found.model, found.roots) == ("", (Path(base["SAGEMAKER_BASE_DIR"]),))


def test_folders_of_azure_and_vertex():
    assert container({"AZUREML_MODEL_DIR": "/var/azureml-app/model"}).model == "/var/azureml-app/model"
    assert container({"AIP_STORAGE_URI": "file:///models/m"}).model == "/models/m"
    assert container({"AIP_HTTP_PORT": "8081"}, named=True) == ("Vertex AI", 8081, "", ())


@pytest.mark.parametrize(
    "variables",
    [
        {"AIP_STORAGE_URI": "gs://bucket/model", "SAGEMAKER_BASE_DIR": "/nowhere"},
        {"AIP_HTTP_PORT": "8080", "SAGEMAKER_BASE_DIR": "/nowhere"},
        {"AIP_HTTP_PORT": "http", "AIP_STORAGE_URI": "/model"},
        {"SAGEMAKER_BIND_TO_PORT": "99999"},
    ],
)
def test_what_cannot_be_followed_is_an_error(variables):
    with pytest.raises(Invalid):
        container(variables)


def test_a_folder_is_admitted_by_the_note_of_whom_we_trust(tmp_path):
    (tmp_path / "model.approval.txt").write_text(NOTE)
    (tmp_path / "key").write_text(KEY.public.vkey + "\n")
    for key in (KEY.public.vkey, str(tmp_path / "key")):
        admit(tmp_path, DIGEST, {"INTERLOCK_TRUSTED_KEY": key})
    with pytest.raises(Invalid, match="other files"):
        admit(tmp_path, "b" * 64, {"INTERLOCK_TRUSTED_KEY": KEY.public.vkey})
    stranger = PrivateKey("interlock/test", b"s" * 32).public.vkey
    with pytest.raises(Invalid):
        admit(tmp_path, DIGEST, {"INTERLOCK_TRUSTED_KEY": stranger})
    with pytest.raises(GateClosed, match="No key"):
        admit(tmp_path, DIGEST, {})
    (tmp_path / "model.approval.txt").unlink()
    with pytest.raises(GateClosed, match="approval"):
        admit(tmp_path, DIGEST, {"INTERLOCK_TRUSTED_KEY": KEY.public.vkey})


def test_a_note_about_something_else_vouches_for_nothing():
    other = sign_note(f"interlock model manifest v1\n{DIGEST}\n", KEY)  # that files were registered
    with pytest.raises(Error):
        check_vouched(other, KEY.public.vkey, DIGEST)
    assert check_vouched(NOTE, KEY.public.vkey, DIGEST) == "model:credit@7"


def test_the_memory_is_the_containers_or_the_machines(tmp_path):
    (tmp_path / "limit").write_text("max\n")
    (tmp_path / "all").write_text("MemFree: 1 kB\nMemTotal:   1000 kB\n")
    files = {name: tmp_path / name for name in ("limit", "all")}
    assert memory_bound(files) == 921_600
    (tmp_path / "limit").write_text("1000\n")
    assert memory_bound(files) == 900
    assert memory_bound({"limit": tmp_path / "none", "all": tmp_path / "limit"}) == 0
    assert memory_bound() > 0


def test_the_reason_is_text():
    assert reason({"INTERLOCK_UNAPPROVED": " demo "}) == "demo"
    assert reason({}) == ""
