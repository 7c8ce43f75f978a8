"""Triton's repository extension: tritonclient loads and unloads models of a server that allows it, while it answers."""

from __future__ import annotations

import threading

import pytest
import tritonclient.http as triton
from servers import endpoint, free_port, register
from tensors import check, inputs
from tritonclient import grpc
from tritonclient.utils import InferenceServerException


@pytest.fixture(scope="module")
def explicit(tmp_path_factory):
    """A server of one model, whose callers may load the other: its addresses, and what is known about both."""
    folder = tmp_path_factory.mktemp("explicit")
    facts, port = register(folder), free_port()
    words = ("--model-control", "explicit", "--grpc-port", str(port))
    with endpoint(folder, "line", *words) as server:
        yield server.address.removeprefix("http://"), f"127.0.0.1:{port}", facts


@pytest.fixture
def models(served):
    return served["line"], served["shop"]


def target(client, name: str) -> str:
    (found,) = [
        output["name"]
        for output in client.get_model_metadata(name)["outputs"]
        if output["name"] not in {"probability", "prediction_id", "probabilities"}
    ]
    return found


def test_a_model_is_loaded_answers_and_is_unloaded(explicit, models) -> None:
    line, shop = models
    with triton.InferenceServerClient(explicit[0]) as client, grpc.InferenceServerClient(explicit[1]) as other:
        assert not client.is_model_ready("shop")
        client.load_model("shop")
        assert client.is_model_ready("shop")
        assert other.is_model_ready("shop")
        for model in (line, shop):
            check(client.infer(model.name, inputs(triton, model)), model, target(client, model.name))
            check(other.infer(model.name, inputs(grpc, model)), model, target(client, model.name))
        index = {one["name"]: one["state"] for one in client.get_model_repository_index()}
        assert (index["line"], index["shop"]) == ("READY", "READY")
        client.unload_model("shop")
        assert not client.is_model_ready("shop")
        with pytest.raises(InferenceServerException) as error:
            client.infer("shop", inputs(triton, shop))
        assert error.value.status() in {"400", "404"}
        check(client.infer("line", inputs(triton, line)), line, target(client, "line"))


def test_grpc_loads_and_unloads_too(explicit, models) -> None:
    shop = models[1]
    with triton.InferenceServerClient(explicit[0]) as client, grpc.InferenceServerClient(explicit[1]) as other:
        other.load_model("shop")
        check(other.infer("shop", inputs(grpc, shop)), shop, target(client, "shop"))
        other.unload_model("shop")
        assert not other.is_model_ready("shop")


def test_what_is_not_there_is_not_loaded(explicit) -> None:
    with triton.InferenceServerClient(explicit[0]) as client:
        with pytest.raises(InferenceServerException, match="nobody") as error:
            client.load_model("nobody")
        assert error.value.status() in {"400", "404"}
        assert client.is_server_ready()


def test_a_model_that_is_loaded_again_and_again_fails_no_request(explicit, models) -> None:
    line = models[0]
    stop, failures, answers = threading.Event(), [], []

    def ask() -> None:
        with triton.InferenceServerClient(explicit[0]) as own:
            while not stop.is_set():
                try:
                    own.infer("line", inputs(triton, line))
                    answers.append(1)
                except InferenceServerException as error:
                    failures.append(error)

    callers = [threading.Thread(target=ask) for _ in range(2)]
    for caller in callers:
        caller.start()
    with triton.InferenceServerClient(explicit[0]) as client:
        for _ in range(5):
            client.load_model("line")
    stop.set()
    for caller in callers:
        caller.join(20)
    assert not failures
    assert answers
