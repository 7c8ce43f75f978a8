"""What the registry's tests share: the books, and versions made in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.registry.catalogue import Catalogue
from interlock.registry.records import ModelVersion
from interlock.registry.service import RegistryService
from interlock.store import Store
from interlock.store.manifests import Entry, put_entries

Make = Callable[..., ModelVersion]


@pytest.fixture
def registry(store: Store) -> RegistryService:
    return RegistryService(store)


@pytest.fixture
def books(store: Store) -> Catalogue:
    return Catalogue(store)


@pytest.fixture
def manifest(store: Store) -> Callable[..., str]:
    """Store files by path as a folder."""

    def make(**files: bytes) -> str:
        entries = [Entry(path.replace("__", "."), len(data), store.objects.put(data)) for path, data in files.items()]
        return put_entries(store.objects, entries)

    return make


@pytest.fixture
def make(store: Store, books: Catalogue) -> Make:
    """Make the next version of a model, unpinned unless told otherwise."""

    def version(model: str = "m", **texts: object) -> ModelVersion:
        draft = books.versions.draft(model, **{"source": "s3://bucket/m", **texts})
        return store.database.write(lambda tx: books.versions.create(tx, draft, make=True))

    return version
