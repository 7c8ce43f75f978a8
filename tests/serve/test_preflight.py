from __future__ import annotations

import json

import pytest

import interlock.serve
from interlock.serve.preflight import main, preflight


def test_a_sound_bundle_is_ok(shop, capsysbinary):
    assert main(["--workspace", str(shop.root), "--bundle", shop.bundle("customers")]) == 0
    found = json.loads(capsysbinary.readouterr().out)
    assert (found["ok"], found["findings"]) == (True, [])
    assert found["load_s"] > 0
    assert found["rows_per_s"] > 0
    assert {"python", "onnxruntime", "numpy"} <= set(found["versions"])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [({"scores": [0.0] * 20}, "golden_differs"), ({"graph": b"x"}, "bundle.corrupt"), ({"rows": []}, "golden_missing")],
)
def test_an_unsound_bundle_is_not(shop, changes, rule, capsysbinary):
    digest = shop.bundle(**changes)
    assert next(f.rule for f in preflight(shop.store.objects, digest).findings) == rule
    assert main(["--workspace", str(shop.root), "--bundle", digest]) == 1
    assert json.loads(capsysbinary.readouterr().out)["findings"][0]["rule"] == rule


def test_another_package_than_the_record_says_is_a_warning_of_a_graph(shop, capsysbinary):
    made = shop.store.objects.put(b'{"packages": {"onnxruntime": "1.0.0"}}')
    words = ["--workspace", str(shop.root), "--bundle", shop.bundle(), "--environment", made]
    assert main(words) == 0
    found = json.loads(capsysbinary.readouterr().out)
    assert [one.get("column") for one in found["warnings"]] == ["onnxruntime", "numpy"]
    assert found["engine"] == "onnx"
    words[-1] = "0" * 64
    assert main(words) == 1
    assert json.loads(capsysbinary.readouterr().out)["findings"][0]["rule"] == "object.not_found"


@pytest.mark.parametrize(("workspace", "rule"), [("", "object.invalid"), ("/nowhere", "workspace.not_found")])
def test_what_is_not_there_is_a_finding(shop, workspace, rule, capsysbinary):
    assert main(["--workspace", workspace or str(shop.root), "--bundle", "x"]) == 1
    assert json.loads(capsysbinary.readouterr().out)["findings"][0]["rule"] == rule


def test_the_rooms_door_names_what_is_there():
    assert all(getattr(interlock.serve, name) for name in interlock.serve.__all__)
    with pytest.raises(AttributeError):
        _ = interlock.serve.nothing
