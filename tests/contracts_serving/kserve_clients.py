"""What test_kserve.py runs in a process of its own: KServe's REST and gRPC clients, as their users call them."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferOutput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from tensors import NUMPY


def rest(call):
    """Return what a call of the REST client gives."""

    async def ask():
        async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=20)) as client:
            return await call(client)

    return asyncio.run(ask())


def request(model, *, binary: bool, outputs=None, rows: int | None = None) -> InferRequest:
    inputs = []
    for name, datatype in model.datatypes.items():
        values = model.columns[name][:rows]
        tensor = InferInput(name, [len(values)], datatype)
        given = [value.encode() for value in values] if datatype == "BYTES" and binary else values
        tensor.set_data_from_numpy(np.array(given, NUMPY[datatype]), binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model.name, inputs, request_id="r-1", request_outputs=outputs)


def output(found, name: str) -> InferOutput:
    (one,) = [output for output in found.outputs if output.name == name]
    return one


def test_health_is_json_that_it_parses(model) -> None:
    assert rest(lambda client: client.is_server_live(model.http)) is True
    assert rest(lambda client: client.is_server_ready(model.http)) is True
    assert rest(lambda client: client.is_model_ready(model.http, model.name)) is True
    assert rest(lambda client: client.is_model_ready(model.http, "nobody")) is False


@pytest.mark.parametrize("outward", [True, False, None], ids=["binary answer", "json answer", "answer as it comes"])
@pytest.mark.parametrize("inward", [True, False], ids=["binary request", "json request"])
def test_all_ways_of_tensors_give_scikit_learns_answers(model, inward, outward) -> None:
    wanted = outward is not None and [RequestedOutput("probability", {"binary_data": outward})]
    asked = request(model, binary=inward, outputs=wanted or None)
    headers: dict[str, str] = {}
    found = rest(lambda client: client.infer(model.http, asked, model.name, response_headers=headers))
    assert (found.id, found.model_name) == ("r-1", model.name)  # it leaves the version unread
    np.testing.assert_allclose(output(found, "probability").as_numpy(), model.probability, rtol=0, atol=1e-5)
    assert len(found.outputs) == (1 if wanted else 3)
    assert ("inference-header-content-length" in headers) == bool(outward)
    assert headers["interlock-model"].endswith(f"@{model.version}")


def test_a_body_may_be_a_dictionary(model) -> None:
    inputs = [
        {"name": name, "shape": [2, 1], "datatype": datatype, "data": [[value] for value in model.columns[name][:2]]}
        for name, datatype in model.datatypes.items()
    ]
    found = rest(lambda client: client.infer(model.http, {"inputs": inputs}, model.name))
    np.testing.assert_allclose(output(found, "probability").as_numpy(), model.probability[:2], rtol=0, atol=1e-5)
    assert found.id


def test_errors_carry_our_sentence(model) -> None:
    asked = request(model, binary=False)
    asked.inputs = asked.inputs[1:]
    name = next(iter(model.datatypes))
    for wanted, status, says in ((model.name, 400, f"'{name}'"), ("nobody", 404, "nobody")):
        with pytest.raises(httpx.HTTPStatusError) as error:
            rest(lambda client, wanted=wanted: client.infer(model.http, asked, wanted))
        assert (error.value.response.status_code, says in str(error.value)) == (status, True), error.value


def test_its_grpc_client(model) -> None:
    async def ask() -> None:
        client = InferenceGRPCClient(model.grpc, timeout=20)
        try:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready(model.name)
            for binary in (True, False):
                found = await client.infer(request(model, binary=binary))
                scores = output(found, "probability").as_numpy()
                np.testing.assert_allclose(scores, model.probability, rtol=0, atol=1e-5)
        finally:
            await client.close()

    asyncio.run(ask())
