"""A client of the deployment, as an application would have one: plain HTTP, two protocols, requests of mixed size."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from interlock.core.errors import Unavailable
from interlock.demo.people import SIZES, as_inputs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

    from interlock.demo.people import Month


class Client:
    """Sends requests to one server over one connection, and notes which answers it got.

    Args:
        url: where the server answers.
        model: the name of the deployment.
        answers: a file that gets one line an answer: the request and the ids of its predictions.
    """

    def __init__(self, url: str, model: str, answers: Path) -> None:
        self._answers = answers.open("a", encoding="utf-8")
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        self._model = model

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()
        self._answers.close()

    def score(self, rows: pl.DataFrame, request: str, at: str) -> int:
        """Return how many rows were scored; single people go by the Open Inference Protocol, groups by /invocations."""
        subjects = [str(person) for person in rows["person"]]
        inputs = as_inputs(rows)
        if inputs.height == 1:
            tensors = [tensor(name, "INT64", inputs[name].to_list()) for name in inputs.columns]
            tensors += [tensor("subject", "BYTES", subjects), tensor("occurred_at", "BYTES", [at])]
            answer = self._post(f"/v2/models/{self._model}/infer", {"id": request, "inputs": tensors})
            outputs = {output["name"]: output["data"] for output in answer["outputs"]}
            return self._note(request, outputs["prediction_id"])
        body = {
            "dataframe_split": {"columns": inputs.columns, "data": [list(row) for row in inputs.iter_rows()]},
            "params": {"subjects": subjects, "occurred_at": at, "request_id": request},
        }
        answer = self._post("/invocations", body)
        return self._note(request, [row["prediction_id"] for row in answer["predictions"]])

    def _note(self, request: str, ids: list[str]) -> int:
        self._answers.write(json.dumps({"request": request, "predictions": ids}) + "\n")
        self._answers.flush()
        return len(ids)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status != http.client.OK:
            raise Unavailable(f"{path} answered {response.status}: {answer}", about="deployment")
        found: dict[str, Any] = answer
        return found


def tensor(name: str, datatype: str, values: list[Any]) -> dict[str, Any]:
    """Return one input of an Open Inference request."""
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": values}


def send_month(client: Client, month: Month, rows: pl.DataFrame, sent: set[str], tick: Callable[[int], None]) -> int:
    """Return how many people were scored now; requests that the log holds already are not sent again.

    Args:
        client: the connection.
        month: the month they come in.
        rows: the people, in order.
        sent: ids of requests that were answered before.
        tick: called with the number of people after each request.
    """
    start, number, scored = 0, 0, 0
    while start < rows.height:
        size = min(SIZES[number % len(SIZES)], rows.height - start)
        request = f"{month.name}-{number:03}"
        if request not in sent:
            at = month.moment(start / rows.height).isoformat()
            scored += client.score(rows.slice(start, size), request, at)
        tick(size)
        start, number = start + size, number + 1
    return scored
