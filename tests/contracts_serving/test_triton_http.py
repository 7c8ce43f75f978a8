"""tritonclient's HTTP client, as its users call it."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio
from tensors import check, inputs, tensor
from tritonclient.utils import InferenceServerException

OURS = ("probability", "prediction_id")
EVERY = (*OURS, "probabilities")


@pytest.fixture
def client(model):
    with triton.InferenceServerClient(model.http.removeprefix("http://")) as client:
        yield client


@pytest.fixture
def target(client, model) -> str:
    (found,) = [
        output["name"] for output in client.get_model_metadata(model.name)["outputs"] if output["name"] not in EVERY
    ]
    return found


def refused(call, status: str, says: str) -> None:
    with pytest.raises(InferenceServerException) as error:
        call()
    assert (error.value.status(), says in error.value.message()) == (status, True), error.value


def test_health(client, model) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model.name)
    assert client.is_model_ready(model.name, model.version)
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready(model.name, "999")


def test_server_metadata(client) -> None:
    found = client.get_server_metadata()
    assert found["name"] == "interlock"
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(found["extensions"])


def test_model_metadata(client, model) -> None:
    found = client.get_model_metadata(model.name)
    assert (found["name"], found["versions"]) == (model.name, [model.version])
    assert {tensor["name"]: tensor["datatype"] for tensor in found["inputs"]} == model.datatypes
    *outputs, every = found["outputs"]
    assert {tuple(tensor["shape"]) for tensor in found["inputs"] + outputs} == {(-1,)}
    assert [tensor["datatype"] for tensor in outputs] == ["INT64", "FP64", "BYTES"]
    assert (every["name"], every["datatype"], every["shape"]) == ("probabilities", "FP64", [-1, 2])
    assert client.get_model_metadata(model.name, model.version) == found


@pytest.mark.parametrize("outward", [True, False], ids=["binary answer", "json answer"])
@pytest.mark.parametrize("inward", [True, False], ids=["binary request", "json request"])
def test_all_four_ways_of_tensors_give_scikit_learns_answers(client, model, target, inward, outward) -> None:
    wanted = [triton.InferRequestedOutput(name, binary_data=outward) for name in (target, *OURS)]
    found = client.infer(model.name, inputs(triton, model, binary_data=inward), outputs=wanted, request_id="r-1")
    check(found, model, target)
    response = found.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("r-1", model.name, model.version)
    assert all(("data" in output) != outward for output in response["outputs"])


def test_a_request_may_mix_json_and_binary_both_ways(client, model, target) -> None:
    given = inputs(triton, model)
    first, datatype = next(iter(model.datatypes.items()))
    given[0] = tensor(triton, first, model.columns[first], datatype, binary_data=False)
    wanted = [triton.InferRequestedOutput(name, binary_data=name == "probability") for name in (target, *OURS)]
    check(client.infer(model.name, given, outputs=wanted), model, target)


def test_outputs_that_are_not_asked_for_do_not_come(client, model) -> None:
    found = client.infer(model.name, inputs(triton, model), outputs=[triton.InferRequestedOutput("probability")])
    assert [output["name"] for output in found.get_response()["outputs"]] == ["probability"]
    np.testing.assert_allclose(found.as_numpy("probability"), model.probability, rtol=0, atol=1e-5)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", ["line", "shop", "named"])
def test_the_table_of_all_classes_is_what_predict_proba_says(served, name, binary) -> None:
    model = served[name]
    with triton.InferenceServerClient(model.http.removeprefix("http://")) as client:
        (described,) = [one for one in client.get_model_metadata(name)["outputs"] if one["name"] == "probabilities"]
        assert json.loads(described["parameters"]["classes"]) == model.classes
        wanted = [triton.InferRequestedOutput(one, binary_data=binary) for one in ("probabilities", "probability")]
        found = client.infer(name, inputs(triton, model), outputs=wanted)
        every = found.as_numpy("probabilities")
        assert (every.dtype, every.shape) == (np.float64, (model.rows, len(model.classes)))
        np.testing.assert_allclose(every, model.probabilities, rtol=0, atol=1e-5)
        assert [model.classes[place] for place in every.argmax(axis=1)] == model.label
        assert json.loads(found.get_output("probabilities")["parameters"]["classes"]) == model.classes
        chosen = every[:, 1] if len(model.classes) == 2 else every.max(axis=1)
        assert chosen.tolist() == found.as_numpy("probability").tolist()
        plain = client.infer(name, inputs(triton, model)).get_response()["outputs"]
        assert "probabilities" not in {output["name"] for output in plain}


def test_a_version_a_matrix_and_compression(client, model, target) -> None:
    column = inputs(triton, model, [model.rows, 1])
    for compression in (None, "gzip", "deflate"):
        found = client.infer(
            model.name,
            column,
            model_version=model.version,
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
            headers={"Interlock-Subject": "ann"},
            timeout=1_000_000,
        )
        check(found, model, target)


def test_calls_at_once_and_in_the_background(model, target) -> None:
    with triton.InferenceServerClient(model.http.removeprefix("http://"), concurrency=4) as client:
        waiting = [client.async_infer(model.name, inputs(triton, model)) for _ in range(16)]
        for one in waiting:
            check(one.get_result(), model, target)
    with ThreadPoolExecutor(4) as pool:

        def ask(number: int) -> str:
            with triton.InferenceServerClient(model.http.removeprefix("http://")) as own:
                return own.infer(model.name, inputs(triton, model), request_id=f"r{number}").get_response()["id"]

        assert list(pool.map(ask, range(16))) == [f"r{number}" for number in range(16)]


def test_the_client_for_asyncio(model, target) -> None:
    async def ask() -> None:
        async with tritonclient.http.aio.InferenceServerClient(model.http.removeprefix("http://")) as client:
            assert await client.is_server_ready()
            check(await client.infer(model.name, inputs(tritonclient.http.aio, model)), model, target)

    asyncio.run(ask())


def test_statistics_and_index(client, model) -> None:
    def counts() -> dict[str, object]:
        (one,) = client.get_inference_statistics(model.name)["model_stats"]
        return one

    before = counts()
    client.infer(model.name, inputs(triton, model))
    after = counts()
    assert after["inference_count"] - before["inference_count"] == model.rows
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    assert [one["name"] for one in client.get_inference_statistics()["model_stats"]] == [model.name]
    index = client.get_model_repository_index()
    assert [(one["name"], one["version"], one["state"]) for one in index] == [(model.name, model.version, "READY")]


def test_what_is_wrong_is_said_with_status_400(client, model) -> None:
    given = inputs(triton, model)
    name, datatype = next(iter(model.datatypes.items()))
    values = model.columns[name]
    other = ("FP64", [1.0] * len(values)) if datatype == "BYTES" else ("BYTES", ["x"] * len(values))
    for binary in (True, False):
        wrong = tensor(triton, name, other[1], other[0], binary_data=binary)
        refused(lambda wrong=wrong: client.infer(model.name, [wrong, *given[1:]]), "400", f"'{name}'")
        few = tensor(triton, name, values[:-1], datatype, binary_data=binary)
        refused(lambda few=few: client.infer(model.name, [*given[1:], few]), "400", f"'{name}'")
        nearly = tensor(triton, name + "x", values, datatype, binary_data=binary)
        refused(lambda nearly=nearly: client.infer(model.name, [nearly, *given[1:]]), "400", name)
    refused(lambda: client.infer(model.name, given[1:]), "400", f"'{name}'")
    refused(lambda: client.infer(model.name, [*given, given[0]]), "400", "twice")
    refused(lambda: client.infer(model.name, []), "400", "no inputs")
    nothing = [triton.InferRequestedOutput("nothing")]
    refused(lambda: client.infer(model.name, given, outputs=nothing), "400", "nothing")
    wide = tensor(triton, name, values * 2, datatype, [len(values), 2])
    refused(lambda: client.infer(model.name, [wide, *given[1:]]), "400", f"'{name}'")


def test_what_is_not_there_is_404(client, model) -> None:
    given = inputs(triton, model)
    refused(lambda: client.infer("nobody", given), "404", "nobody")
    refused(lambda: client.infer(model.name, given, model_version="999"), "404", "999")
    refused(lambda: client.get_model_metadata("nobody"), "404", "nobody")
    refused(lambda: client.get_inference_statistics("nobody"), "404", "nobody")
    refused(lambda: client.get_model_config(model.name), "404", "")


def test_loading_is_refused_unless_the_server_allows_it(client, model) -> None:
    for call in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException) as error:
            call(model.name)
        assert error.value.status() in {"400", "403"}
    assert client.is_model_ready(model.name)


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "INT64"])
@pytest.mark.parametrize("binary", [True, False])
def test_numbers_of_other_widths_are_read(line, datatype, binary) -> None:
    with triton.InferenceServerClient(line.http.removeprefix("http://")) as client:
        whole = {name: [float(int(value)) for value in values] for name, values in line.columns.items()}
        answers = []
        for kind in ("FP64", datatype):
            given = [
                tensor(triton, name, [int(v) for v in values] if kind == "INT64" else values, kind, binary_data=binary)
                for name, values in whole.items()
            ]
            answers.append(client.infer(line.name, given).as_numpy("probability").tolist())
        assert answers[0] == answers[1]


def test_a_category_that_training_had_not_is_no_error(shop) -> None:
    with triton.InferenceServerClient(shop.http.removeprefix("http://")) as client:
        given = [
            tensor(triton, name, ["Τόκυο"] if name == "city" else shop.columns[name][:1], datatype)
            for name, datatype in shop.datatypes.items()
        ]
        assert 0 < client.infer(shop.name, given).as_numpy("probability")[0] < 1
