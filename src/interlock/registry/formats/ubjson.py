"""Universal Binary JSON (ubjson.org, draft 12) as XGBoost writes it: one value, read whole."""

from __future__ import annotations

import struct
from typing import Any, Final

from interlock.registry.formats.verdict import fail

_NUMBERS: Final = {
    ord("i"): struct.Struct(">b"),
    ord("U"): struct.Struct(">B"),
    ord("I"): struct.Struct(">h"),
    ord("l"): struct.Struct(">i"),
    ord("L"): struct.Struct(">q"),
    ord("d"): struct.Struct(">f"),
    ord("D"): struct.Struct(">d"),
}
_LENGTHS: Final = frozenset(b"iUIlL")
_DEEPEST: Final = 64
_WORDS: Final = {ord("Z"): None, ord("T"): True, ord("F"): False}


def decode(data: bytes) -> Any:
    """Return the value of some bytes, which hold nothing else.

    Raises:
        Broken: they are no UBJSON, or something follows.
    """
    reader = _Reader(data)
    value = reader.value(reader.byte(), 0)
    if reader.place != len(data):
        fail(f"{len(data) - reader.place:,} bytes follow its end")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def byte(self) -> int:
        if self.place >= len(self.data):
            fail("it ends too early")
        self.place += 1
        return self.data[self.place - 1]

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.data) - self.place:
            fail(f"{count:,} bytes are announced at {self.place:,}, and the file ends before")
        self.place += count
        return self.data[self.place - count : self.place]

    def value(self, marker: int, depth: int) -> Any:
        if depth > _DEEPEST:
            fail(f"it is nested deeper than {_DEEPEST}")
        if marker in _NUMBERS:
            number = _NUMBERS[marker]
            return number.unpack(self.take(number.size))[0]
        if marker == ord("S"):
            return self.text()
        if marker == ord("{"):
            return self.table(depth)
        if marker == ord("["):
            return self.array(depth)
        if marker in _WORDS:
            return _WORDS[marker]
        if marker == ord("C"):
            return chr(self.byte())
        return fail(f"byte {marker:#04x} at {self.place - 1:,} begins no value")

    def text(self) -> str:
        try:
            return self.take(self.length()).decode()
        except UnicodeDecodeError:
            fail(f"the text before {self.place:,} is no UTF-8")

    def length(self) -> int:
        marker = self.byte()
        if marker not in _LENGTHS:
            fail(f"byte {marker:#04x} at {self.place - 1:,} begins no length")
        number = _NUMBERS[marker]
        return int(number.unpack(self.take(number.size))[0])

    def sized(self) -> tuple[int | None, int | None]:
        """Return the type and the count that a container may begin with."""
        kind = count = None
        if self.place < len(self.data) and self.data[self.place] == ord("$"):
            self.place += 1
            kind = self.byte()
        if self.place < len(self.data) and self.data[self.place] == ord("#"):
            self.place += 1
            count = self.length()
            if count < 0:
                fail(f"a container before {self.place:,} has a negative count")
        elif kind is not None:
            fail(f"a container with a type and without a count before {self.place:,}")
        return kind, count

    def array(self, depth: int) -> Any:
        kind, count = self.sized()
        if kind in _NUMBERS and count is not None:
            number = _NUMBERS[kind]
            data = self.take(count * number.size)
            return list(struct.unpack(f">{count}{number.format[1:]}", data))
        if kind is not None and count is not None:
            if kind in _WORDS:
                fail("an array of words has no bytes to count")
            return [self.value(kind, depth + 1) for _ in range(count)]
        if count is not None:
            return [self.value(self.byte(), depth + 1) for _ in range(count)]
        found = []
        while (marker := self.byte()) != ord("]"):
            if marker != ord("N"):
                found.append(self.value(marker, depth + 1))
        return found

    def table(self, depth: int) -> dict[str, Any]:
        kind, count = self.sized()
        found: dict[str, Any] = {}
        while count is None or count > 0:
            if count is None and self.place < len(self.data) and self.data[self.place] == ord("}"):
                self.place += 1
                break
            name = self.text()
            if name in found:
                fail(f"{name!r} comes twice")
            found[name] = self.value(self.byte() if kind is None else kind, depth + 1)
            count = None if count is None else count - 1
        return found
