from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from notes_service import SERVICES, NotesService

import interlock
from interlock.core.errors import Corrupt, Invalid, MissingExtra, NotFound
from interlock.sdk.services import SERVICES as OWN
from interlock.sdk.services import Service
from interlock.sdk.workspace import Workspace
from interlock.server.run import serving
from interlock.store import create_store


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.over(create_store(tmp_path / "w/.interlock"), services=SERVICES) as opened:
        yield opened


@pytest.fixture(params=["local", "remote"])
def workspace(local: Workspace, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    if request.param == "local":
        yield local
        return
    with serving(local) as address, Workspace.open(address, services=SERVICES) as opened:
        yield opened


def test_operations_are_methods_with_their_help(workspace: Workspace) -> None:
    method = workspace.notes.get
    assert method.__name__ == "get"
    assert inspect.getdoc(method) == inspect.getdoc(NotesService.get)
    assert list(inspect.signature(workspace.notes.add).parameters)[:3] == ["title", "files", "stars"]
    assert workspace.notes.get is method
    assert "add" in dir(workspace.notes)
    assert "notes" in dir(workspace)
    assert workspace.notes.__doc__ == "Notes: made for tests."
    assert workspace.location in repr(workspace.notes)


def test_misspelt_names_get_the_nearest(workspace: Workspace) -> None:
    with pytest.raises(AttributeError, match="did you mean 'notes'"):
        _ = workspace.note
    with pytest.raises(AttributeError, match="did you mean 'count'"):
        _ = workspace.notes.cuont
    with pytest.raises(NotFound, match=r"'notes\.count'"):
        workspace.call("notes", "cuont", {})
    with pytest.raises(NotFound, match="'notes'"):
        workspace.call("nots", "count", {})
    assert not hasattr(workspace, "__wrapped__")


def test_a_private_method_is_no_operation(workspace: Workspace) -> None:
    with pytest.raises(AttributeError):
        _ = workspace.notes._store
    with pytest.raises(AttributeError):
        _ = workspace.notes.name
    with pytest.raises(NotFound):
        workspace.call("notes", "__init__", {})


def test_files_go_in_and_come_out(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "people.csv"
    source.write_bytes(b"a,b\n" * 1000)
    stored = workspace.upload(source)
    assert (stored.name, stored.size_bytes) == ("people.csv", 4000)
    workspace.notes.add("a", [stored])
    assert workspace.read(stored.digest) == source.read_bytes()
    workspace.save(stored.digest, tmp_path / "copy.csv")
    assert (tmp_path / "copy.csv").read_bytes() == source.read_bytes()
    assert workspace.notes.size(stored) == workspace.notes.size(source) == workspace.notes.size(str(source)) == 4000


def test_an_upload_that_is_refused_by_the_call_is_not_made(
    workspace: Workspace, local: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "people.csv").write_text("a")
    with pytest.raises(Invalid, match="no argument"):
        workspace.notes.add("a", [tmp_path / "people.csv"], stras=3)
    with pytest.raises(Invalid, match="no argument"):
        workspace.call("notes", "add", {"title": "a", "files": [tmp_path / "people.csv"], "stras": 3})
    assert not local.store.uploads.root.exists()


def test_of_a_refused_file_nothing_stays(workspace: Workspace, local: Workspace, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("a")
    with pytest.raises(Invalid, match="stars"):
        workspace.notes.add("a", [tmp_path / "people.csv"], stars=9)
    assert list(local.store.objects.digests()) == []
    assert list(local.store.uploads.root.iterdir()) == []
    assert local.store.ledger.events() == []
    workspace.notes.add("a", [tmp_path / "people.csv"])
    assert len(list(local.store.objects.digests())) == 1
    assert list(local.store.uploads.root.iterdir()) == []


def test_objects_that_cannot_be_had(workspace: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "out"
    for digest, kind in (("0" * 64, NotFound), ("../x", Invalid), ("", Invalid)):
        with pytest.raises(kind):
            workspace.save(digest, target)
        with pytest.raises(kind):
            workspace.read(digest)
    assert not target.exists()


def test_places_that_cannot_be_written(workspace: Workspace, local: Workspace, tmp_path: Path) -> None:
    digest = local.store.objects.put(b"abc")
    with pytest.raises(Invalid, match="cannot be written: No such file or directory"):
        workspace.save(digest, tmp_path / "no/such/folder")
    with pytest.raises(Invalid, match="cannot be written: Is a directory"):
        workspace.save(digest, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


def test_changed_objects_are_not_saved(workspace: Workspace, local: Workspace, tmp_path: Path) -> None:
    digest = local.store.objects.put(b"abc")
    file = local.store.root / "objects" / digest[:2] / digest[2:]
    file.chmod(0o600)
    file.write_bytes(b"abd")
    with pytest.raises(Corrupt):
        workspace.save(digest, tmp_path / "out")
    with pytest.raises(Corrupt):
        workspace.read(digest)
    assert not (tmp_path / "out").exists()


def test_only_a_folder_has_a_store(workspace: Workspace, local: Workspace) -> None:
    if workspace is local:
        assert workspace.store.root.name == ".interlock"
    else:
        with pytest.raises(Invalid, match="on this machine"):
            _ = workspace.store


def test_services_that_are_not_installed_are_absent(local: Workspace) -> None:
    services = {**SERVICES, "gone": Service("no_such_room.service:Gone", "Not here.")}
    workspace = Workspace.over(local.store, services=services)
    assert workspace.catalog.names == ("notes",)
    with pytest.raises(AttributeError):
        _ = workspace.gone


def test_every_service_of_the_table_is_a_typed_property() -> None:
    assert {name for name in OWN if isinstance(getattr(Workspace, name, None), property)} == set(OWN)


def test_the_package_offers_its_names_lazily() -> None:
    code = "import sys, interlock; assert not [m for m in sys.modules if m.startswith('interlock.')]"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert interlock.Workspace is Workspace
    assert set(interlock.__all__) <= set(dir(interlock))
    with pytest.raises(AttributeError, match="no attribute 'Workspac'"):
        _ = interlock.Workspac


def test_a_library_of_an_extra_that_is_missing_is_a_missing_extra(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skops", None)  # what makes an import fail as if it were not installed
    with pytest.raises(MissingExtra, match=r"interlock\[train\]"):
        workspace.notes.need("skops")


def test_another_module_that_is_missing_stays_what_it_is(local: Workspace) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        local.notes.need("no_such_module")
