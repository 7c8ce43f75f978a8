"""Records put together model by model."""

from __future__ import annotations

import msgspec
import pytest
from loops import closed, empty, window

from interlock.core.bundles import Route
from interlock.ui.views import model_views, name_of, newest_by_window, version_of


@pytest.mark.parametrize(
    ("ref", "name", "version"),
    [
        ("model:credit@7", "credit", 7),
        ("model:credit", "credit", 0),
        ("credit@2", "credit", 2),
        ("model:a b@10", "a b", 10),
        ("model:credit@champion", "credit", 0),
        ("", "", 0),
    ],
)
def test_references_are_taken_apart(ref: str, name: str, version: int) -> None:
    assert (name_of(ref), version_of(ref)) == (name, version)


def test_one_report_a_window_that_of_the_newest_version() -> None:
    nine = msgspec.structs.replace(window(3), model="model:employment@9")
    ten = msgspec.structs.replace(window(3), model="model:employment@10")
    for reports in ([window(2), nine, ten], [ten, window(2), nine]):
        assert [r.model for r in newest_by_window(reports)] == ["model:employment@1", "model:employment@10"]


def test_records_find_their_model() -> None:
    status = closed()
    other = msgspec.structs.replace(status.deployments[0], name="other", routes=(Route("model:credit@1", "", 1.0),))
    waiting = msgspec.structs.replace(
        status.monitors[0],
        name="other",
        model="",
        plan=msgspec.structs.replace(status.monitors[0].plan, deployment="other"),
    )
    views = model_views(
        msgspec.structs.replace(status, deployments=(other, *status.deployments), monitors=(waiting, *status.monitors))
    )
    assert [view.name for view in views] == ["credit", "employment"]
    assert [d.name for d in views[0].deployments] == ["other"]
    assert [m.name for m in views[0].monitors] == ["other"]
    assert views[0].windows == ()
    assert [m.name for m in views[1].monitors] == ["employment"]
    assert [v.version for v in views[1].versions] == [3, 2, 1]
    assert len(views[1].windows) == 36
    assert model_views(empty()) == []
