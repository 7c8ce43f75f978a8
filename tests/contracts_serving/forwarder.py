"""A loopback stand-in for SageMaker's runtime: it hands `/endpoints/NAME/invocations` to a container's `/invocations`.

It does what the service does around a container: the endpoint's name goes, the caller's content type, `Accept` and
custom attributes come through, an answer names the production variant, and a status other than 2xx becomes a
ModelError (424) that holds the container's own.

Source: docs.aws.amazon.com, "InvokeEndpoint" and "Use your own inference code with hosting services".
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSED = ("content-type", "accept")
OURS = "x-amzn-sagemaker-"


@contextlib.contextmanager
def runtime(containers: dict[str, str]) -> Iterator[str]:
    """Run it over containers, addresses by the endpoint's name; gives the address that boto3 is told."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=")
            found = re.fullmatch(r"/endpoints/([\w-]+)/invocations", self.path)
            if found is None or found[1] not in containers:
                self.say(400, b'{"Message": "Endpoint not found."}', {"x-amzn-errortype": "ValidationError"})
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() in PASSED or k.lower().startswith(OURS)}
            answer = requests.post(containers[found[1]] + "/invocations", data=body, headers=headers, timeout=20)
            if answer.status_code // 100 == 2:
                kind = answer.headers["content-type"]
                self.say(200, answer.content, {"content-type": kind, "x-amzn-invoked-production-variant": "AllTraffic"})
                return
            problem = {
                "ErrorCode": "CLIENT_ERROR_FROM_MODEL",
                "LogStreamArn": "",
                "Message": f"Received client error ({answer.status_code}) from primary.",
                "OriginalMessage": answer.text,
                "OriginalStatusCode": answer.status_code,
            }
            self.say(424, json.dumps(problem).encode(), {"x-amzn-errortype": "ModelError"})

        def say(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
