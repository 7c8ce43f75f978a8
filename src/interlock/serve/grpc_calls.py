"""The calls of the gRPC service: each takes a message's bytes and returns the answer's.

Metadata say what headers say over HTTP. In: `x-request-id`, `interlock-subject` and `interlock-occurred-at` (for all
rows; `interlock-subject-bin` for a subject beyond ASCII). Out, behind every answer and every error:
`interlock-request-id`, and after a prediction `interlock-model` and `interlock-revision`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from interlock.core.errors import Invalid, NotFound, Unavailable
from interlock.serve.grpc_infer import ask_of, parse, reply, wanted_of
from interlock.serve.http import LONGEST_ID, header_text, own_id, refusal
from interlock.serve.metadata import OCCURRED_AT, SUBJECT, instants, subjects
from interlock.serve.oip import check_load, fleet_of
from interlock.serve.oip_common import PLATFORM, index, offered, statistics
from interlock.serve.release import version
from interlock.serve.tensors import of_column

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from interlock.serve.app import Limits
    from interlock.serve.engine import Ask, Engine
    from interlock.serve.grpc_messages import Messages
    from interlock.serve.revision import View

    Handler = Callable[[bytes, "Call"], Awaitable[bytes]]

_SUBJECT: Final = SUBJECT.decode()
_WHEN: Final = OCCURRED_AT.decode()
_ROW_BYTES: Final = 48  # of an answer, about


class Call:
    """One call, beside its message.

    Args:
        metadata: what the caller sent; binary keys end in `-bin`.
        peer: whom gRPC says it comes from, such as `ipv4:127.0.0.1:4711`.

    Attributes:
        metadata: the same by key; of several, the last.
        id: the caller's request id, or one of our own.
        headers: metadata that go back.
        model: the versions that answered, for the counters.
    """

    __slots__ = ("headers", "id", "metadata", "model", "peer")

    def __init__(self, metadata: Iterable[tuple[str, str | bytes]], peer: str = "") -> None:
        self.peer = peer
        self.metadata = dict(metadata)
        given = self.metadata.get("x-request-id")
        sound = isinstance(given, str) and 0 < len(given) <= LONGEST_ID and given.isascii()
        self.id = str(given) if sound else own_id()
        self.headers: tuple[tuple[str, str], ...] = ()
        self.model = ""

    @property
    def caller(self) -> str:
        """The address that it comes from, or ""."""
        address = self.peer.partition(":")[2].rpartition(":")[0]
        return unquote(address).strip("[]")

    def text(self, key: str) -> str:
        """Return an entry as text, or "".

        Raises:
            Invalid: it is not UTF-8.
        """
        value = self.metadata.get(key) or self.metadata.get(f"{key}-bin") or ""
        try:
            return value if isinstance(value, str) else value.decode()
        except UnicodeDecodeError:
            raise Invalid(f"The metadata {key!r} are not UTF-8.") from None

    def trailing(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata that go behind the answer."""
        return (*self.headers, ("interlock-request-id", header_text(self.id).decode()))


class Calls:
    """The service over one engine.

    Args:
        engine: what answers.
        limits: what it takes on, together with what comes over HTTP.
        messages: the protocol's classes.
    """

    def __init__(self, engine: Engine, limits: Limits, messages: Messages) -> None:
        self._engine = engine
        self._limits = limits
        self._messages = messages

    @property
    def most(self) -> int:
        """How many predictions may be under way now: the deployment's spec says it, or the server's limits."""
        revision = self._engine.revision
        return (revision.serving.concurrent if revision is not None else None) or self._limits.concurrent

    def handlers(self) -> dict[str, Handler]:
        """Return the calls by name."""
        return {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.model_infer,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.repository_load,
            "RepositoryModelUnload": self.repository_unload,
        }

    async def server_live(self, data: bytes, _: Call) -> bytes:
        """Return that the process answers."""
        self._read("ServerLiveRequest", data)
        return self._message("ServerLiveResponse", live=True)

    async def server_ready(self, data: bytes, _: Call) -> bytes:
        """Return whether all models give their golden answers."""
        self._read("ServerReadyRequest", data)
        return self._message("ServerReadyResponse", ready=not await self._engine.verdict_all())

    async def model_ready(self, data: bytes, _: Call) -> bytes:
        """Return the same for a model that is named; one that is not here is not ready, as Triton has it."""
        asked = self._read("ModelReadyRequest", data)
        try:
            engine = self._engine.named(asked.name, asked.version)[0]
        except (NotFound, Unavailable):
            return self._message("ModelReadyResponse", ready=False)
        return self._message("ModelReadyResponse", ready=not await engine.verdict())

    async def server_metadata(self, data: bytes, _: Call) -> bytes:
        """Return what this server is."""
        self._read("ServerMetadataRequest", data)
        extensions = ["model_repository", "statistics"]
        return self._message("ServerMetadataResponse", name="interlock", version=version(), extensions=extensions)

    async def model_metadata(self, data: bytes, _: Call) -> bytes:
        """Return a model's inputs and outputs."""
        name, view = self._named("ModelMetadataRequest", data)
        taken = [(column.name, of_column(column).datatype) for column in view.columns]
        return self._message(
            "ModelMetadataResponse",
            name=name,
            versions=[live.version for live in view.routes],
            platform=PLATFORM,
            inputs=[{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in taken],
            outputs=[
                {"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in offered(view)
            ],  # the names of classes come with the answer: these messages have no place for them
        )

    async def model_statistics(self, data: bytes, _: Call) -> bytes:
        """Return the counters of a model, or of all."""
        asked = self._read("ModelStatisticsRequest", data)
        if asked.name:
            engine, _revision, view = self._engine.named(asked.name, asked.version)
            return self._message("ModelStatisticsResponse", model_stats=statistics(engine, view))
        whole = [(one, one.revision.whole) for one in self._engine.all() if one.revision is not None]
        return self._message("ModelStatisticsResponse", model_stats=[row for one in whole for row in statistics(*one)])

    async def repository_index(self, data: bytes, _: Call) -> bytes:
        """Return the models that are served."""
        ready = self._read("RepositoryIndexRequest", data).ready
        found = [row for row in index(self._engine) if not ready or row["state"] == "READY"]
        return self._message("RepositoryIndexResponse", models=found)

    async def repository_load(self, data: bytes, _: Call) -> bytes:
        """Load a model, where the server lets its callers do that; return when it answers."""
        asked = self._read("RepositoryModelLoadRequest", data)
        check_load(asked.parameters)
        await fleet_of(self._engine).load(asked.model_name)
        return self._message("RepositoryModelLoadResponse")

    async def repository_unload(self, data: bytes, _: Call) -> bytes:
        """Let a model answer no more; return when all that it began is finished."""
        asked = self._read("RepositoryModelUnloadRequest", data)
        await fleet_of(self._engine).unload(asked.model_name)
        return self._message("RepositoryModelUnloadResponse")

    async def model_infer(self, data: bytes, call: Call) -> bytes:
        """Return predictions; when they go out, they are in the prediction log."""
        engine, most = self._engine, self.most
        if engine.under_way >= most:
            raise refusal(
                429, f"{most} requests are under way already.", hint="Come back in a second, or add replicas."
            )
        engine.under_way += 1
        try:
            return await self._infer(data, call)
        finally:
            engine.under_way -= 1

    async def _infer(self, data: bytes, call: Call) -> bytes:
        request = await self._engine.hands.work(len(data), parse, self._messages["ModelInferRequest"], data)
        if len(request.id) > LONGEST_ID:  # before it goes back: clients give up on metadata beyond 8 KiB
            raise Invalid(f"The request's id has more than {LONGEST_ID} characters.")
        call.id = request.id or call.id
        engine, revision, view = self._engine.named(request.model_name, request.model_version)
        wanted = wanted_of(request, view)

        def read() -> tuple[Ask, str]:
            ask = ask_of(request, view)
            _add_metadata(ask, call)
            return ask, call.id

        answer = await engine.answer(len(data), read, revision, view)
        call.model = answer.model
        call.headers = tuple((key.decode(), value.decode()) for key, value in answer.headers)
        size, kind = len(answer.ids) * (_ROW_BYTES + 8 * len(wanted.classes)), self._messages["ModelInferResponse"]
        return await engine.hands.work(size, reply, kind, request, wanted, answer, call.id)

    def _read(self, kind: str, data: bytes) -> Any:
        return parse(self._messages[kind], data)

    def _message(self, kind: str, **fields: object) -> bytes:
        data: bytes = self._messages[kind](**fields).SerializeToString()
        return data

    def _named(self, kind: str, data: bytes) -> tuple[str, View]:
        asked = self._read(kind, data)
        return asked.name, self._engine.named(asked.name, asked.version)[2]


def _add_metadata(ask: Ask, call: Call) -> None:
    """Give an ask its caller, and the subject and the instant of the metadata where no tensor named them."""
    ask.caller = call.caller
    if not ask.subjects and (subject := call.text(_SUBJECT)):
        ask.subjects = subjects([subject], 1) * ask.rows
    if not ask.occurred_at and (when := call.text(_WHEN)):
        ask.occurred_at = instants([when], 1) * ask.rows
