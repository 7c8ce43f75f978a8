from __future__ import annotations

import math

import pytest

from interlock.core.bundles import Golden
from interlock.serve.golden import check_golden
from interlock.serve.model import LoadedModel


@pytest.fixture
def model(shop):
    return LoadedModel.load(shop.store.objects, shop.bundle("people"))


def test_agreement_is_no_finding(model):
    assert check_golden(model, model.golden) == []


@pytest.mark.parametrize("wrong", [0.5, math.nan, math.inf])
def test_another_score_is_a_finding_with_its_row(model, wrong):
    golden = model.golden
    scores = [*golden.scores]
    scores[3] = scores[3] + wrong
    (found,) = check_golden(model, Golden(golden.rows, scores, golden.tolerance))
    assert (found.rule, found.rows, found.count) == ("golden_differs", (3,), 1)


def test_a_difference_within_the_tolerance_agrees(model):
    golden = model.golden
    scores = [score + 0.001 for score in golden.scores]
    assert check_golden(model, Golden(golden.rows, scores, 0.01)) == []
    assert check_golden(model, Golden(golden.rows, scores, 0.0001))
    assert check_golden(model, Golden(golden.rows, scores, math.nan))


@pytest.mark.parametrize(("rows", "scores"), [([], []), ([{}], [])])
def test_no_golden_requests_are_a_finding(model, rows, scores):
    assert check_golden(model, Golden(rows, scores, 0.1))[0].rule == "golden_missing"


def test_rows_that_the_model_refuses_are_findings(model):
    rows = [{**row, "age": "x"} for row in model.golden.rows]
    found = check_golden(model, Golden(rows, model.golden.scores, 0.1))
    assert [f.rule for f in found] == ["golden_failed", "type"]
    assert found[1].column == "age"


def test_only_the_first_rows_are_asked_when_told(model):
    golden = model.golden
    scores = [*golden.scores[:10], *[score + 0.5 for score in golden.scores[10:]]]
    assert check_golden(model, Golden(golden.rows, scores, 0.01), limit=10) == []
