"""The floor: an ASGI application that parses JSON and calls ONNX Runtime, and does nothing else.

python bare.py MODEL.onnx PORT NAME,NAME,...
"""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import onnxruntime as rt
import uvicorn

options = rt.SessionOptions()
options.intra_op_num_threads = 1
session = rt.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
names = sys.argv[3].split(",")
HEADER = (b"content-type", b"application/json")


async def app(scope, receive, send):  # noqa: ANN001, ANN201
    """Answer `/invocations` (dataframe_split) and anything else as Open Inference with a tensor a column."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    given = msgspec.json.decode(body)
    if scope["path"] == "/invocations":
        x = np.array(given["dataframe_split"]["data"], dtype=np.float32)
    else:
        x = np.ascontiguousarray(np.array([tensor["data"] for tensor in given["inputs"]], dtype=np.float32).T)
    scores = session.run(["probabilities"], {"X": x})[0][:, 1].tolist()
    if scope["path"] == "/invocations":
        said = {"predictions": scores}
    else:
        tensor = {"name": "probability", "datatype": "FP64", "shape": [len(scores)], "data": scores}
        said = {"model_name": "bench", "outputs": [tensor]}
    answer = msgspec.json.encode(said)
    headers = [HEADER, (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


uvicorn.run(
    app,
    port=int(sys.argv[2]),
    loop="uvloop",
    http="httptools",
    lifespan="off",
    access_log=False,
    log_level="warning",
    ws="none",
    timeout_keep_alive=75,
)
