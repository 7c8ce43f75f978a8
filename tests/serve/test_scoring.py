"""A model in somebody else's server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from interlock.core.errors import Invalid
from interlock.serve.scoring import Scorer

BODY = json.dumps({"instances": [{"age": 40, "hours": 38.0, "income": 30.0}]})


def test_threads_ask_and_every_answer_is_in_the_log(shop, tools):
    shop.deploy(tools.route(shop.bundle("people")))
    with Scorer(shop.source(), shop.store) as scorer, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(scorer.answer, [BODY] * 20))
        assert {status for status, _ in answers} == {200}
        assert scorer.answer(b"age,hours,income\n40,38,30\n", "text/csv")[0] == 200
        assert scorer.check() == []
    ids = {json.loads(body)["predictions"][0]["prediction_id"] for _, body in answers}
    assert len(ids) == 20
    assert ids <= {row.id for row in shop.store.predictions.rows()}


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [("{", "application/json", 400), (b"\xff", "text/csv", 400), (b"x", "text/\u4e2d", 415), ("{}", "image/png", 415)],
)
def test_what_is_wrong_is_refused_with_a_status(shop, tools, body, media, status):
    shop.deploy(tools.route(shop.bundle("people")))
    with Scorer(shop.source(), shop.store) as scorer:
        found, answer = scorer.answer(body, media)
    assert (found, set(json.loads(answer))) == (status, {"error_code", "message"})


def test_a_model_that_fails_its_golden_requests_is_none(shop, tools):
    shop.deploy(tools.route(shop.bundle("people", scores=[0.99] * 20)))
    with pytest.raises(Invalid, match="golden rows"):
        Scorer(shop.source(), shop.store)
