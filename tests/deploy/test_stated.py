from __future__ import annotations

import pytest

from interlock.core.bundles import Serving
from interlock.core.errors import Corrupt
from interlock.deploy.stated import allows_originals, stated
from interlock.store import Store

SHOP = '[deployment.shop]\nmodel = "kept@champion"\n'


def apply(store: Store, text: str) -> None:
    values = {"digest": store.objects.put(text.encode())}
    store.database.write(
        lambda tx: tx.run("INSERT INTO applied (name, digest, applied_at) VALUES ('project', :digest, 0)", values)
    )


def test_the_applied_project_says_how_a_deployment_answers(store: Store) -> None:
    assert stated(store.database, store.objects, "shop") == Serving()
    assert not allows_originals(store.database, store.objects, "kept")
    apply(
        store, f'[project]\nname = "x"\n{SHOP}[deployment.shop.serving]\nstale_after = "2 days"\ncode_models = true\n'
    )
    found = stated(store.database, store.objects, "shop")
    assert found == Serving(stale_after_s=172_800, code_models=True)
    assert stated(store.database, store.objects, "other") == Serving()
    assert allows_originals(store.database, store.objects, "kept")
    assert not allows_originals(store.database, store.objects, "other")


@pytest.mark.parametrize(("second", "allowed"), [("", True), ("true", True), ("false", False)])
def test_originals_answer_where_no_deployment_of_the_model_forbids_them(
    store: Store, second: str, allowed: bool
) -> None:
    more = f"[deployment.b.serving]\ncode_models = {second}\n" if second else ""
    text = f'{SHOP}[deployment.shop.serving]\ncode_models = true\n[deployment.b]\nmodel = "model:kept"\n{more}'
    apply(store, text)
    assert allows_originals(store.database, store.objects, "kept") is allowed


@pytest.mark.parametrize(
    "text",
    [
        f'{SHOP}[deployment.shop.serving]\ndurability = "moon"\n',
        "[deployment.shop]\nmodel = 7\n",
        "[deployment.shop]\nserving = 1\n",
        "[[deployment\n",
    ],
)
def test_what_a_newer_release_applied_is_refused_with_a_hint(store: Store, text: str) -> None:
    apply(store, text)
    for ask in (stated, allows_originals):
        with pytest.raises(Corrupt, match="applied last cannot be read") as caught:
            ask(store.database, store.objects, "shop")
        assert "newer release" in caught.value.hint
