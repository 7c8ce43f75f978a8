"""Versions that a run made: known by name at once, by number when the workspace has them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from interlock.core.errors import NotFound, Unavailable
from interlock.sdk.workspace import Workspace
from interlock.store.manifests import Entry, manifest_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

_WAIT_S: Final = 30.0
_PAGE: Final = 1000


class Maker(Protocol):
    """A run, as the versions that it makes see it."""

    id: str

    @property
    def ref(self) -> str:
        """How to name it."""

    @property
    def location(self) -> str:
        """Its workspace."""

    def flush(self, timeout_s: float = ...) -> bool:
        """Return whether the workspace has all that was said."""


class Made:
    """A version that a run makes; its number is the workspace's to give.

    Args:
        run: the run.
        name: the model's name.
        files: the version's files by path.
    """

    def __init__(self, run: Maker, name: str, files: Mapping[str, bytes]) -> None:
        self.name = name
        self._run = run
        entries = [Entry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in files.items()]
        self._bundle = hashlib.sha256(manifest_bytes(entries)).hexdigest()
        self._known = ""

    @property
    def reference(self) -> str:
        """Its reference, such as `model:churn@3`; waits at most 30 seconds until the workspace has it.

        Raises:
            Unavailable: the workspace is away, so that nobody knows the number yet; `interlock sync` delivers it later.
            NotFound: the workspace did not take it.
        """
        return self.wait()

    def wait(self, timeout_s: float = _WAIT_S) -> str:
        """Return its reference when the workspace has it; see `reference`.

        Args:
            timeout_s: how long to wait at most.
        """
        if self._known:
            return self._known
        done = self._run.flush(timeout_s)
        with Workspace.open(self._run.location) as workspace:
            for ref, name, bundle in versions_of(workspace, self._run.id):
                if (name, bundle) == (self.name, self._bundle):
                    self._known = ref
                    return ref
        about = f"{self._run.location} has no version of {self.name!r} of {self._run.ref}"
        if not done:
            raise Unavailable(f"{about} yet.", about="model_version", hint="Ask again, or run `interlock sync`.")
        raise NotFound(f"{about}.", about="model_version", hint="Run `interlock sync`; it says what was refused.")

    def __repr__(self) -> str:
        return f"<Made {self._known or f'{self.name}, number not asked for yet'}>"


def versions_of(workspace: Workspace, run: str) -> list[tuple[str, str, str]]:
    """Return the versions that a run made, oldest first: their references, names and digests.

    Args:
        workspace: where they are.
        run: the run's id.
    """
    found, token = [], ""
    while True:
        page = workspace.registry.find(f"run_id = '{run}'", ["creation_timestamp ASC"], _PAGE, token)
        found += [(version.ref, version.model, version.bundle) for version in page.versions]
        token = page.next_page_token
        if not token:
            return found
