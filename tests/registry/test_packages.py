from __future__ import annotations

import msgspec
import pytest

from interlock.track.environment import Environment
from interlock.track.records import Start
from interlock.track.service import TrackService

# As MLflow 3.17 writes them.
REQUIREMENTS = (
    b"mlflow==3.17.2\nnumpy==2.4.6\nScikit_Learn[x, y]==1.9.1 ; python_version > '3'\n-r more.txt\nscipy>=1\n"
)
PYTHON = b"python: 3.11.7\nbuild_dependencies:\n- pip==23.2.1\ndependencies:\n- -r requirements.txt\n"


def recorded(store, registry, version) -> Environment | None:
    digest = registry.pins(version.ref).environment
    return msgspec.json.decode(store.objects.get(digest), type=Environment) if digest else None


def test_what_mlflow_lists_is_the_environment_where_the_run_recorded_none(store, registry, make, manifest) -> None:
    run = TrackService(store).start(Start("e"))
    files = {"requirements__txt": REQUIREMENTS, "python_env__yaml": PYTHON}
    for version in (make(bundle=manifest(**files), run=run.id), make(bundle=manifest(**files))):
        found = recorded(store, registry, version)
        assert found is not None
        assert (found.python, found.implementation) == ("3.11.7", "CPython")
        assert found.packages == {"mlflow": "3.17.2", "numpy": "2.4.6", "scikit-learn": "1.9.1"}
    newer = make(bundle=manifest(**files | {"requirements__txt": b"numpy==2.5\n"}))
    named = {(found.part, found.name): (found.left, found.right) for found in registry.diff("m@2", newer.ref)}
    assert named["packages", "numpy"] == ("2.4.6", "2.5")


def test_what_the_run_recorded_comes_first(store, registry, make, manifest) -> None:
    kept = store.objects.put(msgspec.json.encode(Environment("3.12", "CPython", "Linux", 2, {"numpy": "1"})))
    run = TrackService(store).start(Start("e", environment=kept))
    version = make(bundle=manifest(requirements__txt=REQUIREMENTS, python_env__yaml=PYTHON), run=run.id)
    assert registry.pins(version.ref).environment == kept


@pytest.mark.parametrize(
    "files",
    [
        {"requirements__txt": REQUIREMENTS},
        {"python_env__yaml": PYTHON},
        {"requirements__txt": b"numpy\n--index-url http://x\n", "python_env__yaml": PYTHON},
        {"requirements__txt": REQUIREMENTS, "python_env__yaml": b"python: !!python/object/apply:os.system [x]\n"},
        {"requirements__txt": b"\xff\xfe" * 700_000, "python_env__yaml": PYTHON},
        {"requirements__txt": b"a==" + b"b" * 100_000 + b" x\n", "python_env__yaml": PYTHON},
    ],
)
def test_what_does_not_say_all_of_it_is_no_environment(store, registry, make, manifest, files) -> None:
    assert recorded(store, registry, make(bundle=manifest(**files))) is None
