"""What a file is, is told by its content: real files of each format, spoiled ones, and bytes made to deceive."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from interlock.core.errors import Invalid
from interlock.registry.flavors.skops_file import to_skops
from interlock.registry.formats import Verdict, look_into, onnx_graph, ubjson
from interlock.registry.formats.verdict import Broken
from interlock.store import Store

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FILES = Path(__file__).parent / "files"
DRAW = np.random.default_rng(3)
ROWS = DRAW.random((60, 3))
TRUTH = (ROWS[:, 0] > 0.5).astype(int)


def look(data: bytes, path: str = "model.bin") -> Verdict:
    return look_into(io.BytesIO(data), len(data), path)


class Evil:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("open('/tmp/interlock-was-here', 'w').close()",))


def safetensors(header: object, values: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def zipped(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return sink.getvalue()


def tarred(*members: tuple[str, bytes, str], mode: str = "w") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 2 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"hi") if info.size else None)
    return sink.getvalue()


@pytest.fixture(scope="module")
def onnx_bytes(bundle_folder: Path) -> bytes:
    return (bundle_folder / "model.onnx").read_bytes()


# ---------------------------------------------------------------- what can be loaded


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("xgboost.json", "xgboost", "XGBoost 3.2.0 (JSON): 3 trees, objective binary:logistic"),
        ("xgboost.ubj", "xgboost", "XGBoost 3.2.0 (UBJSON): 3 trees, objective binary:logistic"),
        ("dart.ubj", "xgboost", "2 trees of dart"),
        ("linear.json", "xgboost", "a linear model of 4 weights"),
        ("categories.json", "xgboost", "3 trees"),
        ("lightgbm.txt", "lightgbm", "LightGBM text v4: 3 trees, 1 classes, objective binary"),
        ("categories.txt", "lightgbm", "2 trees"),
    ],
)
def test_boosters_are_parsed_whole(name: str, kind: str, told: str) -> None:
    found = look((FILES / name).read_bytes(), "renamed.pkl")
    assert found.kind == kind, found
    assert told in found.reason


def test_onnx_is_checked_where_onnx_is_installed(onnx_bytes: bytes) -> None:
    found = look(onnx_bytes, "model.txt")
    assert found.kind == "onnx"
    assert "checked by onnx" in found.reason


def test_without_onnx_every_part_is_parsed_and_that_is_said(onnx_bytes: bytes, monkeypatch) -> None:
    monkeypatch.setattr(onnx_graph, "find_spec", lambda name: None)
    found = look(onnx_bytes)
    assert found.kind == "onnx"
    assert "operators were not checked (onnx is not installed)" in found.reason
    assert "nodes" in found.reason


def test_our_schema_knows_all_that_onnx_writes() -> None:
    """Every message and field of the installed onnx is in the table, so that no sound model is refused without it."""
    import onnx

    names = {"Model": onnx.ModelProto, "Graph": onnx.GraphProto, "Node": onnx.NodeProto, "Tensor": onnx.TensorProto}
    names |= {"Attribute": onnx.AttributeProto, "ValueInfo": onnx.ValueInfoProto, "Function": onnx.FunctionProto}
    names |= {"SparseTensor": onnx.SparseTensorProto, "Training": onnx.TrainingInfoProto, "Type": onnx.TypeProto}
    for name, message in names.items():
        fields = message.DESCRIPTOR.fields
        assert {field.number for field in fields} <= set(onnx_graph.SCHEMA[name]), name
        nested = {field.number for field in fields if field.message_type is not None}
        assert nested <= {number for number, inner in onnx_graph.SCHEMA[name].items() if inner}, name


def test_weights_in_other_files_are_not_followed(onnx_bytes: bytes, monkeypatch) -> None:
    import onnx

    model = onnx.load_model_from_string(onnx_bytes)
    tensor = model.graph.initializer.add()
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "w"))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    within = onnx.load_model_from_string(onnx_bytes)  # deep inside: in the body of a function
    attribute = within.functions.add(name="f", domain="ours").node.add(op_type="Constant").attribute.add(name="value")
    attribute.t.CopyFrom(tensor)
    attribute.t.data_location = onnx.TensorProto.DEFAULT
    for data, missing in [(one.SerializeToString(), gone) for gone in (False, True) for one in (model, within)]:
        if missing:
            monkeypatch.setattr(onnx_graph, "find_spec", lambda name: None)
        found = look(data)
        assert found.kind == "opaque"
        assert "not followed" in found.reason


def test_onnx_that_its_checker_refuses_is_opaque(onnx_bytes: bytes) -> None:
    import onnx

    model = onnx.load_model_from_string(onnx_bytes)
    model.graph.node[0].op_type = "NoSuchOperator"
    model.graph.node[0].domain = ""
    found = look(model.SerializeToString())
    assert found.kind == "opaque"
    assert "begins like ONNX, but onnx refuses it" in found.reason


@pytest.mark.parametrize("header", [{}, {"__metadata__": {"format": "pt"}}])
def test_safetensors_without_tensors(header: dict) -> None:
    assert look(safetensors(header)).kind == "safetensors"


def test_safetensors_are_read_by_their_header() -> None:
    header = {
        "b": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [8, 16]},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "none": {"dtype": "F64", "shape": [0, 7], "data_offsets": [16, 16]},
        "half": {"dtype": "F4", "shape": [4], "data_offsets": [16, 18]},
    }
    found = look(safetensors(header, bytes(18)))
    assert found == Verdict("safetensors", "safetensors: 4 tensors, 18 bytes of values")


@pytest.mark.parametrize(
    ("tensors", "values", "why"),
    [
        ([("F32", [2], [0, 8]), ("F32", [2], [4, 12])], 12, "begins at 4"),  # overlap
        ([("F32", [2], [0, 8]), ("F32", [1], [12, 16])], 16, "begins at 12"),  # hole
        ([("F32", [3], [0, 8])], 8, "of shape [3] has 8 bytes"),
        ([("F33", [2], [0, 8])], 8, "unknown type"),
        ([("F32", [2], [0, 8])], 9, "end at 8, the file at 9"),
        ([("F32", [2], [0, 8])], 4, "end at 8, the file at 4"),
        ([("F32", [-1, -2], [0, 8])], 8, "negative"),
        ([("F32", [1 << 62, 4], [0, 0])], 0, "has 0 bytes"),
        ([("F32", [2], [8, 0])], 8, "begins at 8"),
    ],
)
def test_safetensors_that_do_not_add_up_are_opaque(tensors: list, values: int, why: str) -> None:
    header = {f"t{n}": {"dtype": d, "shape": s, "data_offsets": o} for n, (d, s, o) in enumerate(tensors)}
    found = look(safetensors(header, bytes(values)))
    assert found.kind == "opaque"
    assert why in found.reason


def test_safetensors_with_more_than_they_may_say_are_opaque() -> None:
    odd = {"t": {"dtype": "F32", "shape": [], "data_offsets": [0, 4], "code": "import os"}}
    assert look(safetensors(odd, bytes(4))).kind == "opaque"
    assert look(safetensors({"__metadata__": {"a": 1}})).kind == "opaque"
    assert look(safetensors(b'{"a": ')).kind == "opaque"


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(3, random_state=0),
        HistGradientBoostingClassifier(max_iter=2),
        make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_skops_of_scikit_learn_is_on_our_list(estimator) -> None:
    fitted = estimator.fit(ROWS, TRUTH)
    for data in (to_skops(fitted), skops.io.dumps(fitted)):
        found = look(data, "model.zip")
        assert found.kind == "skops", found
        assert type(estimator).__name__ in found.reason


# ---------------------------------------------------------------- what cannot


class OwnEstimator(LogisticRegression):
    """An estimator of the user's own code."""


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (OwnEstimator().fit(ROWS, TRUTH), "OwnEstimator (ObjectNode)"),
        (FunctionTransformer(func=print), "builtins.print"),
        (FunctionTransformer(func=StandardScaler().fit), "MethodNode"),
        (FunctionTransformer(func=partial(np.add, 1)), "PartialNode"),
    ],
)
def test_skops_with_types_of_others_is_opaque_and_names_them(value: object, named: str) -> None:
    found = look(skops.io.dumps(value))
    assert found.kind == "opaque"
    assert "not on our list" in found.reason
    assert named in found.reason


def test_skops_whose_files_do_not_fit_is_opaque() -> None:
    data = to_skops(LogisticRegression().fit(ROWS, TRUTH))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert look(zipped(files)).kind == "skops"
    arrays = [name for name in files if name.endswith(".npy")]
    objects = io.BytesIO()
    np.save(objects, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for spoiled in (
        files | {"more.npy": b""},
        {name: data for name, data in files.items() if name != arrays[0]},
        files | {arrays[0]: b"no array"},
        files | {arrays[0]: objects.getvalue()},
        files | {"schema.json": b"{"},
        files | {"schema.json": b"[1]"},
    ):
        assert look(zipped(spoiled)).kind == "opaque"


PICKLES = {
    **{f"protocol {number}": pickle.dumps(Evil(), protocol=number) for number in range(6)},
    "estimator": pickle.dumps(LogisticRegression().fit(ROWS, TRUTH)),
    "zlib": zlib.compress(pickle.dumps(Evil())),
    "gzip": gzip.compress(pickle.dumps(Evil())),
    "bzip2": bz2.compress(pickle.dumps(Evil())),
    "xz": lzma.compress(pickle.dumps(Evil())),
    "long": pickle.dumps({"weights": bytes(200_000), "evil": Evil()}),
    "several": pickle.dumps(1) + pickle.dumps(Evil()),
    "torch": zipped(
        {"archive/data.pkl": pickle.dumps(Evil(), 2), "archive/data/0": bytes(16), "archive/version": b"3\n"}
    ),
    "npz": zipped({"a.npy": b"\x93NUMPY", "b": pickle.dumps(Evil())}),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_are_marked_and_nothing_of_them_runs(name: str) -> None:
    marker = Path("/tmp/interlock-was-here")
    marker.unlink(missing_ok=True)
    found = look(PICKLES[name], "model.onnx")
    assert found.kind == "opaque"
    assert found.reason.startswith("opaque (pickle)"), found
    assert not marker.exists()


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_joblib_is_marked(tmp_path: Path, compress: object) -> None:
    path = tmp_path / "model.safetensors"
    joblib.dump(LogisticRegression().fit(ROWS, TRUTH), path, compress=compress)
    found = look(path.read_bytes(), path.name)
    assert found.reason.startswith("opaque (pickle)"), found
    assert "sklearn.linear_model" in found.reason


def test_looking_imports_nothing_that_a_file_names(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(LogisticRegression()))
    code = (
        "import io, sys; from pathlib import Path; from interlock.registry.formats import look_into\n"
        "data = Path(sys.argv[1]).read_bytes(); print(look_into(io.BytesIO(data), len(data), 'm').reason)\n"
        "assert not {'sklearn', 'numpy', 'onnx', 'skops'} & set(sys.modules), 'imported'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.pkl")], capture_output=True, text=True, check=True
    )
    assert "LogisticRegression" in done.stdout


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x", "C:/x", "a//b"])
def test_archives_that_lead_out_are_refused_whole(name: str) -> None:
    archives = [zipped({"good": b"x", name: b"x"}), tarred(("good", tarfile.REGTYPE, ""), (name, tarfile.REGTYPE, ""))]
    archives += [tarred((name, tarfile.REGTYPE, ""), mode=f"w:{how}") for how in ("gz", "bz2", "xz")]
    archives += [zstd.compress(archives[1]), lzma.compress(archives[1], lzma.FORMAT_ALONE)]
    for data in archives:
        with pytest.raises(Invalid, match="leads out of its folder"):
            look(data)


def renamed(data: bytes, name: bytes, to: bytes, *, all_of_it: bool = False) -> bytes:
    assert data.count(name) == 2
    return data.replace(name, to) if all_of_it else data.replace(name, to, 1)


def of_1979(data: bytes) -> bytes:
    """Return a tar archive of one file without the magic that came later."""
    block = bytearray(data[:512])
    block[257:265], block[148:156] = bytes(8), b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data[512:]


def test_archives_that_hide_where_they_lead_are_refused_whole() -> None:
    """What only some programs read: old headers, parts after the end, names beside the name, archives behind others."""
    bad = tarred(("../x", tarfile.REGTYPE, ""))
    good, two = tarred(("good", tarfile.REGTYPE, "")), zipped({"aa/evil": b"x"})
    extra = zipfile.ZipInfo("ok")
    extra.extra = struct.pack("<HHBI", 0x7075, 5 + len(b"../evil"), 1, zlib.crc32(b"ok")) + b"../evil"
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(extra, b"x")
    hidden = {
        "old tar": of_1979(bad),
        "old tar, packed": gzip.compress(of_1979(bad)),
        "after the end": good + bad,
        "second part": gzip.compress(good) + gzip.compress(bad),
        "second part, bzip2": bz2.compress(good[:-1024]) + bz2.compress(bad),
        "own header": renamed(two, b"aa/evil", b"../evil"),
        "directory": renamed(two, b"aa/evil", b"../evil", all_of_it=True),
        "unicode": sink.getvalue(),
        "behind a script": b"#!/bin/sh\n" + zipped({"../x": b"x"}),
        "behind a model": (FILES / "lightgbm.txt").read_bytes() + zipped({"/x": b"x"}),
        "beside a bomb": zipped({"zeros": bytes(10), "../x": b"x"}),
    }
    for what, data in hidden.items():
        with pytest.raises(Invalid, match="leads out of its folder"):
            pytest.fail(f"{what}: {look(data)}")


def test_archives_too_large_to_be_looked_through_are_refused(monkeypatch) -> None:
    monkeypatch.setattr("interlock.registry.formats.archives._MEMBERS", 3)
    monkeypatch.setattr("interlock.registry.formats.archives._TAR_BYTES", 5)
    files = [(name, tarfile.REGTYPE, "") for name in "abcd"]
    assert "3 files" in look(tarred(*files[:3])).reason
    monkeypatch.setattr("interlock.registry.formats.archives._DIRECTORY", 150)
    assert "2 files" in look(zipped({"a": b"", "b": b""})).reason
    large = zipped(dict.fromkeys("abcd", b""))
    end = large.rindex(b"PK\x05\x06")
    size = struct.unpack_from("<I", large, end + 12)[0]
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 4, 4, size, 0)
    larger = large[: end + 12] + b"\xff" * 4 + large[end + 16 :]
    larger = larger[:end] + record + larger[end:]
    for data in (tarred(*files), tarred(*files[:3], mode="w:gz"), large, larger, b"#!" + large):
        with pytest.raises(Invalid, match="too large to be looked through"):
            look(data)


@pytest.mark.parametrize("magic", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"070701", b"LZIP"])
def test_archives_of_other_kinds_are_opaque_and_named(magic: bytes) -> None:
    found = look(magic + b"rest")
    assert (found.kind, "not looked into" in found.reason) == ("opaque", True)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_archives_with_links_are_refused_whole(kind: bytes) -> None:
    with pytest.raises(Invalid, match="link or a device"):
        look(tarred(("a", kind, "/etc/passwd")))
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(Invalid, match="link or a device"):
        look(sink.getvalue())


def test_sound_archives_are_opaque() -> None:
    assert look(zipped({"a/b.txt": b"hi"})).reason == "a zip archive of 1 files, none of which is a model by itself"
    assert look(tarred(("./a", tarfile.REGTYPE, ""), ("d/", tarfile.DIRTYPE, ""), mode="w:gz")).reason == (
        "a tar archive of 2 files"
    )


def test_a_bomb_is_not_unpacked() -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(100 << 20))
    found = look(sink.getvalue())
    assert found.kind == "opaque"
    assert "would grow" in found.reason


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "an empty file"),
        (b"flavors:\n  python_function:\n    loader_module: os\n", "no format that is known"),
        (b"numpy==2.4\n", "no format"),
        (b"{}", "no format"),
        (b"\x93NUMPY\x01\x00v\x00", "an array"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"PK\x03\x04garbage", "begins like a zip archive, but"),
    ],
)
def test_everything_else_is_opaque_and_says_so(data: bytes, told: str) -> None:
    found = look(data)
    assert found.kind == "opaque"
    assert told in found.reason


def spoiled(path: str, *steps: object, value: object) -> bytes:
    model = json.loads((FILES / path).read_text())
    place = model
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value
    return json.dumps(model, separators=(",", ":")).encode()


TREE = ("learner", "gradient_booster", "model", "trees", 0)


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        ((*TREE, "left_children"), [0, -1, -1]),  # a circle
        ((*TREE, "left_children"), [7, -1, -1]),
        ((*TREE, "left_children"), [2, -1, -1]),  # both lead to one
        ((*TREE, "left_children"), ["1", -1, -1]),
        ((*TREE, "left_children"), [1.5, -1, -1]),
        ((*TREE, "split_indices"), [3, 0, 0]),  # of three features
        ((*TREE, "split_conditions"), [1.0]),
        ((*TREE, "tree_param", "num_nodes"), "-3"),
        (("learner", "gradient_booster", "model", "gbtree_model_param", "num_trees"), "4"),
        (("learner", "gradient_booster", "name"), "other"),
        (("learner", "learner_model_param"), []),
        (("version",), "3.2.0"),
    ],
)
def test_xgboost_whose_trees_are_none_is_opaque(steps: tuple, value: object) -> None:
    found = look(spoiled("xgboost.json", *steps, value=value))
    assert found.kind == "opaque"
    assert found.reason.startswith("it begins like a model of XGBoost, but")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("left_child=1 -1 -2", "left_child=0 -1 -2"),
        ("left_child=1 -1 -2", "left_child=1 -1 -9"),
        ("split_feature=0 0 0", "split_feature=0 0 3"),
        ("num_leaves=4", "num_leaves=5"),
        ("end of trees", "end of story"),
        ("tree_sizes=559", "tree_sizes=558"),
        ("max_feature_idx=2", "max_feature_idx=1"),
        ("threshold=0.5", "threshold=x.5"),
        ("num_class=1\n", ""),
    ],
)
def test_lightgbm_whose_trees_are_none_is_opaque(old: str, new: str) -> None:
    text = (FILES / "lightgbm.txt").read_text()
    assert old in text
    found = look(text.replace(old, new, 1).encode())
    assert found.kind == "opaque"
    assert found.reason.startswith("it begins like a model of LightGBM, but")


SEEDS = [path.read_bytes() for path in sorted(FILES.iterdir())] + [
    to_skops(LogisticRegression().fit(ROWS, TRUTH)),
    safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    pickle.dumps(Evil()),
    tarred(("a", tarfile.REGTYPE, ""), mode="w:gz"),
    PICKLES["torch"],
]


@settings(max_examples=400)
@given(data=st.data())
def test_spoiled_files_get_a_verdict_or_are_refused(data: st.DataObject) -> None:
    """Whatever is changed, cut or put in: a verdict or `Invalid`, and nothing else."""
    found = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, max(len(found) - 1, 0)))
        match data.draw(st.sampled_from(["flip", "cut", "put", "tear"])):
            case "flip" if found:
                found[place] = data.draw(st.integers(0, 255))
            case "cut":
                del found[place : place + data.draw(st.integers(1, 50))]
            case "put":
                found[place:place] = data.draw(st.binary(max_size=20))
            case _:
                del found[place:]
    try:
        verdict = look(bytes(found))
    except Invalid:
        return
    assert verdict.reason


@settings(max_examples=100)
@given(data=st.binary(max_size=300))
def test_onnx_without_its_library_never_raises_anything_else(data: bytes) -> None:
    from interlock.registry.formats.protobuf import walk

    try:
        walk(memoryview(data), "Model", onnx_graph.SCHEMA, {})
    except Broken:
        return


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def to_ubjson(value: object) -> bytes:
    match value:
        case None:
            return b"Z"
        case bool():
            return b"T" if value else b"F"
        case int():
            return b"L" + struct.pack(">q", value)
        case float():
            return b"D" + struct.pack(">d", value)
        case str():
            return b"S" + lengthy(value)
        case list():
            return b"[" + b"".join(map(to_ubjson, value)) + b"]"
    return b"{" + b"".join(lengthy(name) + to_ubjson(item) for name, item in value.items()) + b"}"


def lengthy(text: str) -> bytes:
    return b"L" + struct.pack(">q", len(text.encode())) + text.encode()


@given(value=VALUES)
def test_ubjson_is_read_as_it_was_written(value: object) -> None:
    assert ubjson.decode(to_ubjson(value)) == value
    with pytest.raises(Broken, match="follow"):
        ubjson.decode(to_ubjson(value) + b"Z")


def test_counted_arrays_of_ubjson() -> None:
    assert ubjson.decode(b"[$l#L" + struct.pack(">q", 2) + struct.pack(">ii", 1, -2)) == [1, -2]
    assert ubjson.decode(b"[#U\x02U\x01T") == [1, True]
    assert ubjson.decode(b"[$S#U\x01U\x01a") == ["a"]
    assert ubjson.decode(b"{#U\x01U\x01aZ") == {"a": None}
    for bad in (b"[$l", b"[$lU\x01", b"[#i\xff", b"[$Z#L" + b"\x7f" + bytes(7), b"[" * 100, b"{U\x01aZU\x01aZ}"):
        with pytest.raises(Broken):
            ubjson.decode(bad)


# ---------------------------------------------------------------- versions


def test_a_version_says_what_its_files_are(store: Store, make, manifest, registry, onnx_bytes: bytes) -> None:
    evil = pickle.dumps(Evil())
    made = make(bundle=manifest(model__pkl=evil, MLmodel=b"flavors: {}"))
    assert (made.format, made.stage) == ("opaque", "registered")
    assert "model.pkl: opaque (pickle)" in made.format_reason
    with pytest.raises(Invalid, match="no bundle"):
        registry.bundle(made.ref)
    both = make(bundle=manifest(model__pkl=evil, model__onnx=onnx_bytes))
    assert both.format == "onnx"
    assert {file.path: file.format for file in registry.inspect(both.ref)} == {
        "model.onnx": "onnx",
        "model.pkl": "opaque",
    }
    with pytest.raises(Invalid, match="not pinned"):
        registry.inspect(make().ref)


def test_a_version_with_an_archive_that_leads_out_is_not_made(store: Store, books, manifest) -> None:
    with pytest.raises(Invalid, match=r"model\.zip: its member"):
        books.versions.draft("m", bundle=manifest(model__zip=zipped({"../x": b""})))
    assert store.ledger.size() == 0


@pytest.mark.parametrize("content", [b'{"files": "\xff"}', b'{"files": ' + b"[" * 5000, b"\xff", b"[]"])
def test_what_is_no_manifest_is_said_to_be_none(store: Store, books, content: bytes) -> None:
    with pytest.raises(Invalid, match="no bundle"):
        books.versions.draft("m", bundle=store.objects.put(content))


def test_a_bundle_is_one_when_its_graph_is(store: Store, manifest, make, register, bundle_folder: Path) -> None:
    assert register().format == "bundle"
    record = (bundle_folder / "bundle.json").read_bytes()
    lying = make(bundle=manifest(bundle__json=record, model__onnx=pickle.dumps(Evil())))
    assert lying.format == "opaque"
    assert "opaque (pickle)" in lying.format_reason
    assert make(bundle=manifest(bundle__json=record)).format == "opaque"
    assert make(bundle=manifest(bundle__json=b"{}")).format == "opaque"
