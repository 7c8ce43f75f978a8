"""ModelInfer: what a message asks, and the message that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from interlock.core.errors import Invalid
from interlock.serve.every_class import PROBABILITIES, classes_of, named, table_of
from interlock.serve.oip_common import check_outputs, check_parameters, collect, one_version, outputs
from interlock.serve.tensors import TensorIn, listed, to_binary, values_of_binary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from interlock.serve.columns import Value
    from interlock.serve.engine import Answer, Ask
    from interlock.serve.revision import View

# The one field of `InferTensorContents` that holds the elements of a datatype; FP16 has none.
_FIELDS: Final = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
# Datatypes whose field holds nothing else: there is no element to look at.
_EXACT: Final = frozenset({"BOOL", "INT32", "INT64", "UINT32", "UINT64", "FP32", "FP64"})
_SHARED: Final = "shared_memory_region"


class Outputs(NamedTuple):
    """The outputs that a caller asks for: name and datatype of each, and the classes of the table, where it goes."""

    tensors: list[tuple[str, str]]
    classes: tuple[int | str, ...] = ()


def parse(kind: Any, data: bytes) -> Any:
    """Return a message.

    Args:
        kind: its class.
        data: its bytes.

    Raises:
        Invalid: they are no such message.
    """
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(data)
    except DecodeError:
        name = kind.DESCRIPTOR.name
        raise Invalid(f"The bytes are no {name}.", hint="Build the client from the protocol's own oip.proto.") from None


def ask_of(request: Any, view: View) -> Ask:
    """Return the rows of a ModelInferRequest.

    Args:
        request: the message.
        view: the routes that are asked.

    Raises:
        Invalid: its tensors are not what they say, or not what the models take.

    Cost: about 1 us a tensor and 0.05 us an element.
    """
    check_parameters(request.parameters)
    return collect(_raw(request) if request.raw_input_contents else _typed(request), view)


def wanted_of(request: Any, view: View) -> Outputs:
    """Return the outputs that the caller asks for, in our order.

    Args:
        request: the message.
        view: the routes that are asked.

    Raises:
        Invalid: there is no such output, or it shall go another way than in the answer.
    """
    known = outputs(view)
    if not request.outputs:
        return Outputs(known)
    wanted = frozenset(output.name for output in request.outputs)
    check_outputs(wanted, view)
    if any(_SHARED in output.parameters for output in request.outputs):
        raise Invalid("Outputs do not go through shared memory here.", hint="Leave it out: they come in the answer.")
    found = [output for output in known if output[0] in wanted]
    return Outputs(found, classes_of(view) if PROBABILITIES in wanted else ())


def reply(kind: Any, request: Any, wanted: Outputs, answer: Answer, request_id: str) -> bytes:
    """Return the ModelInferResponse: its tensors typed or raw, as those of the request were.

    Args:
        kind: its class.
        request: the request.
        wanted: the outputs that go.
        answer: what the engine said.
        request_id: the request's id.
    """
    response = kind(model_name=request.model_name, model_version=one_version(answer), id=request_id)
    raw = len(request.raw_input_contents) > 0
    columns: dict[str, Sequence[Any]] = {
        answer.target: answer.values,
        "probability": answer.scores,
        "prediction_id": answer.ids,
    }
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(columns, (len(answer.ids),))
    tensors, classes = wanted
    if classes:
        tensors = [*tensors, (PROBABILITIES, "FP64")]
        columns[PROBABILITIES] = table_of(answer, classes).ravel().tolist()
        shapes[PROBABILITIES] = (len(answer.ids), len(classes))
    for name, datatype in tensors:
        values = columns[name]
        tensor = response.outputs.add(name=name, datatype=datatype, shape=shapes[name])
        if name == PROBABILITIES and classes:
            tensor.parameters["classes"].string_param = named(classes)
        if raw:
            response.raw_output_contents.append(to_binary(datatype, values))
        else:
            elements = [text.encode() for text in values] if datatype == "BYTES" else values
            getattr(tensor.contents, _FIELDS[datatype]).extend(elements)
    data: bytes = response.SerializeToString()
    return data


def _raw(request: Any) -> Iterator[tuple[str, list[int], list[Value]]]:
    if len(request.raw_input_contents) != len(request.inputs):
        raise Invalid(
            f"There are {len(request.inputs)} inputs and {len(request.raw_input_contents)} raw_input_contents.",
            hint="Send all inputs raw, in their order, or none.",
        )
    for sent, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        if sent.HasField("contents"):
            raise Invalid(
                f"Input {sent.name!r} has contents, and there are raw_input_contents.",
                hint="Send all inputs raw, or none.",
            )
        tensor = TensorIn(sent.name, sent.shape[:], sent.datatype)
        yield tensor.name, tensor.shape, values_of_binary(tensor, raw)


def _typed(request: Any) -> Iterator[tuple[str, list[int], list[Value]]]:
    for sent in request.inputs:  # slices: the quickest way out of a repeated field
        name, datatype, shape = sent.name, sent.datatype, sent.shape[:]
        held = sent.contents.ListFields()
        if len(held) == 1 and datatype in _EXACT and held[0][0].name == _FIELDS[datatype]:
            data = held[0][1][:]
            if shape == [len(data)]:
                yield name, shape, data
                continue
        yield name, shape, _looked_at(TensorIn(name, shape, datatype), held)


def _looked_at(tensor: TensorIn, held: list[tuple[Any, Any]]) -> list[Value]:
    """Return the elements of a tensor that is not of the usual kind, or wrong.

    Args:
        tensor: the tensor, without its data.
        held: the fields of its contents that are not empty.
    """
    field = _FIELDS.get(tensor.datatype, "")
    if tensor.datatype == "FP16":
        raise Invalid(f"Input {tensor.name!r}: FP16 has no typed contents.", hint="Send all inputs raw, or FP32.")
    if field and any(found.name != field for found, _ in held):
        raise Invalid(
            f"Input {tensor.name!r} has data in {', '.join(found.name for found, _ in held)}.",
            hint=f"Data of {tensor.datatype} go in {field}, or all inputs' in raw_input_contents.",
        )
    data = held[0][1][:] if field and held else []
    return listed(tensor, _texts(tensor.name, data) if tensor.datatype == "BYTES" else data)


def _texts(name: str, data: list[bytes]) -> list[str]:
    texts = []
    for row, text in enumerate(data):
        try:
            texts.append(text.decode())
        except UnicodeDecodeError:
            raise Invalid(f"Input {name!r}: element {row} is not UTF-8.") from None
    return texts
