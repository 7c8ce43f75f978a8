"""Where the files of an MLflow store are: places on this machine."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from interlock.bridges.mlflow.careful import is_inside
from interlock.bridges.mlflow.records import TheirFile
from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator


class LocalPlaces:
    """Reads files by the addresses that a store gives them, if they lie inside of it: its records may be a stranger's.

    Args:
        base: what relative paths begin at.
        proxied: the folder that the store's server kept proxied files in (`--artifacts-destination`), or None; files
            are read from it too, whatever address leads there.
        within: the store's folder; without one, `base`.

    Attributes:
        left: the links that were not followed, and why.
    """

    def __init__(self, base: Path, proxied: Path | None = None, within: Path | None = None) -> None:
        self._base = base
        self._proxied = proxied
        self._roots = [(within or base).resolve(), *([proxied.resolve()] if proxied else [])]
        self.left: list[str] = []

    def files(self, place: str) -> Iterator[TheirFile]:
        """Yield the files below a place; links that leave it are not followed.

        Raises:
            Invalid: the place is on no disk of this machine, or outside the store.
        """
        root = self._folder(place)
        if not is_inside(root, *self._roots):
            raise Invalid(
                f"{place} lies outside the store.",
                about="import",
                hint="If these files are the store's, name a folder around them: --artifacts FOLDER.",
            )
        inside = root.resolve()
        if not inside.is_dir():
            return
        for folder, folders, names in os.walk(inside):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if not is_inside(path, inside):
                    self.left.append(f"{path} is a link that leaves its folder.")
                elif path.is_file():
                    yield TheirFile(path.relative_to(inside).as_posix(), path.stat().st_size, partial(_open, path))

    def _folder(self, place: str) -> Path:
        parts = urlsplit(place)
        if parts.scheme == "mlflow-artifacts":
            if self._proxied is None:
                raise Invalid(
                    f"{place} was kept by the store's server.",
                    about="import",
                    hint="Say where: --artifacts FOLDER, the server's --artifacts-destination (./mlartifacts of old).",
                )
            return self._proxied / unquote(parts.path).lstrip("/")
        if parts.scheme == "file":
            return Path(unquote(parts.path))
        if parts.scheme and len(parts.scheme) > 1:
            raise Invalid(
                f"{place} is on no disk of this machine.",
                about="import",
                hint="Import from the running server instead, whose address reads it for us.",
            )
        return self._base / unquote(place)


def _open(path: Path) -> BinaryIO:
    return path.open("rb")
