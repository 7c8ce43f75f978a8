from __future__ import annotations

import msgspec
import pytest

from interlock.core.bundles import DeploymentSpec, Route
from interlock.core.errors import Corrupt, Invalid, NotFound
from interlock.serve.revision import load_revision
from interlock.serve.sources import Wanted


def load(shop, *routes, name="shop", loaded=None):
    spec = shop.store.objects.put(msgspec.json.encode(DeploymentSpec(name, 4, routes)))
    return load_revision(shop.source(), Wanted(4, spec), loaded or {})


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
