"""Messages between a run and its worker processes: msgpack with the length in front, over pipes."""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from typing import BinaryIO

_LENGTH = struct.Struct("<Q")


class Pipes:
    """Sends and receives messages.

    Args:
        source: where messages come from.
        sink: where they go.
    """

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._lock = threading.Lock()

    def send(self, *message: Any) -> None:
        """Send one message.

        Raises:
            OSError: nobody is at the other end.
        """
        data = msgspec.msgpack.encode(message)
        with self._lock:
            self._sink.write(_LENGTH.pack(len(data)) + data)
            self._sink.flush()

    def receive(self) -> list[Any] | None:
        """Return the next message, or None when nobody is at the other end any more."""
        head = self._source.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack(head)
        data = self._source.read(length)
        if len(data) < length:
            return None
        message: list[Any] = msgspec.msgpack.decode(data)
        return message

    def close(self) -> None:
        """Close both ends of ours."""
        self._sink.close()
        self._source.close()
