"""A PNG as rows of pixels, as far as Chromium writes them: eight bits, three or four channels."""

from __future__ import annotations

import struct
import zlib
from collections import Counter

Pixel = tuple[int, int, int]


class Image:
    """Width, height and pixels."""

    def __init__(self, png: bytes) -> None:
        chunks = dict[bytes, bytes]()
        at = 8
        while at < len(png):
            length, kind = struct.unpack(">I4s", png[at : at + 8])
            chunks[kind] = chunks.get(kind, b"") + png[at + 8 : at + 8 + length]
            at += 12 + length
        self.width, self.height, depth, colours = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
        assert depth == 8
        self._channels = {2: 3, 6: 4}[colours]
        self._rows = self._unfilter(zlib.decompress(chunks[b"IDAT"]))

    def at(self, x: int, y: int) -> Pixel:
        row = self._rows[y]
        start = x * self._channels
        return row[start], row[start + 1], row[start + 2]

    def colours(self, every: int = 2) -> Counter[Pixel]:
        """Return how often each colour is met on a grid."""
        return Counter(self.at(x, y) for y in range(0, self.height, every) for x in range(0, self.width, every))

    def _unfilter(self, raw: bytes) -> list[bytes]:
        """Undo the filters of the PNG specification, section 9."""
        step, size = self._channels, self.width * self._channels
        rows, before = [], bytearray(size)
        for y in range(self.height):
            kind, line = raw[y * (size + 1)], bytearray(raw[y * (size + 1) + 1 : (y + 1) * (size + 1)])
            if kind == 2:
                line = bytearray((a + b) & 255 for a, b in zip(line, before, strict=True))
            elif kind:
                for i in range(size):
                    left, up = line[i - step] if i >= step else 0, before[i]
                    if kind == 1:
                        guess = left
                    elif kind == 3:
                        guess = (left + up) >> 1
                    else:
                        guess = _paeth(left, up, before[i - step] if i >= step else 0)
                    line[i] = (line[i] + guess) & 255
            rows.append(bytes(line))
            before = line
        return rows


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    far = (abs(guess - left), abs(guess - up), abs(guess - corner))
    return (left, up, corner)[far.index(min(far))]
