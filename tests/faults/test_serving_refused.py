"""Models that are no models are refused with the reason, and what was served before goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from serving_world import route

from interlock.core.bundles import DeploymentSpec
from interlock.store.manifests import put_folder

ROW = {"age": 40, "hours": 38.0, "income": 30.0}


def elsewhere(graph: bytes) -> bytes:
    """Return a graph whose weights are in a file of this machine."""
    import onnx

    model = onnx.load_from_string(graph)
    tensor = onnx.TensorProto(name="away", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in {"location": "../../../../etc/passwd", "offset": "0", "length": "16"}.items():
        tensor.external_data.add(key=key, value=value)
    model.graph.initializer.append(tensor)
    return model.SerializeToString()


def endless() -> bytes:
    """Return bytes that say that they go on for longer than they do."""
    return b"\x3a" + b"\xff" * 9 + b"\x01"


def nested() -> bytes:
    """Return graphs in graphs, deeper than anybody can follow."""
    inner = b""
    for _ in range(5000):
        attribute = b"\x32" + varint(len(inner)) + inner
        node = b"\x2a" + varint(len(attribute)) + attribute
        inner = b"\x0a" + varint(len(node)) + node
    return b"\x3a" + varint(len(inner)) + inner


def varint(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def damaged_object(shop: Any, digest: str) -> None:
    """Change a byte of an object on disk."""
    (path,) = [p for p in shop.store.objects.root.rglob("*") if p.is_file() and p.name in {digest, digest[2:]}]
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def file_of(shop: Any, bundle: str, path: str) -> str:
    from interlock.store.manifests import read_manifest

    return read_manifest(shop.store.objects, bundle).find(path).digest


def changed_bytes(shop: Any) -> str:
    bundle = shop.bundle("reversed", graph=shop.kinds["reversed"].graph + b"\x32\x00")  # an object that no other has
    damaged_object(shop, file_of(shop, bundle, "model.onnx"))
    return bundle


def without(*names: str, **contents: bytes) -> Any:
    """Return what makes a bundle that lacks files, or has another one in the place of the first."""

    def make(shop: Any) -> str:
        shop.bundle("reversed", graph=shop.kinds["reversed"].graph + b"\x72\x00")  # no other bundle's objects
        folder = shop.root.parent / f"bundle-{shop._folders}"
        for name in names:
            (folder / name).unlink()
        if contents:
            (folder / names[0]).write_bytes(contents["data"])
        return put_folder(shop.store.objects, folder)

    return make


def of(**changes: Any) -> Any:
    return lambda shop: shop.bundle("reversed", **changes)


def graph(make: Any) -> Any:
    return lambda shop: shop.bundle("reversed", graph=make(shop.kinds["reversed"].graph))


BAD = {
    "bytes that changed on disk": (changed_bytes, "has changed"),
    "a graph that is noise": (graph(lambda _: b"\x00" * 999), "does not load"),
    "no bytes": (graph(lambda _: b""), "does not load"),
    "half a graph": (graph(lambda whole: whole[: len(whole) // 2]), "does not load"),
    "a length beyond all": (graph(lambda _: endless()), "does not load"),
    "graphs in graphs": (graph(lambda _: nested()), "nested"),
    "a pickle for a graph": (graph(lambda _: b"\x80\x04cos\nsystem\n(S'true'\ntR."), "does not load"),
    "weights in other files": (graph(elsewhere), "other files"),
    "columns for a matrix": (of(layout="columns"), "columns are not the graph"),
    "a graph of other inputs": (
        lambda shop: shop.bundle("customers", inputs=shop_inputs(), layout="matrix"),
        "one graph input",
    ),
    "a class too many": (of(classes=(0, 1, 2)), "no output of probabilities"),
    "one class": (of(classes=(0,)), "fewer than two classes"),
    "no classifier": (of(task="regression", classes=()), "no output of values"),
    "golden answers of another": (lambda shop: shop.bundle("reversed", scores=[0.5] * 20), "takes no traffic"),
    "golden rows that it does not take": (of(rows=[{"age": "x"}] * 20), "takes no traffic"),
    "no graph": (without("model.onnx"), "model.onnx"),
    "no golden requests": (without("golden.json"), "golden.json"),
    "golden requests cut short": (without("golden.json", data=b'{"rows":[{"age"'), "golden.json"),
    "neither description nor graph": (without("bundle.json", "model.onnx"), "No file of this version can answer"),
    "a description of nothing": (without("bundle.json", data=b"[]"), "bundle.json"),
    "no such bundle": (lambda _: "0" * 64, "no object"),
}


def shop_inputs() -> Any:
    from interlock.core.bundles import Column

    return tuple(Column(name, "float") for name in ("age", "hours", "income"))


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "1s"])
def test_what_is_no_model_is_refused_and_the_one_before_goes_on(durability: str, shop: Any, predicting: Any) -> None:
    sound = shop.bundle("people")
    shop.deploy(route(sound))
    server = predicting("shop", "--durability", durability)
    before = server.invoke(ROW)
    revision, reasons = 1, {}
    for name, (make, words) in BAD.items():
        revision += 1
        shop.deploy(route(make(shop), "model:buyer@2"), revision=revision)
        told = server.client.post("/-/reload")
        assert told.status_code in {409, 400, 404, 422, 503, 200}, (name, told.text)
        status = server.status()
        assert (status["revision"], status["wanted_revision"]) == (revision_of(before), revision), name
        assert status["errors"], name
        reasons[name] = status["errors"][0]
        assert words in status["errors"][0], (name, status["errors"])
        assert "Traceback" not in status["errors"][0]
        assert "/etc/passwd" not in status["errors"][0]
        answer = server.invoke(ROW)
        assert answer.status_code == 200, name
        assert answer.headers["interlock-model"] == "model:buyer@1"
        assert answer.json()["predictions"][0]["buys"] == before.json()["predictions"][0]["buys"]
        assert server.client.get("/v2/health/ready").status_code == 200
    for spec in (b"", b"[]", msgspec.json.encode(DeploymentSpec("shop", 1, ()))):
        revision += 1
        put_spec(shop, spec, revision)
        server.client.post("/-/reload")
        assert server.status()["errors"]
        assert server.invoke(ROW).status_code == 200
    shop.deploy(route(shop.bundle("reversed"), "model:buyer@2"), revision=revision + 1)
    assert server.client.post("/-/reload").json()["revision"] == revision + 1
    assert server.status()["errors"] == []
    assert server.invoke(ROW).headers["interlock-model"] == "model:buyer@2"
    print(*reasons.items(), sep="\n")
    assert server.stop() == 0
    assert "Traceback" not in server.errors.read_text()


def revision_of(answer: Any) -> int:
    return int(answer.headers["interlock-revision"])


def put_spec(shop: Any, data: bytes, revision: int) -> None:
    spec = shop.store.objects.put(data)
    shop.store.database.write(
        lambda tx: tx.run("UPDATE deployments SET spec = :s, revision = :r", {"s": spec, "r": revision})
    )
