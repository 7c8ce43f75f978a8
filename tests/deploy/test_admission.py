from __future__ import annotations

import pytest

from interlock.core.errors import GateClosed
from interlock.deploy.admission import check_approved
from interlock.registry.service import RegistryService
from interlock.store import Store


def test_a_champion_that_nobody_approved_is_not_deployed(store: Store, register) -> None:
    """Without gates anybody may point the alias; traffic still needs an approval."""
    registry = RegistryService(store)
    register()
    registry.alias("happy", "champion", 1)
    with pytest.raises(GateClosed, match="only an approved version is deployed"):
        check_approved(store, registry, registry.version("happy@champion"))


def test_an_unpinned_version_is_not_deployed(store: Store) -> None:
    from interlock.registry.catalogue import Catalogue

    books, registry = Catalogue(store), RegistryService(store)
    draft = books.versions.draft("m", source="s3://bucket/model")
    store.database.write(lambda tx: books.versions.create(tx, draft, make=True))
    registry.alias("m", "champion", 1)
    with pytest.raises(GateClosed):
        check_approved(store, registry, registry.version("m@champion"))
