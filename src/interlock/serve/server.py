"""A server process: a deployment's engine under uvicorn, from start to drained."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import uvicorn
import uvloop

from interlock.core.bundles import Serving
from interlock.core.errors import Error
from interlock.core.plugins import load_all
from interlock.serve.app import Application, Limits, ServingProtocol
from interlock.serve.control import Control
from interlock.serve.direct import connections_of
from interlock.serve.engine import Engine
from interlock.serve.explain import explanations
from interlock.serve.hands import Hands
from interlock.serve.holding import Announcement, claim, is_alive, listen, write_announcement
from interlock.serve.journal import Durability, Switch, open_journal
from interlock.serve.labels import Labels
from interlock.serve.policy import Ruled, Rules, birthdays
from interlock.serve.repository import Repository
from interlock.serve.stock import Nothing, Stock, called
from interlock.serve.tracing import open_tracing
from interlock.serve.watch import Watcher
from interlock.serve.welcome import Welcome

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from interlock.serve.grpc_server import GrpcServer
    from interlock.serve.sources import Source
    from interlock.store import Store

_GROUP: Final = "interlock.protocol"
# Ours come in through entry points like everybody's; from a source folder, where there are none, by name.
_BUILT_IN: Final = {
    "mlflow": ("interlock.serve.invocations", "Invocations"),
    "oip": ("interlock.serve.oip", "OpenInference"),
    "sagemaker": ("interlock.serve.sagemaker", "SageMaker"),
    "vertex": ("interlock.serve.vertex", "Vertex"),
}
_LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_KEEP_ALIVE_S: Final = 75
_DRAIN_S: Final = 20
_TICK_S: Final = 0.1
_THREADS: Final = 4  # two for large bodies, and two for models whose calls take long
_ACCEPTED: Final = 8  # connections in a turn of the loop, which takes one of each listening descriptor
_SWITCH_S: Final = 0.0005  # not 5 ms, for which each answer would wait while a thread reads a large body


class Options(msgspec.Struct, frozen=True):
    """How a server is started.

    Attributes:
        deployment: whom it answers for; "" where a model is named.
        model: a reference of a model version that is served without a deployment, or a folder of files (`./it`), or "".
        further: more of them; the ways to ask that name no model ask the first.
        explicit: whether callers may load and unload models; then none at all has to be named.
        memory_bytes: how much memory the process may have after a load; 0 for no bound.
        roots: folders below which callers may load models.
        admit: looks whether a folder may be shown beyond this machine; None admits none.
        unapproved: whether a version that nobody approved may be shown beyond this machine.
        code_models: whether originals may answer, in a process of their own.
        host: the address it listens on.
        port: the port; 0 picks a free one.
        grpc_port: the port for gRPC; 0 picks a free one, None has none.
        announce: a file that is written when it is ready, and again after each swap; None for no file.
        parent: a process with which it ends, or 0.
        durability: when an answer counts as recorded.
        limits: what it takes on.
        serving: how it answers besides. What a deployment's spec says, counts before all of these.
        ready: is told what is served, when it is ready and again after each swap.
        refused: is told the name of a model that is not served as it should be, and why; once for each reason.
    """

    deployment: str = ""
    model: str = ""
    further: tuple[str, ...] = ()
    explicit: bool = False
    memory_bytes: int = 0
    roots: tuple[Path, ...] = ()
    admit: Callable[[Path, str], None] | None = None
    unapproved: bool = False
    code_models: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    announce: Path | None = None
    parent: int = 0
    durability: Durability = "fsync"
    limits: Limits = Limits()
    serving: Serving = Serving()
    grpc_port: int | None = None
    ready: Callable[[Announcement], None] | None = None
    refused: Callable[[str, str], None] | None = None


def protocols() -> list[ServingProtocol]:
    """Return the serving protocols that are installed."""
    found = load_all(_GROUP)
    for name, (module, attribute) in _BUILT_IN.items():
        if name not in found:
            found[name] = getattr(import_module(module), attribute)
    return [kind() for _, kind in sorted(found.items())]


def run(store: Store, options: Options) -> None:
    """Serve until SIGTERM or SIGINT; what is under way then is finished, and the log closed.

    Args:
        store: the workspace.
        options: how.

    Raises:
        NotFound: there is no such deployment.
        Conflict: another server of this workspace serves it.
        Unavailable: the address cannot be listened on, or the announce file not be written.
    """
    source = _source(store, options)
    sys.setswitchinterval(_SWITCH_S)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor a connection
    with (
        claim(store.root, source.name) if options.deployment else contextlib.nullcontext(),
        listen(options.host, options.port) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        try:
            runner.run(_serve(store, source, options, listener))
        finally:
            if options.announce is not None:
                with contextlib.suppress(OSError):  # whoever reads it asks whether this process lives
                    options.announce.unlink()


def _source(store: Store, options: Options) -> Source:
    """Return what says which models are served."""
    if options.deployment:
        return Ruled(options.deployment, store.database, store.objects, code_models=options.code_models)
    return _stock(store, options).source(options.model) if options.model else Nothing()


def _stock(store: Store, options: Options, roots: Sequence[Path] | None = None) -> Stock:
    # Whoever names another host for it has a proxy in front, through which others come.
    shown = (options.host not in _LOCAL or bool(options.limits.hosts)) and not options.unapproved
    return Stock(store, code_models=options.code_models, approved_only=shown, admit=options.admit, roots=roots)


def _repository(store: Store, options: Options, first: Watcher, engine: Engine, limits: Limits) -> Repository:
    """Return the models of the server: those that it was started with."""
    repository = Repository(
        engine.beside,
        limits,
        supply=_stock(store, options, options.roots),
        explicit=options.explicit,
        memory_bytes=options.memory_bytes,
    )
    engine.fleet = repository
    if options.deployment or options.model:
        name = called(options.model) or engine.name
        repository.mean(name, options.model, first, engine)
        engine.alias = name if options.explicit or options.further else ""
    for place in options.further:
        source = _stock(store, options).source(place)
        another = engine.beside(source.name)
        another.alias = called(place)
        repository.mean(another.alias, place, Watcher(another, source), another)
    return repository


async def _serve(store: Store, source: Source, options: Options, listener: socket.socket) -> None:
    with ThreadPoolExecutor(_THREADS, "interlock-serve") as pool:
        journal = _open_log(store, options.durability)
        engine = Engine(source.name, journal, store.clock, Hands(pool))
        engine.rules = _rules(store, options)
        watcher = Watcher(engine, source)
        started_at = store.clock.now()
        limits = msgspec.structs.replace(options.limits, hosts=(*options.limits.hosts, options.host))
        try:
            if options.deployment or options.model:
                await asyncio.to_thread(watcher.read)
            models = _repository(store, options, watcher, engine, limits)
        except Error:
            await journal.close()
            raise
        spoken = protocols()
        rooms = (Control(engine, watcher, started_at), Welcome(engine, spoken), Labels(engine, store))
        further = [*(endpoint for room in rooms for endpoint in room.routes()), *explanations(engine)]
        try:
            tracing = open_tracing(source.name)
            calls = await _open_grpc(engine, limits, options)
        except Error:
            await journal.close()
            raise
        app = Application(engine, spoken, further, limits, tracing)
        engine.rules.followers.append(_Follower(journal, app))
        server = _Server(_configuration(app))
        models.start()  # it loads while the server answers already: alive, and not ready
        side = asyncio.create_task(_accompany(server, models, options, listener, calls))
        side.add_done_callback(lambda _: setattr(server, "should_exit", True))
        try:
            await server.serve([listener, *(listener.dup() for _ in range(_ACCEPTED - 1))])
        finally:
            side.cancel()
            if calls is not None:
                await calls.stop(_DRAIN_S)
            await asyncio.to_thread(models.stop)
            await journal.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)
        with contextlib.suppress(asyncio.CancelledError):
            await side


def _open_log(store: Store, durability: Durability) -> Switch:
    folder = store.predictions.folder
    return Switch(lambda wanted: open_journal(folder, wanted), durability, asyncio.get_running_loop())


def _rules(store: Store, options: Options) -> Rules:
    said = Serving(durability=options.durability, code_models=options.code_models)
    return Rules(options.serving.over(said), birthdays(store.database))


class _Follower:
    """Lets the log and the limits follow what a deployment's spec says.

    Args:
        journal: the log.
        app: has the limits.
    """

    def __init__(self, journal: Switch, app: Application) -> None:
        self._journal = journal
        self._app = app
        self._limits = app.limits

    def __call__(self, serving: Serving) -> None:
        """Follow what is said; raises Unavailable where the log cannot be opened again."""
        if serving.durability is not None:
            self._journal.durability = serving.durability
        most = serving.concurrent or self._limits.concurrent
        self._app.limits = msgspec.structs.replace(self._limits, concurrent=most)


async def _open_grpc(engine: Engine, limits: Limits, options: Options) -> GrpcServer | None:
    if options.grpc_port is None:
        return None
    from interlock.serve.grpc_server import start_grpc

    return await start_grpc(engine, limits, options.host, options.grpc_port)


class _Server(uvicorn.Server):
    """uvicorn's server; a signal that drained it is not raised again, so that the process ends with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _configuration(app: Application) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=connections_of(app),
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",  # callers who speak no HTTP would fill the log
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )


async def _accompany(
    server: uvicorn.Server, models: Repository, options: Options, listener: socket.socket, calls: GrpcServer | None
) -> None:
    """Announce what is served, and end with the parent process."""
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    child = os.getppid() == options.parent
    said = -1
    told: dict[str, str] = {}
    while not server.should_exit:
        number = models.number() if server.started else None
        if number is not None and number != said:
            if said < 0:
                gc.collect()
                gc.freeze()  # libraries and models stay; looking through them again and again would cost each request
            said = number
            announcement = Announcement(os.getpid(), url, said, calls.port if calls else 0)
            if options.announce is not None:
                write_announcement(options.announce, announcement)
            if options.ready is not None:
                options.ready(announcement)
        if options.refused is not None:
            models.tell(told, options.refused)
        if options.parent and (os.getppid() != options.parent if child else not is_alive(options.parent)):
            server.should_exit = True
        await asyncio.sleep(_TICK_S)
    if calls is not None:  # both drain at once; `_serve` waits for it
        await calls.stop(_DRAIN_S)
