"""The data plane: load a bundle, answer a protocol, log the prediction. Small enough for a device.

A server answers for one deployment (`python -m interlock.serve`). It takes a model only after the model gave its golden
answers, answers only what the prediction log has on disk, and swaps revisions without dropping a request.
A protocol of your own is a class like `Invocations`, registered under `interlock.protocol`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from interlock.serve.engine import Answer, Ask, Engine
    from interlock.serve.fresh import fresh_preflight
    from interlock.serve.golden import check_golden
    from interlock.serve.http import Endpoint, Request, Response
    from interlock.serve.model import LoadedModel
    from interlock.serve.preflight import Preflight, preflight
    from interlock.serve.router import Router

_HOME: Final = {
    "Answer": "engine",
    "Ask": "engine",
    "Endpoint": "http",
    "Engine": "engine",
    "LoadedModel": "model",
    "Preflight": "preflight",
    "Request": "http",
    "Response": "http",
    "Router": "router",
    "check_golden": "golden",
    "fresh_preflight": "fresh",
    "preflight": "preflight",
}

__all__ = [
    "Answer",
    "Ask",
    "Endpoint",
    "Engine",
    "LoadedModel",
    "Preflight",
    "Request",
    "Response",
    "Router",
    "check_golden",
    "fresh_preflight",
    "preflight",
]


def __getattr__(name: str) -> Any:
    # Opened on first use: who wants the router does not pay for the rest.
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(name)
