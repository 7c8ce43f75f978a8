"""boto3's client of SageMaker's runtime, through a stand-in for the service that only hands requests on."""

from __future__ import annotations

import csv
import io
import json

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.validate import ParamValidator
from forwarder import runtime


@pytest.fixture(scope="module")
def client(served):
    with runtime({name: model.http for name, model in served.items()}) as address:
        yield boto3.client(
            "sagemaker-runtime",
            endpoint_url=address,
            region_name="eu-north-1",
            aws_access_key_id="none",
            aws_secret_access_key="none",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=20),
        )


def records(model, rows: int) -> list[dict[str, object]]:
    return [{name: values[row] for name, values in model.columns.items()} for row in range(rows)]


def table(model) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([model.columns, *zip(*model.columns.values(), strict=True)])
    return text.getvalue().encode()


def check(client, model, answer) -> None:
    predictions = json.loads(answer["Body"].read())["predictions"]
    assert [one["probability"] for one in predictions] == pytest.approx(model.probability, abs=1e-5)
    shape = client.meta.service_model.operation_model("InvokeEndpoint").output_shape
    known = {name: value for name, value in answer.items() if name in shape.members}
    assert not ParamValidator().validate({**known, "Body": b""}, shape).has_errors()
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("application/json", "AllTraffic")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_json_and_csv_give_scikit_learns_answers(client, model) -> None:
    body = json.dumps({"dataframe_records": records(model, model.rows)})
    answer = client.invoke_endpoint(
        EndpointName=model.name,
        Body=body,
        ContentType="application/json",
        Accept="application/json",
        CustomAttributes="trace=1",
        InferenceId="case-1",
        TargetVariant="AllTraffic",
    )
    check(client, model, answer)
    check(client, model, client.invoke_endpoint(EndpointName=model.name, Body=table(model), ContentType="text/csv"))


def test_without_a_content_type_a_body_is_json(client, model) -> None:
    body = json.dumps({"instances": records(model, model.rows)}).encode()
    check(client, model, client.invoke_endpoint(EndpointName=model.name, Body=body))


def test_what_is_wrong_is_a_model_error_with_our_status_and_sentence(client, model) -> None:
    first = next(iter(model.columns))
    row = {name: value for name, value in records(model, 1)[0].items() if name != first}
    wrong = (
        ({"Body": json.dumps({"instances": [row]}), "ContentType": "application/json"}, 400, f"'{first}'"),
        ({"Body": b"\x00", "ContentType": "application/x-npy"}, 415, "content type"),
        ({"Body": b"{", "ContentType": "application/json"}, 400, "no complete JSON"),
    )
    for given, status, says in wrong:
        with pytest.raises(client.exceptions.ModelError) as error:
            client.invoke_endpoint(EndpointName=model.name, **given)
        said = error.value.response
        assert (said["OriginalStatusCode"], says in said["OriginalMessage"]) == (status, True), said


def test_ping_is_what_the_service_waits_for(model) -> None:
    answer = requests.get(model.http + "/ping", timeout=2)  # it gives a container two seconds
    assert (answer.status_code, answer.content.strip()) == (200, b"")
