"""A span of OpenTelemetry for each request for predictions, where its SDK is installed and told where spans go.

The SDK's own variables say so: `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, and
`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and the others are read too; `OTEL_SDK_DISABLED=true` switches it off. A
caller's `traceparent` is continued.
Spans are sent by a thread of the SDK's; where nobody takes them, they are lost and nothing else is.

Source: opentelemetry.io, "Semantic conventions for HTTP spans" and "OTLP exporter configuration".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Error, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from interlock.serve.http import Endpoint, Receive, Request, Response

    Answering = Callable[[Endpoint, Request, Receive], Awaitable[Response]]

_WANTED: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_FAULT: Final = 500


class Tracing:
    """Makes spans; closed, it sends those that are left.

    Args:
        name: the service's, where the environment names none.

    Raises:
        MissingExtra: the SDK or its exporter is not installed.
    """

    def __init__(self, name: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace import SpanKind, Status, StatusCode
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError:
            raise MissingExtra.named("telemetry", "opentelemetry") from None
        service = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": name}
        self._provider = TracerProvider(resource=Resource.create(service))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("interlock.serve")
        self._context = TraceContextTextMapPropagator()
        self._kind = SpanKind.SERVER
        self._failed = Status(StatusCode.ERROR)

    def around(self, answering: Answering, status_of: Callable[[Error], int]) -> Answering:
        """Return what answers the same, with a span around each request for predictions.

        Args:
            answering: what answers.
            status_of: the status of an error that it raises.
        """
        from opentelemetry.trace import use_span

        async def traced(endpoint: Endpoint, request: Request, receive: Receive) -> Response:
            if not endpoint.predicts:
                return await answering(endpoint, request, receive)
            parent = self._context.extract({"traceparent": request.headers.get(b"traceparent", b"").decode("latin-1")})
            told = {"http.request.method": request.method, "http.route": endpoint.path, "url.path": request.path}
            name = f"{request.method} {endpoint.path}"
            span = self._tracer.start_span(name, parent, self._kind, told)
            try:
                span.set_attribute("interlock.request_id", request.id)
                with use_span(span, record_exception=False, set_status_on_exception=False):
                    response = await answering(endpoint, request, receive)
                self._tell(span, response.status)
                span.set_attribute("interlock.model", response.model)
                return response
            except Error as error:
                self._tell(span, status_of(error))
                raise
            finally:
                span.end()

        return traced

    def close(self) -> None:
        """Send what is left; where nobody takes it, within the exporter's own time limit."""
        self._provider.shutdown()

    def _tell(self, span: Any, status: int) -> None:
        span.set_attribute("http.response.status_code", status)
        if status >= _FAULT:
            span.set_status(self._failed)


def open_tracing(name: str, environment: Mapping[str, str] = os.environ) -> Tracing | None:
    """Return what makes spans, or None where nobody asked for them.

    Args:
        name: the service's, where the environment names none.
        environment: the variables.

    Raises:
        MissingExtra: somebody did, and the SDK is not installed.
    """
    off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    return None if off or not any(environment.get(name) for name in _WANTED) else Tracing(name)
