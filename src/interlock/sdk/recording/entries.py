"""What a client has to say of its runs, in the form in which it waits on disk until a server has it."""

from __future__ import annotations

from typing import Final

import msgspec


class Entry(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """One thing that was said of a run, by the run's id."""

    run: str


class Started(Entry, frozen=True):
    """A run began. `at` is in microseconds since 1970 UTC; `mine` is false in a process that only adds to the run."""

    experiment: str
    name: str = ""
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    inputs: tuple[str, ...] = ()
    code: str = ""
    environment: str = ""
    parent: str = ""
    at: int = 0
    mine: bool = True


class Resumed(Entry, frozen=True):
    """A run that had ended goes on."""


class Points(Entry, frozen=True):
    """Points by metric: steps (int64), instants (int64, microseconds) and values (float64), little or big as here.

    The steps of `following` count from 0 at the first point that the writer said: they go on after those that the
    workspace has, which the writer could not ask.
    """

    columns: dict[str, tuple[bytes, bytes, bytes]]
    following: dict[str, tuple[bytes, bytes, bytes]] = {}


class Said(Entry, frozen=True):
    """Params, tags, references of data that was read, and lines of the log."""

    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    inputs: tuple[str, ...] = ()
    log: str = ""


class Filed(Entry, frozen=True):
    """The run left a file at `path`; its bytes lie in the outbox under `staged`."""

    path: str
    staged: str


class Published(Entry, frozen=True):
    """The run made a version of a model, of these files by path; their bytes lie in the outbox."""

    model: str
    files: dict[str, str]
    data: tuple[str, ...] = ()


class Ended(Entry, frozen=True):
    """The run is over. `at` is in microseconds since 1970 UTC."""

    status: str
    reason: str = ""
    at: int = 0


Any = Started | Resumed | Points | Said | Filed | Published | Ended


class Block(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is written to disk at once.

    Attributes:
        at: when, in microseconds since 1970 UTC.
        entries: what was said, in order.
        cut: the number of the batch that ends here, or 0 when it goes on in the next block.
        location: in the first block of a file, the workspace that all this is for.
        open: in the first block of a file, the runs of this writer that go on.
    """

    at: int
    entries: list[Any] = []
    cut: int = 0
    location: str = ""
    open: tuple[str, ...] = ()


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Block)


def encode(block: Block) -> bytes:
    """Return the bytes of a block."""
    return _ENCODER.encode(block)


def decode(payload: bytes) -> Block:
    """Return the block of these bytes.

    Raises:
        msgspec.MsgspecError: they are none.
    """
    return _DECODER.decode(payload)
