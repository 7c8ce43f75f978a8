"""Every route of the server's own OpenAPI document, and of the MLflow protocol, under fire in a real server process.

Requests are made from the schemas, and from requests that were really sent and answered: those of our own client
(tests/sdk/cases.py is played first) and of MLflow's (mlflow_traffic.jsonl, recorded while the contract tests ran). One
to three things in them are changed, or a few bytes, or how they travel. Whatever comes: no 5xx but 501 where the MLflow
protocol is not spoken, no hang, no word of the inside; what is refused changes nothing, and the server does not grow.

OPENAPI_FUZZ_REQUESTS=100000 fires longer, after the whole story (with -o faulthandler_timeout=0, for a test is ended
after three minutes otherwise); OPENAPI_FUZZ_SEED=text fires other requests.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzz_targets import HEAVY, Aim, Target, of_document, of_mlflow
from fuzz_watch import Kept, fault_of, size_of
from fuzz_wire import UNFINISHED, Line, Shot, shown
from fuzz_world import World, log_into, play, prepare

from interlock.sdk.workspace import Workspace
from interlock.server.app import create_app
from interlock.store import create_store, open_store

REQUESTS = int(os.environ.get("OPENAPI_FUZZ_REQUESTS", "2000"))
LONG = "OPENAPI_FUZZ_REQUESTS" in os.environ
SEED = os.environ.get("OPENAPI_FUZZ_SEED", "interlock")
REPEATED = max(600, REQUESTS // 10)  # of the refused requests, that are sent again and again
A_WORLD = 1000  # requests, after which the things of the MLflow protocol are new ones: requests delete them
PACKED = {"run.logged"}  # what was accepted before is packed when somebody looks for it
SETTLING_S = 20.0
MEMORY = 8 << 20
MORE = REPEATED // 10


class Range:
    """Fires at a server, and looks at what it answers and keeps.

    Args:
        world: where the server's workspace is, and what is known of it.
        host: where the server is.
    """

    def __init__(self, world: World, host: str) -> None:
        self.line = Line(host)
        self.answers: Counter[int] = Counter()
        self.reached: set[str] = set()
        self._world = world
        self._kept = Kept(world.folder / ".interlock")
        self._before = self._kept.state()
        self._number = 0

    def fire(self, target: Target, shot: Shot) -> bool:
        """Return whether a request was refused.

        Raises:
            AssertionError: the answer is wrong, or something changed although it was refused.
        """
        self._number += 1
        try:
            reply = self.line.ask(shot)
        except TimeoutError:
            self.fail(target, shot, "no answer in time")
        self.answers[reply.status] += 1
        if reply.status < 300:
            self.reached.add(target.name)
        if fault := fault_of(shot, reply):
            self.fail(target, shot, f"{fault}: {shown(repr(reply.body))}")
        # Half a request is refused where it is half a body; what reads no body is done by then.
        refused = reply.status >= 400 or (shot.framing in UNFINISHED and target.takes_body)
        if refused and "Interlock-Call" not in dict(shot.headers) and (change := self._change(shot)):
            self.fail(target, shot, f"refused by {reply.status}, and yet {change}: {shown(repr(reply.body))}")
        if reply.status == 0 and not refused:
            time.sleep(0.1)  # it may be done, and nobody is told
        self.look()
        if self._number % 500 == 0:
            health = self.line.ask(Shot("GET", "/health"))
            assert health.status == 200, health
        return refused

    def close(self) -> None:
        """Let go of the server."""
        self.line.close()
        self._kept.close()

    def look(self) -> None:
        """Take what the server keeps now as what refused requests leave alone."""
        self._before = self._kept.state()

    def _change(self, shot: Shot) -> str:
        """Return what has changed since the last request, or ""; half a request may take a moment to be forgotten."""
        change, until = self._difference(), time.monotonic() + SETTLING_S
        while change and shot.framing in UNFINISHED and time.monotonic() < until:
            time.sleep(0.02)
            change = self._difference()
        return change

    def _difference(self) -> str:
        after = self._kept.state()
        events = set(self._kept.kinds(self._before[0])) - PACKED
        changed = [
            what
            for what, old, new in zip(("objects", "uploads"), self._before[1:], after[1:], strict=True)
            if old != new
        ]
        return f"changed: {', '.join([*sorted(events), *changed])}" if events or changed else ""

    def fail(self, target: Target, shot: Shot, why: str) -> None:
        """Say what was asked, so that it can be asked again."""
        file = self._world.folder / "refused.http"
        file.write_bytes(shot.raw(self.line.host))
        pytest.fail(
            f"{target.name}: {why}\nrequest {self._number} of OPENAPI_FUZZ_SEED={SEED!r}, framed as {shot.framing!r}:"
            f"\n{shown(repr(shot), 3000)}\nIts bytes are in {file}; a server on the port in its Host gets them by"
            f" `nc 127.0.0.1 {self.line.host.rpartition(':')[2]} < {file.name}`."
        )


def shots(world: World, targets: list[Target], gun: Range, seed: str, count: int) -> Iterator[tuple[Target, Shot]]:
    """Yield targets and requests: each target twice, then as chance has it."""
    chance = random.Random(seed)
    aim = Aim(chance, world.known, world.mlflow)
    for number in range(count):
        if number % A_WORLD == A_WORLD - 1:
            aim = Aim(chance, world.known, log_into(Line(gun.line.host)))
            gun.look()
        target = targets[number % len(targets)] if number < 2 * len(targets) else chance.choice(targets)
        if chance.random() < HEAVY.get(target.path, 1.0):
            yield target, aim.shot(target)


def test_the_document_names_every_route_of_the_api(tmp_path: Path) -> None:
    with Workspace.over(create_store(tmp_path / ".interlock")) as workspace:
        app = create_app(workspace)
        while not hasattr(app, "routes"):  # through the guard and the MLflow protocol
            app = getattr(app, "_app", None) or app._others
        there = {(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}}
        catalog = workspace.catalog
        there |= {("POST", f"/api/v1/{s}/{name}") for s in catalog.names for name in catalog.operations(s)}
        there.remove(("POST", "/api/v1/{service}/{operation}"))
        from interlock.server.openapi import describe

        named = {(verb.upper(), path) for path, verbs in describe(catalog)["paths"].items() for verb in verbs}
    assert there - named == set()
    assert named - there == {("GET", "/health")}  # which is the MLflow protocol's too


@pytest.mark.slow
def test_no_request_breaks_the_server(tmp_path: Path, serve: Callable[[Path], Any]) -> None:
    folder = tmp_path / "project"
    bundle = prepare(folder)
    server = serve(folder / ".interlock")
    try:
        world = play(server.host, folder, bundle, whole=LONG)
        with contextlib.closing(Range(world, server.host)) as gun:
            document = json.loads(gun.line.ask(Shot("GET", "/api/v1/openapi.json")).body)
            targets = [*of_document(document, world.real), *of_mlflow(world.real)]
            for target, shot in shots(world, targets, gun, SEED, REQUESTS):
                gun.fire(target, shot)
            print(dict(gun.answers), f"{len(gun.reached)} of {len(targets)} routes were reached")
            assert len(gun.reached) > len(targets) / 4, "nearly all is refused: what is called real is not any more"
            check_size(server, gun, shots(world, targets, gun, f"{SEED} again", REPEATED))
    finally:
        stop_deployments(folder, server)


def check_size(server: Any, gun: Range, fired: Iterable[tuple[Target, Shot]]) -> None:
    """Fire some requests, and what was refused of them two times more: nothing grows from the second to the third."""
    again = [(target, shot) for target, shot in fired if gun.fire(target, shot)]
    assert len(again) > REPEATED / 3
    sizes = []
    for _ in range(3):
        for target, shot in again:
            gun.fire(target, shot)
        gun.line.close()
        sizes.append(size_of(server.pid))
    print(f"{len(again)} refused requests at a time: {sizes}")
    _, before, after = sizes
    assert after.memory - before.memory < MEMORY, sizes
    assert after.threads - before.threads < MORE, sizes
    assert after.files - before.files < MORE, sizes


def stop_deployments(folder: Path, server: Any) -> None:
    """Stop what accepted requests started."""
    server.end()
    with Workspace.over(open_store(folder / ".interlock")) as workspace:
        for deployment in workspace.deploy.deployments():
            workspace.deploy.stop(deployment.name)
