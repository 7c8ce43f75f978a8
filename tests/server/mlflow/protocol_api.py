"""The MLflow protocol as tests speak it."""

from __future__ import annotations

import re
from typing import Any

from starlette.testclient import TestClient


class Api:
    """Speaks the protocol: answers are the JSON of an answer that succeeded, `refused` the code of one that did not."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def post(self, path: str, _method: str = "POST", /, **body: Any) -> Any:
        response = self.client.request(_method, f"/api/2.0/mlflow/{path}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def get(self, path: str, /, **query: Any) -> Any:
        response = self.client.get(f"/api/2.0/mlflow/{path}", params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def refused(self, path: str, _method: str = "POST", /, **body: Any) -> tuple[int, str]:
        more = {"params": body} if _method == "GET" else {"json": body}
        return refusal(self.client.request(_method, f"/api/2.0/mlflow/{path}", **more))

    def new_run(self, experiment: str = "0", **more: Any) -> str:
        return str(self.post("runs/create", experiment_id=experiment, **more)["run"]["info"]["run_id"])

    def run(self, run: str) -> Any:
        return self.get("runs/get", run_id=run)["run"]


def refusal(response: Any) -> tuple[int, str]:
    """Return the status and the message of an error of the protocol, which says nothing of our insides."""
    document = response.json()
    assert set(document) == {"error_code", "message"}, response.text
    assert response.headers["content-type"] == "application/json"
    assert not re.search(r"SELECT|INSERT|Traceback|\.py\b", document["message"])
    assert response.status_code < 500, response.text
    return response.status_code, f"{document['error_code']}: {document['message']}"
