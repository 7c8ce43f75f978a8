"""The message classes: those of the protocol's text, in a pool of their own."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool

from interlock.serve.grpc_messages import SERVICE, messages

ROOT = Path(__file__).parents[2]


def test_the_descriptor_is_what_the_text_says():
    spec = importlib.util.spec_from_file_location("proto", ROOT / "scripts" / "proto.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = descriptor_pb2.FileDescriptorSet.FromString(script.compiled())
    kept = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "src/interlock/serve/oip.binpb").read_bytes())
    assert made == kept, "Run scripts/proto.py."


def test_somebody_else_may_register_the_same_names():
    messages()
    name = "interlock_test_clash.proto"
    other = descriptor_pb2.FileDescriptorProto(name=name, package="inference", syntax="proto3")
    other.message_type.add(name="ModelInferRequest").field.add(name="other", number=1, type=9, label=1)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(other.SerializeToString())
    theirs = pool.FindMessageTypeByName("inference.ModelInferRequest")
    assert [f.name for f in theirs.fields] == ["other"]
    assert messages()["ModelInferRequest"](model_name="shop").model_name == "shop"


def test_a_message_comes_back_as_it_went():
    kind = messages()["ModelInferRequest"]
    made = kind(model_name="shop", id="1", inputs=[{"name": "age", "datatype": "INT64", "shape": [2]}])
    made.inputs[0].contents.int64_contents.extend([1, -2])
    made.parameters["priority"].int64_param = 3
    assert kind.FromString(made.SerializeToString()) == made


def test_the_service_has_the_calls_of_the_protocol():
    service = messages().service
    assert service.full_name == SERVICE
    names = {method.name for method in service.methods}
    assert names >= {"ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"}
    for method in service.methods:
        assert (method.input_type.name, method.output_type.name) == (f"{method.name}Request", f"{method.name}Response")
