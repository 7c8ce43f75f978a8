"""gRPC calls of a server of predictions under fire, in a real process: real messages in which a few bytes were changed.

SERVING_FUZZ_REQUESTS=10000 fires longer; SERVING_FUZZ_SEED=text fires other messages.
"""

from __future__ import annotations

import os
import random
import re
import struct
from collections import Counter
from typing import Any

import grpc
import pytest
from fuzz_bodies import damaged_bytes
from fuzz_watch import size_of
from serving_shots import NAMES, ROW, SECRETS, TYPES
from serving_world import route

from interlock.serve.grpc_messages import SERVICE, messages

CALLS = int(os.environ.get("SERVING_FUZZ_REQUESTS", "1500"))
SEED = os.environ.get("SERVING_FUZZ_SEED", "interlock")
MEMORY = 16 << 20
WRONG = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.DATA_LOSS,
}
NAMED = re.compile(r"'.*?'|\[.*?\]", re.DOTALL)  # names and shapes, which a changed byte makes of values
PLACES = {"BYTES": "bytes_contents", "INT64": "int64_contents", "FP64": "fp64_contents"}
METADATA = [
    (("interlock-subject", "x" * 3000),),
    (("interlock-occurred-at", "9999-99-99"),),
    (("x-request-id", "r" * 5000),),
    (("x-bin", b"\xff\x00"),),
    (("grpc-encoding", "no-such"),),
]


def reals() -> dict[str, list[bytes]]:
    """Return messages that are answered, by call."""
    kinds = messages()
    typed, raw = (kinds["ModelInferRequest"](model_name="shop", id="r") for _ in range(2))
    city = str(ROW["city"]).encode()
    packed = [struct.pack("<I", len(city)) + city, struct.pack("<q", ROW["age"]), struct.pack("<d", ROW["spend"])]
    for name, datatype, part in zip(NAMES, TYPES, packed, strict=True):
        value = ROW[name]
        tensor = typed.inputs.add(name=name, datatype=datatype, shape=[1])
        getattr(tensor.contents, PLACES[datatype]).append(value.encode() if isinstance(value, str) else value)
        raw.inputs.add(name=name, datatype=datatype, shape=[1])
        raw.raw_input_contents.append(part)
    found = {"ModelInfer": [typed.SerializeToString(), raw.SerializeToString()] * 3}
    for call in ("ModelReady", "ModelMetadata", "ModelStatistics"):
        found[call] = [kinds[f"{call}Request"](name="shop").SerializeToString()]
    for call in ("RepositoryModelLoad", "RepositoryModelUnload"):
        found[call] = [kinds[f"{call}Request"](model_name="shop").SerializeToString()]
    for call in ("ServerLive", "ServerReady", "ServerMetadata", "RepositoryIndex", "NoSuchCall"):
        found[call] = [b""]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["fsync", "1s"])
def test_no_message_breaks_a_server_of_predictions(durability: str, shop: Any, predicting: Any) -> None:
    shop.deploy(route(shop.bundle("customers"), "model:buyer@3"))
    server = predicting("shop", "--durability", durability, "--grpc-port", "0")
    chance, real, answers = random.Random(f"{SEED} {durability}"), reals(), Counter()
    shots = [(call, body) for call, bodies in real.items() for body in bodies]
    with grpc.insecure_channel(f"127.0.0.1:{server.said['grpc_port']}") as channel:

        def ask(call: str, body: bytes, metadata: Any = ()) -> Any:
            try:
                channel.unary_unary(f"/{SERVICE}/{call}")(body, timeout=30, metadata=metadata)
            except grpc.RpcError as error:
                return error
            return None

        def fire(count: int) -> None:
            for _ in range(count):
                call, body = chance.choice(shots)
                body = damaged_bytes(body, chance)
                error = ask(call, body, chance.choice(METADATA) if chance.random() < 0.1 else ())
                code = error.code() if error else grpc.StatusCode.OK
                answers[code.name] += 1
                told = (call, body, error and error.details())
                assert code not in WRONG, told
                words = NAMED.sub("", error.details()) if error else ""
                assert not any(secret.decode() in words for secret in SECRETS), told

        fire(CALLS)
        sizes = []
        for _ in range(2):
            fire(max(200, CALLS // 10))
            sizes.append(size_of(server.process.pid))
        assert ask("ModelInfer", real["ModelInfer"][0]) is None
        assert ask("ModelInfer", real["ModelInfer"][1]) is None
    print(dict(answers), sizes)
    assert answers["INVALID_ARGUMENT"] > CALLS / 5
    assert sizes[1].memory - sizes[0].memory < MEMORY, sizes
    assert server.status()["under_way"] == 0
    assert server.stop() == 0
    assert "Traceback" not in server.errors.read_text()
