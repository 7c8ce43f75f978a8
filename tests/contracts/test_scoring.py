"""`interlock serve` as MLflow's users score: its scoring client, its payload helpers, pandas' files, plain requests.

Which status MLflow's own server gives was seen by asking it (3.17) the same questions; where ours differs, the test
says so.
"""

from __future__ import annotations

import io
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pandas as pd
import pytest
import requests
from mlflow.models import ModelSignature, convert_input_example_to_serving_input
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from mlflow.types.schema import ColSpec, Schema
from mlflow.utils.proto_json_utils import dump_input_data
from servers import endpoint, register

PARQUET = "application/vnd.apache.parquet"
KINDS = {"FP64": "double", "INT64": "long", "BYTES": "string"}


class Served(NamedTuple):
    """A model that is served, and what scikit-learn says about some rows."""

    url: str
    frame: pd.DataFrame
    kinds: dict[str, str]
    probability: list[float]
    label: list[int]

    def post(self, body: Any, kind: str = "application/json", **headers: str) -> requests.Response:
        """Send a body, JSON if it is none yet."""
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        headers = {"Content-Type": kind, **headers}
        return requests.post(f"{self.url}/invocations", data=data, headers=headers, timeout=20)

    def check(self, answer: Any) -> None:
        """Hold an answer against scikit-learn's."""
        if isinstance(answer, requests.Response):
            assert answer.status_code == 200, answer.text
            answer = answer.json()
        found = pd.DataFrame(answer["predictions"])
        assert found["probability"].tolist() == pytest.approx(self.probability, abs=1e-5)
        (target,) = set(found.columns) - {"probability", "prediction_id"}
        assert found[target].tolist() == self.label
        assert found["prediction_id"].is_unique


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Both models that are served, each by a process of its own."""
    folder = tmp_path_factory.mktemp("serving")
    facts = register(folder)
    with endpoint(folder, "line") as line, endpoint(folder, "shop") as shop:
        yield {
            name: Served(
                server.address,
                pd.DataFrame(facts[name]["columns"]),
                {column: KINDS[datatype] for column, datatype in facts[name]["datatypes"].items()},
                facts[name]["probability"],
                facts[name]["label"],
            )
            for name, server in (("line", line), ("shop", shop))
        }


@pytest.fixture(params=["line", "shop"])
def model(request, models) -> Served:
    return models[request.param]


@pytest.fixture
def scoring(model) -> ScoringServerClient:
    address = urlsplit(model.url)
    return ScoringServerClient(address.hostname, address.port)


def test_the_scoring_client_finds_it_ready(scoring) -> None:
    scoring.wait_server_ready(timeout=5)
    scoring.ping()
    assert scoring.get_version().count(".") >= 1


def test_the_scoring_client_sends_frames_and_reads_predictions(model, scoring) -> None:
    found = scoring.invoke(model.frame)
    model.check(found)
    frame = found.get_predictions("dataframe")
    assert frame.shape == (len(model.label), 3)
    assert frame["probability"].tolist() == pytest.approx(model.probability, abs=1e-5)
    assert len(found.get_predictions("ndarray")) == len(model.label)


def test_the_scoring_client_sends_lists_and_texts(model, scoring) -> None:
    model.check(scoring.invoke(model.frame.to_dict("records")))  # {"inputs": [{...}, ...]}
    model.check(scoring.invoke(json.dumps({"inputs": model.frame.to_dict("list")})))


def test_the_scoring_client_sends_params_beside_the_data(model, scoring) -> None:
    params = {"subjects": [f"p{row}" for row in range(len(model.label))], "occurred_at": "2026-03-01T12:00:00Z"}
    model.check(scoring.invoke(model.frame, params={**params, "request_id": "r-1"}))
    model.check(scoring.invoke(model.frame, params={}))


def numeric(model) -> bool:
    return all(kind.kind in "if" for kind in model.frame.dtypes)


def test_the_scoring_client_raises_with_our_sentence(model, scoring) -> None:
    first = model.frame.columns[0]
    with pytest.raises(Exception, match=rf"error code 400.*'{first}'"):
        scoring.invoke(model.frame.drop(columns=first))
    if not numeric(model):
        with pytest.raises(Exception, match=r"error code 400.*columns"):
            scoring.invoke(model.frame.to_numpy())  # {"inputs": [[...], ...]}
    with pytest.raises(Exception, match=r"error code 400.*no key 'temperature' in params"):
        scoring.invoke(model.frame, params={"temperature": 0.1})  # MLflow's own would drop it and log a warning


@pytest.mark.parametrize("index", [True, False])
def test_a_frames_forms(model, index) -> None:
    frame = model.frame.set_axis(range(7, 7 + len(model.frame))) if index else model.frame
    split = frame.to_dict(orient="split") if index else frame.to_dict(orient="split", index=False)
    model.check(model.post({"dataframe_split": split}))
    model.check(model.post({"dataframe_records": frame.to_dict(orient="records")}))
    model.check(model.post({"instances": frame.to_dict(orient="records")}))
    model.check(model.post({"inputs": frame.to_dict(orient="list")}))
    model.check(model.post(dump_input_data(frame)))


def test_the_payload_that_mlflow_makes_of_an_example(model) -> None:
    model.check(model.post(convert_input_example_to_serving_input(model.frame)))
    model.check(model.post(convert_input_example_to_serving_input(model.frame.to_dict("list"))))


def test_one_row_as_scalars(model) -> None:
    row = model.frame.iloc[0].to_dict()
    answer = model.post({"inputs": row})
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["predictions"]
    assert found["probability"] == pytest.approx(model.probability[0], abs=1e-5)


def test_nested_lists_without_names_are_answered_where_all_columns_are_numbers(model, scoring) -> None:
    rows = model.frame.to_numpy().tolist()
    for key in ("instances", "inputs"):
        for data in (rows, rows[0]):
            answer = model.post({key: data})
            if numeric(model) and data is rows:
                model.check(answer)
                continue
            assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
            assert "columns" in answer.json()["message"], answer.text
    if numeric(model):
        model.check(scoring.invoke(model.frame.to_numpy()))


def test_csv(model) -> None:
    model.check(model.post(model.frame.to_csv(index=False), "text/csv"))
    turned = model.frame[model.frame.columns[::-1]].assign(more="x")
    model.check(model.post(turned.to_csv(index=False, quoting=1), "text/csv; charset=utf-8"))
    model.check(model.post(model.frame.to_csv(), "text/csv"))  # with the index, a column without a name
    broken = model.post("a,b\n1\n", "text/csv")
    assert (broken.status_code, set(broken.json())) == (400, {"error_code", "message"})


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", None])
def test_parquet(model, compression) -> None:
    for frame in (model.frame, model.frame.set_axis(range(7, 7 + len(model.frame))).assign(more="x")):
        body = io.BytesIO()
        frame.to_parquet(body, compression=compression)
        model.check(model.post(body.getvalue(), PARQUET))
    texts = model.frame.select_dtypes(exclude="number").columns
    body = io.BytesIO()
    model.frame.astype(dict.fromkeys(texts, "category")).to_parquet(body, compression=compression)
    model.check(model.post(body.getvalue(), PARQUET, **{"Interlock-Subject": "ann"}))


def test_what_is_wrong_in_parquet_is_400(model) -> None:
    body = io.BytesIO()
    model.frame.to_parquet(body)
    whole = body.getvalue()
    for broken in (b"", b"PAR1", whole[:-1], whole[: len(whole) // 2], whole[4:]):
        answer = model.post(broken, PARQUET)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST"), answer.text
    first = model.frame.columns[0]
    for frame in (model.frame.drop(columns=first), model.frame.assign(**{first: pd.Timestamp("2026-01-01")})):
        body = io.BytesIO()
        frame.to_parquet(body)
        answer = model.post(body.getvalue(), PARQUET)
        assert (answer.status_code, f"'{first}'" in answer.json()["message"]) == (400, True), answer.text
    assert model.post(whole, "application/x-parquet").status_code == 415  # MLflow's own says so, too


def test_the_signature_that_mlflow_would_have_reads_our_rows_alike(models) -> None:
    """Whole numbers may come as floats and as text cells of a CSV; fractions for whole numbers are refused."""
    shop = models["shop"]
    schema = Schema([ColSpec(kind, name) for name, kind in shop.kinds.items()])
    assert ModelSignature(schema).inputs.input_types()
    rows = shop.frame.to_dict("records")
    shop.check(shop.post({"dataframe_records": [{**row, "age": float(row["age"])} for row in rows]}))
    half = shop.post({"dataframe_records": [{**rows[0], "age": 20.5}]})
    assert (half.status_code, "'age'" in half.json()["message"]) == (400, True)
