from __future__ import annotations

from datetime import UTC, datetime

import pytest

from interlock.core.bundles import Serving
from interlock.serve.policy import DEFAULTS, Ruled, Rules, birthdays
from interlock.serve.revision import load_revision


def test_rules_fall_back_to_what_is_always_so():
    assert Rules().defaults == DEFAULTS
    assert Rules(Serving(garbage="flag")).defaults == Serving("fsync", "flag", None, "flag", False)


def test_another_engine_has_the_same_rules_and_no_followers():
    rules = Rules(Serving(durability="1s"), {"m": datetime(2026, 1, 1, tzinfo=UTC)}.get)
    rules.followers.append(print)
    beside = rules.beside()
    assert (beside.defaults, beside.born("m"), beside.followers) == (rules.defaults, rules.born("m"), [])


def test_versions_of_the_registry_have_a_birthday(shop, register):
    register("buyer", 3, "b")
    born = birthdays(shop.store.database)
    assert born("model:buyer@3") == datetime(1970, 1, 1, tzinfo=UTC)
    assert [born(model) for model in ("model:buyer@4", "model:buyer@sha-ab12", "model:other@3")] == [None] * 3


@pytest.mark.parametrize(
    ("option", "said", "allowed"), [(False, None, False), (True, None, True), (False, True, True), (True, False, False)]
)
def test_a_spec_says_whether_originals_answer(shop, tools, monkeypatch, option, said, allowed):
    from interlock.serve.model import LoadedModel

    asked, load = [], LoadedModel.open

    def told(objects, bundle, *, code_models):
        asked.append(code_models)
        return load(objects, bundle)

    shop.deploy(tools.route(shop.bundle("people")), serving=Serving(code_models=said))
    source = Ruled("shop", shop.store.database, shop.store.objects, code_models=option)
    monkeypatch.setattr(LoadedModel, "open", told)
    load_revision(source, source.wanted(), {})
    assert asked == [allowed]
