"""Starts servers quickly: reads the folder of a workspace a line, and forks a process that serves it.

Everything heavy is imported once, before the first fork; so a server that was killed is followed by the next one after
some milliseconds. Each tells its process id and its address.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import uvicorn.lifespan.on
import uvicorn.loops.auto
import uvicorn.protocols.http.auto  # noqa: F401 - what uvicorn imports when it starts

from interlock.sdk.workspace import Workspace
from interlock.server.run import serve
from interlock.store import create_store


def run(folder: str) -> None:
    workspace = Workspace.over(create_store(Path(folder)))
    with workspace:
        serve(workspace, port=0, announce=lambda address: print(os.getpid(), address, flush=True))


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that were killed
    for line in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sys.stdin.close()
            try:
                run(line.strip())
            except BaseException as error:  # noqa: BLE001 - told to the test
                print("failed:", error, flush=True)
                os._exit(1)
            os._exit(0)


main()
