"""Plain HTTP as the protocol has it, without a client that hides how an answer is written."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import requests

API: Final = "/api/2.0/mlflow/"
ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts"


INVALID: Final = "INVALID_PARAMETER_VALUE"


class Answer(NamedTuple):
    """What came back: status, body as JSON where it is, as text, and the headers."""

    status: int
    json: Any
    text: str
    headers: Any


class Wire:
    """A connection to one server.

    Paths without a leading slash are those of the API's table, such as `runs/create`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._session = requests.Session()

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """Return the answer to a request; bytes are sent as they are, anything else as JSON or, for GET, a query."""
        url = self.address + (path if path.startswith("/") else API + path)
        if isinstance(body, bytes):
            more = {"headers": {"Content-Type": "application/json"}, **more, "data": body}
        elif body is not None:
            more["params" if method == "GET" else "json"] = body
        answer = self._session.request(method, url, timeout=60, **more)
        kind = answer.headers.get("Content-Type", "")
        return Answer(
            answer.status_code,
            answer.json() if "json" in kind and answer.content else None,
            answer.text,
            answer.headers,
        )

    def get(self, path: str, query: Any = None, **more: Any) -> Any:
        """Return the JSON that a GET is answered with; it must succeed."""
        return self._good(self.call("GET", path, query, **more), path)

    def post(self, path: str, body: Any, **more: Any) -> Any:
        """Return the JSON that a POST is answered with; it must succeed."""
        return self._good(self.call("POST", path, body, **more), path)

    def refused(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 400,
        code: str = "INVALID_PARAMETER_VALUE",
        **more: Any,
    ) -> str:
        """Return the message of the error that a request is answered with.

        Asserts the status, the form of the error, and its code.
        """
        answer = self.call(method, path, body, **more)
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.text[:300]}"
        assert answer.json is not None, (
            f"{method} {path}: the error is no JSON but {answer.headers.get('Content-Type')}"
        )
        assert answer.json["error_code"] == code, answer.text[:300]
        assert isinstance(answer.json["message"], str)
        assert answer.json["message"]
        return answer.json["message"]

    @staticmethod
    def _good(answer: Answer, path: str) -> Any:
        assert answer.status == 200, f"{path}: {answer.status} {answer.text[:300]}"
        assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
        return answer.json
