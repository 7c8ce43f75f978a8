from __future__ import annotations

import msgspec
import pytest

from interlock.core.bundles import Bundle, DeploymentSpec, Route, Serving

OLD_SPEC = b'{"name":"shop","revision":3,"routes":[{"model":"model:m@1","bundle":"ab","weight":1.0,"role":"champion"}]}'
OLD_BUNDLE = (
    b'{"flavor":"sklearn","task":"regression","inputs":[{"name":"age","type":"integer"}],"target":"y","classes":[],'
    b'"files":{},"agreement":{"rows":1,"max_difference":0.0,"tolerance":0.1,"label_flips":0}}'
)


def test_what_was_written_before_is_read_and_written_as_it_was() -> None:
    spec = msgspec.json.decode(OLD_SPEC, type=DeploymentSpec)
    assert spec == DeploymentSpec("shop", 3, (Route("model:m@1", "ab", 1.0),))
    assert msgspec.json.encode(spec) == OLD_SPEC
    bundle = msgspec.json.decode(OLD_BUNDLE, type=Bundle)
    assert (bundle.ranges, bundle.answers) == ({}, None)


def test_what_is_said_counts_before_what_another_says() -> None:
    found = Serving(durability="1s", code_models=False).over(
        Serving(durability="fsync", code_models=True, batch_rows=8)
    )
    assert found == Serving(durability="1s", code_models=False, batch_rows=8)


def test_it_tells_itself_and_its_changes_in_one_line() -> None:
    before = Serving(durability="fsync", concurrent=64)
    after = Serving(durability="1s", stale_after_s=90 * 86_400, code_models=True)
    assert str(after) == "durability 1s, stale after 90 days, code models true"
    changes = "durability fsync -> 1s, stale after - -> 90 days, code models - -> true, concurrent 64 -> -"
    assert after.changes(before) == changes
    assert after.changes(after) == str(Serving()) == ""
    assert str(Serving(stale_after_s=90)) == "stale after 90 s"


@pytest.mark.parametrize("wrong", [{"batch_rows": 0}, {"concurrent": -1}, {"durability": "2s"}, {"stale_after_s": 0}])
def test_values_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Serving)
