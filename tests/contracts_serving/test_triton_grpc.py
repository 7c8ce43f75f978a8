"""tritonclient's gRPC client, which sends tensors raw, and the protocol's own stub with typed contents."""

from __future__ import annotations

import asyncio
import json
import queue

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio
from tensors import check, inputs, tensor
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

OURS = ("probability", "prediction_id")
EVERY = (*OURS, "probabilities")
FIELDS = {"FP64": "fp64_contents", "FP32": "fp32_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}


@pytest.fixture
def client(model):
    with triton.InferenceServerClient(model.grpc) as client:
        yield client


@pytest.fixture
def target(client, model) -> str:
    (found,) = [output.name for output in client.get_model_metadata(model.name).outputs if output.name not in EVERY]
    return found


def refused(call, code: str, says: str) -> None:
    with pytest.raises(InferenceServerException) as error:
        call()
    assert (error.value.status(), says in error.value.message()) == (f"StatusCode.{code}", True), error.value


def test_health_and_metadata(client, model) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model.name)
    assert client.is_model_ready(model.name, model.version)
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready(model.name, "999")
    assert client.get_server_metadata().name == "interlock"
    found = client.get_model_metadata(model.name)
    assert (found.name, list(found.versions)) == (model.name, [model.version])
    assert {tensor.name: tensor.datatype for tensor in found.inputs} == model.datatypes
    *outputs, every = found.outputs
    assert {tuple(tensor.shape) for tensor in [*found.inputs, *outputs]} == {(-1,)}
    assert (every.name, every.datatype, list(every.shape)) == ("probabilities", "FP64", [-1, 2])
    assert client.get_model_metadata(model.name, model.version, as_json=True)["platform"] == found.platform


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_raw_tensors_give_scikit_learns_answers(client, model, target, compression) -> None:
    for shape in (None, [model.rows, 1]):
        found = client.infer(
            model.name,
            inputs(triton, model, shape),
            request_id="r-1",
            headers={"interlock-subject": "ann"},
            compression_algorithm=compression,
            client_timeout=20,
        )
        check(found, model, target)
        response = found.get_response()
        assert (response.id, response.model_name, response.model_version) == ("r-1", model.name, model.version)


def test_outputs_that_are_not_asked_for_do_not_come(client, model) -> None:
    wanted = [triton.InferRequestedOutput("probability")]
    found = client.infer(model.name, inputs(triton, model), model_version=model.version, outputs=wanted)
    assert [output.name for output in found.get_response().outputs] == ["probability"]
    np.testing.assert_allclose(found.as_numpy("probability"), model.probability, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["line", "shop", "named"])
def test_the_table_of_all_classes_is_what_predict_proba_says(served, name) -> None:
    model = served[name]
    with triton.InferenceServerClient(model.grpc) as client:
        wanted = [triton.InferRequestedOutput(one) for one in ("probability", "probabilities")]
        found = client.infer(name, inputs(triton, model), outputs=wanted)
        every = found.as_numpy("probabilities")
        assert (every.dtype, every.shape) == (np.float64, (model.rows, len(model.classes)))
        np.testing.assert_allclose(every, model.probabilities, rtol=0, atol=1e-5)
        assert json.loads(found.get_output("probabilities").parameters["classes"].string_param) == model.classes
        assert len(client.infer(name, inputs(triton, model)).get_response().outputs) == 3


def test_typed_contents_are_answered_in_kind(model, target) -> None:
    import grpc

    request = service_pb2.ModelInferRequest(model_name=model.name, id="r-2")
    for name, datatype in model.datatypes.items():
        values = [v.encode() for v in model.columns[name]] if datatype == "BYTES" else model.columns[name]
        sent = request.inputs.add(name=name, datatype=datatype, shape=[model.rows])
        getattr(sent.contents, FIELDS[datatype]).extend(values)
    with grpc.insecure_channel(model.grpc) as channel:
        found = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert (found.id, len(found.raw_output_contents)) == ("r-2", 0)
    contents = {output.name: output.contents for output in found.outputs}
    np.testing.assert_allclose(contents["probability"].fp64_contents, model.probability, rtol=0, atol=1e-5)
    assert list(contents[target].int64_contents) == model.label
    assert len(set(contents["prediction_id"].bytes_contents)) == model.rows


def test_calls_in_the_background_and_by_asyncio(client, model, target) -> None:
    done: queue.Queue = queue.Queue()
    for _ in range(8):
        client.async_infer(model.name, inputs(triton, model), lambda result, error: done.put((result, error)))
    for _ in range(8):
        result, error = done.get(timeout=20)
        assert error is None
        check(result, model, target)

    async def ask() -> None:
        async with tritonclient.grpc.aio.InferenceServerClient(model.grpc) as own:
            assert await own.is_server_ready()
            check(await own.infer(model.name, inputs(tritonclient.grpc.aio, model)), model, target)

    asyncio.run(ask())


def test_statistics_and_index(client, model) -> None:
    (before,) = client.get_inference_statistics(model.name).model_stats
    client.infer(model.name, inputs(triton, model))
    (after,) = client.get_inference_statistics(model.name).model_stats
    assert after.inference_count - before.inference_count == model.rows
    assert after.execution_count - before.execution_count == 1
    index = client.get_model_repository_index().models
    assert [(one.name, one.version, one.state) for one in index] == [(model.name, model.version, "READY")]


def test_what_is_wrong_is_an_invalid_argument(client, model) -> None:
    given = inputs(triton, model)
    name, datatype = next(iter(model.datatypes.items()))
    values = model.columns[name]
    wrong = tensor(
        triton, name, *(([1.0] * len(values), "FP64") if datatype == "BYTES" else (["x"] * len(values), "BYTES"))
    )
    few = tensor(triton, name, values[:-1], datatype)
    nearly = tensor(triton, name + "x", values, datatype)
    for bad in ([wrong, *given[1:]], [*given[1:], few], [nearly, *given[1:]], given[1:]):
        refused(lambda bad=bad: client.infer(model.name, bad), "INVALID_ARGUMENT", name)
    refused(lambda: client.infer(model.name, [*given, given[0]]), "INVALID_ARGUMENT", "twice")
    nothing = [triton.InferRequestedOutput("nothing")]
    refused(lambda: client.infer(model.name, given, outputs=nothing), "INVALID_ARGUMENT", "nothing")


def test_what_is_not_there(client, model) -> None:
    given = inputs(triton, model)
    refused(lambda: client.infer("nobody", given), "NOT_FOUND", "nobody")
    refused(lambda: client.infer(model.name, given, model_version="999"), "NOT_FOUND", "999")
    refused(lambda: client.get_model_metadata("nobody"), "NOT_FOUND", "nobody")
    refused(lambda: client.get_inference_statistics("nobody"), "NOT_FOUND", "nobody")
    refused(lambda: client.get_model_config(model.name), "UNIMPLEMENTED", "")


@pytest.mark.parametrize("datatype", ["FP32", "INT64"])
def test_numbers_of_other_widths_are_read(line, datatype) -> None:
    whole = {name: [float(int(value)) for value in values] for name, values in line.columns.items()}
    with triton.InferenceServerClient(line.grpc) as client:
        answers = []
        for kind in ("FP64", datatype):
            given = [
                tensor(triton, name, [int(v) for v in values] if kind == "INT64" else values, kind)
                for name, values in whole.items()
            ]
            answers.append(client.infer(line.name, given).as_numpy("probability").tolist())
        assert answers[0] == answers[1]
