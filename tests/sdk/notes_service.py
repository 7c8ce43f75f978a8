"""A service made for tests: every kind of parameter and result that operations may have, and every error."""

from __future__ import annotations

import functools
import math
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import msgspec

from interlock.core import errors
from interlock.core.actor import current_actor
from interlock.core.clock import from_micros, to_micros
from interlock.core.errors import Conflict, Finding, Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.core.operations import Permission, operation
from interlock.sdk.services import Service
from interlock.store import Store

SERVICES = {"notes": Service("notes_service:NotesService", "Notes, for tests.")}


@functools.cache
def listener() -> str:
    """Return the address of a listener in this process that takes whatever it is sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"thanks")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


class Place(msgspec.Struct, frozen=True):
    """Where a note was written."""

    city: str
    floor: int = 0


class Note(msgspec.Struct, frozen=True):
    """A note as it is kept."""

    id: str
    title: str
    at: datetime
    actor: str
    stars: int
    weight: float
    done: bool
    tags: tuple[str, ...]
    facts: dict[str, Any]
    mood: str
    place: Place | None
    files: tuple[StoredFile, ...]


class NotesService:
    """Notes: made for tests."""

    name = "notes"

    def __init__(self, store: Store) -> None:
        self._store = store
        sql = "CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, title TEXT, at BIGINT, body TEXT)"
        store.database.write(lambda tx: tx.run(sql))

    @operation(Permission.TRACK_WRITE, emits=("experiment.created",))
    def add(
        self,
        title: str,
        files: list[StoredFile],
        stars: int = 3,
        weight: float = 1.0,
        done: bool = False,
        tags: list[str] = [],  # noqa: B006 - what services write
        facts: dict[str, Any] = {},  # noqa: B006
        mood: Literal["good", "bad"] = "good",
        place: Place | None = None,
        cover: StoredFile | None = None,
    ) -> Note:
        """Keep a note.

        It is kept for ever.

        Args:
            title: what it is called; no two notes share it.
            files: what is attached.
            stars: how good it is,
                from 1 to 5.
            weight: how much it counts.
            done: whether it is done.
            tags: words to find it by.
            facts: whatever else is known.
            mood: how it was written.
            place: where it was written.
            cover: a picture.

        Raises:
            Conflict: there is a note of this title.
            Invalid: stars are not 1 to 5.
        """
        if not 1 <= stars <= 5:
            finding = Finding("range", "a star too many", "stars", (0,), 1)
            raise Invalid(
                f"{stars} stars are not 1 to 5.", about="note", hint="Use 5.", findings=[finding], stars=stars
            )
        covers = [cover] if cover else []
        at = from_micros(to_micros(self._store.clock.now()))
        actor = current_actor()
        note = Note(new_id(), title, at, actor, stars, weight, done, tuple(tags), facts, mood, place, (*files, *covers))

        def change(tx: Any) -> None:
            if tx.one("SELECT id FROM notes WHERE title = :title", {"title": title}):
                raise Conflict(f"There is a note {title!r}.", about="note", hint="Choose another title.")
            row = {"id": note.id, "title": title, "at": to_micros(at), "body": msgspec.json.encode(note).decode()}
            tx.run("INSERT INTO notes (id, title, at, body) VALUES (:id, :title, :at, :body)", row)
            self._store.ledger.append(tx, "experiment.created", f"experiment:{note.id}", {"name": title}, actor)

        self._store.uploads.keep(file.digest for file in note.files)
        self._store.database.write(change)
        return note

    @operation(Permission.TRACK_READ)
    def notes(self, limit: int = 100, tag: str | None = None) -> list[Note]:
        """List notes, oldest first.

        Args:
            limit: how many at most.
            tag: only those with this word.
        """
        rows = self._store.database.all("SELECT body FROM notes ORDER BY id LIMIT :limit", {"limit": limit})
        found = [msgspec.json.decode(row["body"], type=Note) for row in rows]
        return [note for note in found if tag is None or tag in note.tags]

    @operation(Permission.TRACK_READ)
    def get(self, title: str) -> Note:
        """Show one note.

        Args:
            title: its title.

        Raises:
            NotFound: there is none.
        """
        found = {note.title: note for note in self.notes()}
        if title not in found:
            raise NotFound.named("note", title, found)
        return found[title]

    @operation(Permission.TRACK_READ)
    def count(self) -> int:
        """Return how many notes there are."""
        return len(self.notes())

    @operation(Permission.TRACK_READ)
    def nothing(self) -> None:
        """Return nothing."""

    @operation(Permission.TRACK_READ)
    def who(self) -> str:
        """Return who is acting."""
        return current_actor()

    @operation(Permission.TRACK_READ)
    def echo(
        self,
        value: Any = None,
        numbers: list[float] = [],  # noqa: B006
        pairs: dict[str, str] = {},  # noqa: B006
        version: int | str = 0,
    ) -> dict[str, Any]:
        """Return what it was given.

        Args:
            value: anything.
            numbers: numbers.
            pairs: texts by name.
            version: a number or a name.
        """
        return {"value": value, "numbers": numbers, "pairs": pairs, "version": version}

    @operation(Permission.TRACK_WRITE, emits=("experiment.created",))
    def answer(self, people: StoredFile, deployment: str, model: str, month: int) -> list[str]:
        """Let a version answer for people, one a minute; this is logged as the data plane logs it.

        Args:
            people: CSV with the columns that the version reads, and `person`.
            deployment: where it answers.
            model: the version.
            month: of 2026; its first minute is when the first one is asked about.
        """
        import polars as pl

        from interlock.monitor.replay import score_rows
        from interlock.registry.service import RegistryService
        from interlock.store.predictions import Prediction, PredictionWriter

        registry = RegistryService(self._store)
        version = registry.version(model)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "people.csv"
            self._store.uploads.fetch(people.digest, path)
            rows = pl.read_csv(path)
        read = [column.name for column in registry.read_bundle(version.bundle).inputs]
        scores = score_rows(registry, version.bundle, rows)
        start = datetime(2026, month, 1, tzinfo=UTC)
        made = [
            Prediction(
                id=new_id(),
                at=to_micros(self._store.clock.now()),
                occurred_at=to_micros(start + timedelta(minutes=number)),
                deployment=deployment,
                model=version.ref,
                bundle=version.bundle,
                revision=1,
                request_id=f"{month}-{number}",
                row=0,
                subject=str(row["person"]),
                inputs={column: row[column] for column in read},
                score=float(scores[number]),
                label=int(scores[number] >= 0.5),
                route="champion",
            )
            for number, row in enumerate(rows.iter_rows(named=True))
        ]
        writer = PredictionWriter(self._store.predictions.folder)
        writer.append(made).result(10)
        writer.close()
        told = {"name": f"{deployment} in month {month}"}
        ledger, subject = self._store.ledger, f"experiment:{made[0].id}"
        self._store.database.write(lambda tx: ledger.append(tx, "experiment.created", subject, told, current_actor()))
        return [prediction.id for prediction in made]

    @operation(Permission.TRACK_READ)
    def listen(self) -> str:
        """Return the address of a listener for webhooks."""
        return listener()

    @operation(Permission.TRACK_READ)
    def settle(self) -> int:
        """Send what webhooks are to be told, or wait until the server has; return how much still waits."""
        from interlock.bridges.webhooks import Reach, Sender

        sender, pause = Sender(self._store, Reach(private=True)), threading.Event()
        count = "SELECT count(*) AS n FROM webhook_deliveries WHERE state = 'waiting'"
        with sender._locked() as ours:
            if ours:
                sender.look()
        for _ in range(500):
            followed = self._store.database.one("SELECT next_idx FROM webhook_outbox")["next_idx"]
            if self._store.database.one(count)["n"] == 0 and followed == self._store.ledger.size():
                return 0
            pause.wait(0.02)
        return self._store.database.one(count)["n"]

    @operation(Permission.TRACK_READ)
    def limits(self) -> list[float]:
        """Return numbers that JSON does not know."""
        return [math.inf, -math.inf, 0.1 + 0.2]

    @operation(Permission.TRACK_READ)
    def size(self, file: StoredFile) -> int:
        """Return how many bytes a file holds.

        Args:
            file: the file.
        """
        return self._store.uploads.size(file.digest) or 0

    @operation(Permission.TRACK_READ)
    def proofread(self, titles: list[str]) -> list[Finding]:
        """List what is wrong with titles.

        Args:
            titles: the titles.
        """
        return [Finding("blank", "a title says nothing", "title", (row,)) for row, t in enumerate(titles) if not t]

    @operation(Permission.TRACK_READ)
    def need(self, module: str) -> None:
        """Need a module.

        Args:
            module: its name.
        """
        import_module(module)

    @operation(Permission.TRACK_READ)
    def fail(self, how: str) -> None:
        """Fail in some way.

        Args:
            how: the name of an error class, or `bug`.

        Raises:
            GateClosed: if that is asked for.
        """
        if how == "bug":
            raise ZeroDivisionError("a secret row: 42")
        finding = Finding("rule", "a message", "column", (1, 5), 2)
        kind = getattr(errors, how)
        raise kind(f"It was {how}.", about="note_thing", hint="Do this.", findings=[finding], digits=[1, 2], half=0.5)

    @operation(Permission.TRACK_WRITE, emits=("experiment.created",))
    def break_off(self) -> None:
        """Start a change and fail in it."""

        def change(tx: Any) -> None:
            tx.run("DELETE FROM notes")
            raise Conflict("The change was broken off.", about="note")

        self._store.database.write(change)
