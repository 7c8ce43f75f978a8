"""What each server says of itself in OpenAPI, held against what it does: by schemathesis, over real processes.

It makes requests of the schemas, right ones and wrong ones. Whatever it sends: no 5xx, a status that is described, a
body and headers of the form that is described for it, 4xx for what the schemas do not allow, and 405 for other methods.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator
from servers import interlock

HERE = Path(__file__).parent
METHODS = {"get", "post", "put", "delete", "patch"}
# How each is asked: how many requests of an operation are made up, and whether the edges of each schema are tried; that
# takes most of the time (8 s of a core). `named` has three classes, which are texts.
ASKED = {
    "shop": ["--max-examples", "5"],
    "named": ["--max-examples", "10", "--phases", "examples,fuzzing"],
    "workspace": ["--max-examples", "1"],
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> str:
    """The address of a workspace's server."""
    with interlock(tmp_path_factory.mktemp("workspace")) as server:
        yield server.address


@pytest.fixture(params=["shop", "named", "workspace"])
def place(request, served, workspace) -> tuple[str, str, str]:
    """Which model is served, or that it is a workspace; the server's address, and the path of its document."""
    if request.param == "workspace":
        return request.param, workspace, "/api/v1/openapi.json"
    return request.param, served[request.param].http, "/openapi.json"


def test_the_document_is_openapi(place) -> None:
    _, address, path = place
    document = requests.get(address + path, timeout=20).json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"


def test_the_server_does_as_it_says(place, tmp_path) -> None:
    what, address, path = place
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml")]
    command += ["run", address + path, "--no-color", *ASKED[what]]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " 0 generated" not in done.stdout, done.stdout[-2000:]


def test_wrong_methods_and_content_types_are_the_callers_fault(place) -> None:
    what, address, path = place
    asked = 0
    for route, item in requests.get(address + path, timeout=20).json()["paths"].items():
        url = address + route.replace("{name}", what).replace("{version}", "1").replace("{digest}", "0" * 64)
        for method in METHODS - {*item}:
            answer = requests.request(method, url, timeout=20)
            assert 400 <= answer.status_code < 500, (method, route, answer.status_code)
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                headers = {"Content-Type": "application/xml"}
                answer = requests.request(method, url, data=b"<a/>", headers=headers, timeout=20)
                assert 400 <= answer.status_code < 500, (method, route, answer.status_code)
                asked += 1
    assert asked > 5
