"""Serve a deployment: `python -m interlock.serve --workspace ROOT --deployment NAME`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.serve.server import Options

_TAKEN: Final = 3  # those who start servers (`interlock.deploy.claim`) know it


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 after a drain, 2 when the server could not start, 3 when another one serves already.

    Why is one line of JSON on standard error.
    """
    # Threads of the linear algebra library spin while they wait, and would take the processor from other requests.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from interlock.serve.server import run
    from interlock.store import open_store

    named = _parser().parse_args(arguments)
    try:
        store = open_store(named.workspace)
        try:
            run(store, _options(named))
        finally:
            store.close()
    except Error as error:
        sys.stderr.write(msgspec.json.encode(error.to_problem()).decode() + "\n")
        return _TAKEN if error.code == "server.conflict" else 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="interlock.serve", description="Serve one deployment.")
    parser.add_argument("--workspace", type=Path, required=True, help="the .interlock folder")
    parser.add_argument("--deployment", required=True, help="whom to answer for")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port; 0 picks a free one")
    parser.add_argument("--grpc-port", type=int, help="port for gRPC; 0 picks a free one; without it there is none")
    parser.add_argument("--announce", type=Path, help="write pid, url and revision here when ready")
    parser.add_argument("--parent-pid", type=int, default=0, help="end when this process does")
    parser.add_argument(
        "--allow-host", action="append", default=[], help="a further name for the Host header; * for any"
    )
    parser.add_argument("--durability", choices=["fsync", "1s"], default="fsync", help="when an answer is recorded")
    parser.add_argument("--code-models", action="store_true", help="let originals answer, in a process of their own")
    parser.add_argument("--max-body-bytes", type=int, default=16_000_000, help="largest body")
    parser.add_argument("--max-concurrent", type=int, default=256, help="predictions under way at once")
    return parser


def _options(named: argparse.Namespace) -> Options:
    from interlock.serve.app import Limits
    from interlock.serve.server import Options

    return Options(
        deployment=named.deployment,
        code_models=named.code_models,
        host=named.host,
        port=named.port,
        grpc_port=named.grpc_port,
        announce=named.announce,
        parent=named.parent_pid,
        durability=named.durability,
        limits=Limits(named.max_body_bytes, named.max_concurrent, tuple(named.allow_host)),
    )


if __name__ == "__main__":
    sys.exit(main())
