from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from interlock.core.bundles import DeploymentSpec, Route, Serving
from interlock.core.errors import Corrupt, Invalid, NotFound
from interlock.serve.policy import Rules
from interlock.serve.revision import load_revision
from interlock.serve.sources import Wanted


def load(shop, *routes, name="shop", loaded=None, serving=None, rules=None):
    spec = shop.store.objects.put(msgspec.json.encode(DeploymentSpec(name, 4, routes, serving or Serving())))
    return load_revision(shop.source(), Wanted(4, spec), loaded or {}, rules)


def test_a_bundle_of_two_routes_is_loaded_once_and_one_in_memory_not_again(shop, tools):
    bundle = shop.bundle("people")
    first = load(shop, tools.route(bundle, "model:a@1"), tools.route(bundle, "model:a@2"))
    assert first.routes[0].model is first.routes[1].model
    again = load(shop, tools.route(bundle, "model:a@1", 0.2), loaded={bundle: first.routes[0].model})
    assert again.routes[0].model is first.routes[0].model


def test_a_route_whose_golden_answers_differ_takes_no_traffic(shop, tools, kinds):
    wrong = shop.bundle("reversed", scores=kinds["people"].scores)
    with pytest.raises(Invalid, match="takes no traffic") as caught:
        load(shop, tools.route(shop.bundle("people")), tools.route(wrong, "model:buyer@2", 0.1))
    assert [found.rule for found in caught.value.findings] == ["golden_differs"]
    assert "model:buyer@2" in caught.value.findings[0].message


def test_routes_that_predict_different_things_are_refused(shop, tools):
    with pytest.raises(Invalid, match="different columns"):
        load(shop, tools.route(shop.bundle("people")), tools.route(shop.bundle("people", target="stays")))


@pytest.mark.parametrize("weights", [(0.0,), (-1.0,)])
def test_weights_that_are_no_shares_are_refused(shop, tools, weights):
    with pytest.raises(Invalid):
        load(shop, *(tools.route(shop.bundle("people"), weight=w) for w in weights))


def test_a_spec_of_another_deployment_or_without_routes_is_corrupt(shop, tools):
    with pytest.raises(Corrupt):
        load(shop, tools.route(shop.bundle("people")), name="other")
    with pytest.raises(Corrupt):
        load(shop)
    text = shop.store.objects.put(b"no spec")
    with pytest.raises(Corrupt):
        load_revision(shop.source(), Wanted(1, text), {})


def test_a_model_that_is_no_reference_is_refused(shop):
    with pytest.raises(Invalid):
        load(shop, Route("model:", shop.bundle("people"), 1.0))


def test_a_route_of_weight_zero_answers_only_when_named(shop, tools):
    bundle = shop.bundle("people")
    loaded = load(shop, tools.route(bundle, "model:a@1"), tools.route(bundle, "model:b@2", 0.0))
    assert {loaded.whole.pick(str(i)) for i in range(50)} == {0}
    assert loaded.view("b").routes[0].version == "2"
    assert loaded.view("shop", "2").routes[0].name == "b"


def test_an_unknown_name_gets_the_near_ones(shop, tools):
    loaded = load(shop, tools.route(shop.bundle("people"), "model:buyer@1"))
    with pytest.raises(NotFound, match="'buyer'"):
        loaded.view("buyers")


def test_a_spec_says_how_to_answer_and_the_server_what_it_leaves_open(shop, tools):
    bundle = shop.bundle("people")
    rules = Rules(Serving(durability="1s", batch_rows=7))
    found = load(shop, tools.route(bundle), serving=Serving(batch_rows=9, garbage="flag"), rules=rules).serving
    assert found == Serving("1s", "flag", None, "flag", False, 9, None)


def test_old_versions_say_so_and_grow_older(shop, tools):
    bundle, made = shop.bundle("people"), datetime(2026, 1, 1, tzinfo=UTC)
    births = {"model:buyer@1": made, "model:buyer@2": made + timedelta(days=80)}
    routes = [tools.route(bundle, "model:buyer@1", 0.5), tools.route(bundle, "model:buyer@2", 0.5, "challenger")]
    limit = Serving(stale_after_s=90 * 86_400)
    revision = load(shop, *routes, serving=limit, rules=Rules(born=births.get))
    seen = [revision.headers((model,)) for model in births]
    assert all(len(headers) == 3 for headers in seen)
    revision.grow(made + timedelta(days=89.9))
    assert revision.headers(("model:buyer@1",)) == seen[0]
    revision.grow(made + timedelta(days=100.5))
    stale = (b"interlock-warning", b"stale-model; age-days=100")
    assert revision.headers(("model:buyer@1",)) == (*seen[0], stale)
    assert revision.headers(("model:buyer@2",)) == seen[1]
    assert revision.headers(("model:buyer@1", "model:buyer@2"))[-1] == stale
    assert revision.ages == {"model:buyer@1": 100.5 * 86_400, "model:buyer@2": 20.5 * 86_400}


def test_an_original_in_memory_answers_no_more_where_none_may(shop, tools):
    bundle = shop.bundle("people")
    first = load(shop, tools.route(bundle)).routes[0].model
    first.engine.name = "worker"
    again = load(shop, tools.route(bundle), loaded={bundle: first}, serving=Serving(code_models=True))
    assert again.routes[0].model is first
    again = load(shop, tools.route(bundle), loaded={bundle: first})
    assert again.routes[0].model is not first
