"""Artifacts through the proxy: names, sizes, folders, headers, ranges, what tries to get out, deletes."""

from __future__ import annotations

import hashlib
import os
import re
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import mlflow
import pytest
from errors import raises
from mlflow.artifacts import download_artifacts
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from wire import ARTIFACTS

ODD = [
    "two words.txt",
    "été.txt",
    "中文/文件.txt",
    "a+b.txt",
    "a=b&c.txt",
    "it's.txt",
    "semi;colon.txt",
    "dots..txt",
    "~t",
    "a,b@!$()",
]
WORSE = pytest.mark.ours_only("MLflow refuses it, or unquotes it twice")
ODDER = ["100%.txt", "q?x.txt", pytest.param("a#b.txt", marks=WORSE), pytest.param("%41.txt", marks=WORSE)]


def place(client, run: str) -> str:
    """Return the address of a run's artifacts on the wire."""
    return ARTIFACTS + "/" + client.get_run(run).info.artifact_uri.removeprefix("mlflow-artifacts:/")


@pytest.mark.route("PUT mlflow-artifacts/artifacts/*", "GET mlflow-artifacts/artifacts/*")
@pytest.mark.parametrize("name", ODD)
def test_odd_names_go_up_and_come_down(client, run, tmp_path, name) -> None:
    _there_and_back(client, run, tmp_path, name)


@pytest.mark.route("PUT mlflow-artifacts/artifacts/*", "GET mlflow-artifacts/artifacts/*")
@pytest.mark.parametrize("name", ODDER)
def test_names_with_marks_of_addresses(wire, client, run, name) -> None:
    """MLflow's client does not quote all of these; what is quoted must arrive as it was meant."""
    url = f"{place(client, run)}/{quote(name)}"
    assert wire.call("PUT", url, name.encode()).status == 200
    assert wire.call("GET", url).text == name
    files = wire.get(ARTIFACTS, {"path": place(client, run).removeprefix(ARTIFACTS + "/")})["files"]
    assert [entry["path"] for entry in files] == [name]


def _there_and_back(client, run: str, folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name, "utf-8")
    inside = os.path.dirname(name) or None  # noqa: PTH120
    client.log_artifact(run, str(path), inside)
    client.log_artifact(run, str(path), f"deep/er/{inside or ''}".rstrip("/"))
    assert [entry.path for entry in client.list_artifacts(run, inside)] == [name, *([] if inside else ["deep"])][
        :: 1 if inside or name < "deep" else -1
    ]
    for where in (name, f"deep/er/{name}"):
        found = Path(client.download_artifacts(run, where, str(folder / "down")))
        assert found.read_text("utf-8") == name


@pytest.mark.route("GET mlflow-artifacts/artifacts")
def test_a_listing_is_sorted_and_says_what_is_what(client, wire, run) -> None:
    for name in ("b.txt", "a/1.txt", "a/2.txt", "a/sub/3.txt", "c"):
        client.log_text(run, "x" * len(name), name)
    found = [(entry.path, entry.is_dir, entry.file_size) for entry in client.list_artifacts(run)]
    assert found == [("a", True, None), ("b.txt", False, 5), ("c", False, 1)]
    inner = [(entry.path, entry.is_dir, entry.file_size) for entry in client.list_artifacts(run, "a")]
    assert inner == [("a/1.txt", False, 7), ("a/2.txt", False, 7), ("a/sub", True, None)]
    assert client.list_artifacts(run, "b.txt") == []
    assert client.list_artifacts(run, "nothing") == []
    path = place(client, run).removeprefix(ARTIFACTS + "/")
    files = wire.get(ARTIFACTS, {"path": f"{path}/a"})["files"]
    assert [entry["path"] for entry in files] == ["1.txt", "2.txt", "sub"], "relative to what was asked"
    assert [entry.get("file_size") for entry in files][:2] == [7, 7], "as numbers"


@pytest.mark.route("GET artifacts/list")
@pytest.mark.parametrize("prefix", ["/api", "/ajax-api"])
def test_the_runs_own_listing(client, wire, run, prefix) -> None:
    client.log_text(run, "x", "folder/a.txt")
    url = f"{prefix}/2.0/mlflow/artifacts/list"
    whole = wire.get(url, {"run_id": run})
    assert whole["root_uri"] == client.get_run(run).info.artifact_uri
    assert [(entry["path"], entry["is_dir"]) for entry in whole["files"]] == [("folder", True)]
    (inner,) = wire.get(url, {"run_id": run, "path": "folder"})["files"]
    assert (inner["path"], inner["is_dir"], int(inner["file_size"])) == ("folder/a.txt", False, 1)
    wire.refused("GET", url, {"run_id": run, "path": "../.."})
    wire.refused("GET", url, {"run_id": "f" * 32}, status=404, code="RESOURCE_DOES_NOT_EXIST")


@pytest.mark.route("PUT mlflow-artifacts/artifacts/*", "GET mlflow-artifacts/artifacts/*")
def test_an_empty_file(client, run, tmp_path) -> None:
    client.log_text(run, "", "empty.txt")
    assert [(entry.path, entry.file_size or 0) for entry in client.list_artifacts(run)] == [("empty.txt", 0)]
    assert Path(client.download_artifacts(run, "empty.txt", str(tmp_path))).read_bytes() == b""


@pytest.mark.route("PUT mlflow-artifacts/artifacts/*", "GET mlflow-artifacts/artifacts/*")
def test_twenty_megabytes(client, run, tmp_path) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(20 << 20))
    client.log_artifact(run, str(path))
    found = Path(client.download_artifacts(run, "big.bin", str(tmp_path / "down")))
    assert hashlib.sha256(found.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.route("POST mlflow-artifacts/mpu/create", "POST mpu/complete", "GET mlflow-artifacts/presigned/*")
@pytest.mark.ours_only("MLflow does this with cloud stores only")
def test_a_large_file_goes_in_parts(client, run, tmp_path, monkeypatch) -> None:
    size, part = 7 << 20, 2 << 20
    for way in ("UPLOAD", "DOWNLOAD"):
        monkeypatch.setenv(f"MLFLOW_ENABLE_PROXY_MULTIPART_{way}", "true")
        monkeypatch.setenv(f"MLFLOW_MULTIPART_{way}_MINIMUM_FILE_SIZE", str(part))
        monkeypatch.setenv(f"MLFLOW_MULTIPART_{way}_CHUNK_SIZE", str(part))
    path = tmp_path / "big one.bin"
    path.write_bytes(os.urandom(size))
    client.log_artifact(run, str(path), "deep")
    assert [entry.file_size for entry in client.list_artifacts(run, "deep")] == [size]
    found = Path(client.download_artifacts(run, "deep/big one.bin", str(tmp_path / "down")))
    assert hashlib.sha256(found.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.route("GET /api/3.0/mlflow/server-info", "POST mlflow-artifacts/mpu/create")
def test_parts_by_the_servers_own_word(client, run, tmp_path, monkeypatch) -> None:
    """Where server-info says nothing of parts, whole files go; where it does, parts do."""
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "100000")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", "100000")
    path = tmp_path / "f.bin"
    path.write_bytes(os.urandom(250_000))
    client.log_artifact(run, str(path))
    assert Path(client.download_artifacts(run, "f.bin", str(tmp_path / "down"))).read_bytes() == path.read_bytes()


@pytest.mark.route("PUT mlflow-artifacts/artifacts/*")
def test_a_file_is_replaced(client, run) -> None:
    client.log_text(run, "first, longer", "a.txt")
    client.log_text(run, "second", "a.txt")
    assert mlflow.artifacts.load_text(f"runs:/{run}/a.txt") == "second"
    assert [entry.file_size for entry in client.list_artifacts(run)] == [6]


@pytest.mark.route("PUT mlflow-artifacts/artifacts/*")
def test_a_file_is_sent_in_chunks(client, wire, run) -> None:
    """Without a length, as streams are sent."""
    url = f"{place(client, run)}/stream.bin"
    answer = wire.call("PUT", url, data=(b"%d" % at * 1000 for at in range(10)))
    assert answer.status == 200
    assert len(wire.call("GET", url).text) == 10_000


@pytest.mark.route("GET mlflow-artifacts/artifacts/*")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.json", "text/plain"),
        ("a.txt", "text/plain"),
        ("MLmodel", "text/plain"),
        ("requirements.txt", "text/plain"),
        ("a.png", "image/png"),
        ("a.unknown", "application/octet-stream"),
    ],
)
def test_the_headers_of_a_download(client, wire, run, name, kind) -> None:
    client.log_text(run, "<script>1</script>", f"d/{name}")
    headers = wire.call("GET", f"{place(client, run)}/d/{name}").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Type"].partition(";")[0] == kind
    assert re.match(r"attachment", headers["Content-Disposition"])
    assert name in headers["Content-Disposition"]


@pytest.mark.route("GET mlflow-artifacts/artifacts/*")
@pytest.mark.ours_only("MLflow sends the whole file")
def test_ranges(client, wire, run) -> None:
    client.log_text(run, "0123456789", "a.txt")
    url = f"{place(client, run)}/a.txt"
    whole = wire.call("GET", url)
    assert (whole.headers["Accept-Ranges"], whole.headers["Content-Length"]) == ("bytes", "10")
    for asked, given, where in (
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=5-100", "56789", "bytes 5-9/10"),
    ):
        part = wire.call("GET", url, headers={"Range": asked})
        assert (part.status, part.text, part.headers["Content-Range"]) == (206, given, where)
    beyond = wire.call("GET", url, headers={"Range": "bytes=10-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */10")
    assert wire.call("GET", url, headers={"Range": "lines=1-2"}).status == 200


OUTSIDE = [
    "../../../../../../../../etc/passwd",
    "..%2F..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "a/..%2F..%2F..%2Fb",
    "a/../../b",
    "..",
]
STRANGE = [
    "..%5C..%5C..%5Cetc%5Cpasswd",
    "%2Fetc%2Fpasswd",
    "..%252F..%252Fetc%252Fpasswd",
    "C:%5Cwindows",
    "file:%2F%2F%2Fetc%2Fpasswd",
    "a%00b",
    "n" * 300,
    "a/" * 200 + "a",
]


def unchanged(server, method: str, path: str) -> int:
    """Return the status of a request whose path no client library has tidied; its answer gives nothing away."""
    host, port = server.address.removeprefix("http://").split(":")
    plain = HTTPConnection(host, int(port), timeout=30)
    plain.request(method, path, body=b"x" if method == "PUT" else None)
    answer = plain.getresponse()
    assert b"root:" not in answer.read()
    plain.close()
    return answer.status


@pytest.mark.route("GET mlflow-artifacts/artifacts/*", "PUT mlflow-artifacts/artifacts/*", "DELETE mlflow-artifacts/*")
@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_gets_out_of_a_runs_folder(server, client, run, path) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert unchanged(server, method, f"{place(client, run)}/{path}") in {400, 403, 404}, method


@pytest.mark.route("GET mlflow-artifacts/artifacts/*", "PUT mlflow-artifacts/artifacts/*", "DELETE mlflow-artifacts/*")
@pytest.mark.ours_only("MLflow answers 500 to some")
@pytest.mark.parametrize("path", STRANGE)
def test_strange_names_are_refused_or_only_names(server, client, run, path) -> None:
    for method in ("PUT", "GET", "DELETE", "GET"):
        assert unchanged(server, method, f"{place(client, run)}/{path}") in {200, 204, 400, 404}, method


@pytest.mark.route("GET mlflow-artifacts/artifacts", "GET artifacts/list")
@pytest.mark.parametrize("path", ["..", "../..", "/etc", "a/../../..", "%2e%2e/x", "..\\..", "file:///etc"])
def test_nothing_outside_is_listed(wire, path) -> None:
    answer = wire.call("GET", ARTIFACTS, {"path": path})
    assert answer.status in {400, 404} or answer.json.get("files", []) == []


@pytest.mark.route("GET mlflow-artifacts/artifacts/*")
def test_a_missing_file_is_404(wire, client, run) -> None:
    client.log_text(run, "x", "d/a.txt")
    for path in ("nothing.txt", "d", "d/a.txt/b"):
        assert wire.call("GET", f"{place(client, run)}/{path}").status in {
            404,
            400,
            500 if path != "nothing.txt" else 404,
        }
    with raises("INTERNAL_ERROR", "RESOURCE_DOES_NOT_EXIST", "nothing.txt"):
        client.download_artifacts(run, "nothing.txt")


@pytest.mark.route("GET mlflow-artifacts/artifacts/*")
@pytest.mark.ours_only("MLflow answers 500 for a folder, and HTML")
def test_what_is_no_file_is_404_in_json(wire, client, run) -> None:
    client.log_text(run, "x", "d/a.txt")
    for path in ("nothing.txt", "d", "d/a.txt/b"):
        wire.refused("GET", f"{place(client, run)}/{path}", status=404, code="RESOURCE_DOES_NOT_EXIST")


@pytest.mark.route("DELETE mlflow-artifacts/artifacts/*")
def test_files_and_folders_are_deleted(client, run) -> None:
    for name in ("a.txt", "d/b.txt", "d/c.txt", "e.txt"):
        client.log_text(run, "x", name)
    artifacts = get_artifact_repository(client.get_run(run).info.artifact_uri)
    artifacts.delete_artifacts("a.txt")
    assert [entry.path for entry in client.list_artifacts(run)] == ["d", "e.txt"]
    artifacts.delete_artifacts("d")
    assert [entry.path for entry in client.list_artifacts(run)] == ["e.txt"]
    artifacts.delete_artifacts()
    assert client.list_artifacts(run) == []


@pytest.mark.route("GET mlflow-artifacts/artifacts/*")
def test_a_folder_comes_down_whole(client, run, tmp_path) -> None:
    names = ["f/a.txt", "f/g/b.txt", "f/g/h/c.txt", "other.txt"]
    for name in names:
        client.log_text(run, name, name)
    for uri in (f"runs:/{run}/f", f"{client.get_run(run).info.artifact_uri}/f"):
        found = Path(download_artifacts(artifact_uri=uri, dst_path=str(tmp_path / uri[:4])))
        assert sorted(p.relative_to(found).as_posix() for p in found.rglob("*.txt")) == [
            "a.txt",
            "g/b.txt",
            "g/h/c.txt",
        ]
    whole = Path(download_artifacts(run_id=run, dst_path=str(tmp_path / "whole")))
    assert sorted(p.relative_to(whole).as_posix() for p in whole.rglob("*.txt")) == sorted(names)


@pytest.mark.route("GET /get-artifact", "POST /ajax-api/2.0/mlflow/upload-artifact")
def test_the_browsers_ways(client, wire, run) -> None:
    client.log_text(run, "hello", "d/a.txt")
    assert wire.call("GET", "/get-artifact", {"run_uuid": run, "path": "d/a.txt"}).text == "hello"
    assert wire.call("GET", "/get-artifact", {"run_uuid": run, "path": "../../x"}).status == 400
    answer = wire.call(
        "POST", "/ajax-api/2.0/mlflow/upload-artifact", params={"run_uuid": run, "path": "up.txt"}, data=b"up"
    )
    assert answer.status == 200
    assert mlflow.artifacts.load_text(f"runs:/{run}/up.txt") == "up"


@pytest.mark.route("GET runs/get")
def test_artifacts_of_nobody(client) -> None:
    with raises("RESOURCE_DOES_NOT_EXIST"):
        client.list_artifacts("f" * 32)
