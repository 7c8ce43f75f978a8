from __future__ import annotations

import pytest

from interlock.serve import fresh
from interlock.serve.fresh import fresh_preflight


def test_a_fresh_process_says_what_the_preflight_says(shop):
    found = fresh_preflight(shop.root, shop.bundle())
    assert (found.ok, found.findings) == (True, [])
    assert found.rows_per_s > 0
    assert found.versions["onnxruntime"]
    assert [f.rule for f in fresh_preflight(shop.root, "0" * 64).findings] == ["object.not_found"]


@pytest.mark.parametrize(("timeout_s", "says"), [(120, "ended with status"), (0.0, "no answer")])
def test_a_process_that_dies_or_hangs_is_a_finding(shop, monkeypatch, timeout_s, says):
    monkeypatch.setattr(fresh.sys, "executable", "/bin/false" if timeout_s else fresh.sys.executable)
    monkeypatch.setattr(fresh, "_TIMEOUT_S", timeout_s)
    found = fresh_preflight(shop.root, "0" * 64)
    assert not found.ok
    assert says in found.findings[0].message
