"""Deployments of versions that came without a bundle: lone graphs, originals, what their trial proves and what not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lone import beside, graph, post

from interlock.core.bundles import Serving
from interlock.core.errors import GateClosed, Invalid
from interlock.deploy.service import Deployment, DeployService
from interlock.registry.service import ModelVersion, RegistryService
from interlock.store import Store

Make = Callable[..., ModelVersion]
AB = {"a": "float", "b": "float"}
ROWS = {"dataframe_records": [{"a": 1.0, "b": 2.0}]}


def columns(found: Deployment) -> list[str]:
    return [one.message for one in found.warnings if one.rule == "columns"]


def refusals(store: Store) -> list[str]:
    return [str((e.data or {})["reason"]) for e in store.ledger.events(kinds=("deployment.refused",))]


def test_a_lone_graph_is_deployed_and_the_ledger_says_what_nobody_could_prove(
    store: Store, deploy: DeployService, signed: Make
) -> None:
    version = signed({"model.onnx": graph(), **beside(AB)})
    found = deploy.deploy("shop", version.ref)
    told = "No golden requests came with it: it answers the 2 rows of the example beside it, but nobody can say"
    assert found.reason == f"{version.ref} takes all the traffic"
    (warning,) = (one for one in found.warnings if one.rule == "golden_none")
    assert told in warning.message
    assert deploy.revisions("shop")[-1].warnings == found.warnings == deploy.show("shop").warnings
    assert told in store.ledger.events(kinds=("deployment.changed",))[-1].data["reason"]
    answer = post(found.url, "/invocations", ROWS)["predictions"][0]
    kept = store.predictions.get(answer["prediction_id"])
    assert (kept.deployment, kept.model) == ("shop", version.ref)
    label = {"labels": [{"prediction_id": answer["prediction_id"], "label": 1}]}
    assert post(found.url, "/labels", label)
    assert RegistryService(store).version("kept@champion").version == 1


def test_what_nobody_signed_is_not_deployed(store: Store, deploy: DeployService, logged: Make) -> None:
    version = logged({"model.onnx": graph(), **beside(AB)})
    with pytest.raises(GateClosed, match="only an approved"):
        deploy.deploy("shop", version.ref)
    RegistryService(store).alias("kept", "champion", 1)
    with pytest.raises(GateClosed, match="only an approved"):
        deploy.deploy("shop", "kept@champion")
    assert deploy.deployments() == []


def test_canary_promotion_and_rollback_say_which_columns_callers_have_to_change(
    store: Store, deploy: DeployService, signed: Make
) -> None:
    first = signed({"model.onnx": graph(), **beside(AB)})
    second = signed({"model.onnx": graph(3), **beside({"a": "integer", "c": "float", "d": "double"})})
    third = signed({"model.onnx": graph(3), **beside({"a": "Int64", "c": "Float32", "d": "float"})})
    deploy.deploy("shop", first.ref)
    told = f"{second.ref} takes other columns than {first.ref}: c comes (float), d comes (double), b goes, "
    told += "a is integer, was float."
    assert columns(deploy.deploy("shop", second.ref, canary=0.5)) == [told]
    assert columns(deploy.configure("shop", Serving(stale_after_s=60))) == []  # it was told when it came
    promoted = deploy.promote("shop", "better")
    assert (promoted.reason, columns(promoted)) == ("promoted: better", [told])
    assert store.ledger.events(kinds=("deployment.changed",))[-1].data["reason"] == f"promoted: better. {told}"
    assert columns(deploy.deploy("shop", third.ref)) == []
    back = deploy.rollback("shop")
    assert (back.reason, columns(back)) == ("rolled back: by hand", [])
    assert "d goes" in columns(deploy.rollback("shop"))[0]
    assert post(deploy.show("shop").url, "/invocations", ROWS)["predictions"]


def test_an_original_answers_where_the_policy_says_so_and_nowhere_else(
    store: Store, deploy: DeployService, signed: Make, original: bytes
) -> None:
    version = signed({"model.skops": original, **beside(AB)})
    with pytest.raises(GateClosed, match="does not allow originals"):
        deploy.deploy("shop", version.ref)
    assert "does not allow originals" in refusals(store)[-1]
    assert deploy.deployments() == []
    found = deploy.deploy("shop", version.ref, serving=Serving(code_models=True))
    assert post(found.url, "/invocations", ROWS)["predictions"]
    with pytest.raises(GateClosed, match="does not allow originals"):
        deploy.configure("shop", Serving(durability="1s"))
    assert deploy.show("shop") == found
    assert post(found.url, "/invocations", ROWS)["predictions"]


def test_an_original_made_with_another_package_is_refused_with_both_versions(
    store: Store, deploy: DeployService, signed: Make, original: bytes
) -> None:
    first = signed({"model.onnx": graph(), **beside(AB)})
    found = deploy.deploy("shop", first.ref, serving=Serving(code_models=True))
    wrong = signed({"model.skops": original, **beside(AB)}, scikit_learn="0.99.1")
    import sklearn

    told = f"scikit-learn is {sklearn.__version__} here and was 0.99.1 where it was made; an original holds objects"
    with pytest.raises(GateClosed, match=told.replace(".", r"\.")) as caught:
        deploy.deploy("shop", wrong.ref)
    assert [(one.rule, one.column) for one in caught.value.findings] == [("package", "scikit-learn")]
    assert told in refusals(store)[-1]
    assert deploy.show("shop") == found
    assert post(found.url, "/invocations", ROWS)["predictions"]


def test_an_engine_of_another_version_is_told_and_in_nobodys_way(deploy: DeployService, signed: Make) -> None:
    version = signed({"model.onnx": graph(), **beside(AB, example=False)}, onnxruntime="1.2.3", numpy="")
    found = deploy.deploy("shop", version.ref)
    said = {(one.rule, one.column): one.message for one in found.warnings}
    assert "it answers a row of zeros" in said["golden_none", ""]
    told = "was 1.2.3 where it was made; its file runs no code, but without golden requests nobody can"
    assert told in said["package", "onnxruntime"]
    assert "Nothing records which numpy it was made with" in said["package", "numpy"]


def test_files_that_cannot_answer_are_refused_before_anything_changes(
    store: Store, deploy: DeployService, signed: Make
) -> None:
    with pytest.raises(GateClosed, match="No file of this version can answer"):
        deploy.deploy("shop", signed({"notes.txt": b"nothing"}).ref)
    damaged = signed({"model.onnx": b"\x08nothing", **beside(AB)})
    with pytest.raises(GateClosed):
        deploy.deploy("shop", damaged.ref)
    assert len(refusals(store)) == 2
    assert deploy.deployments() == []
    with pytest.raises(Invalid):
        deploy.deploy("no such/name", damaged.ref)


def test_a_first_deployment_answers_as_the_applied_project_says(
    store: Store, deploy: DeployService, signed: Make, original: bytes
) -> None:
    text = b'[deployment.shop]\nmodel = "kept@champion"\n[deployment.shop.serving]\ncode_models = true\n'
    values = {"digest": store.objects.put(text)}
    store.database.write(
        lambda tx: tx.run("INSERT INTO applied (name, digest, applied_at) VALUES ('project', :digest, 0)", values)
    )
    names = b'signature:\n  inputs: \'[{"name": "a"}, {"name": "b"}]\'\n'  # as MLflow's client says it
    found = deploy.deploy("shop", signed({"model.skops": original, "MLmodel": names}).ref)
    assert post(found.url, "/invocations", ROWS)["predictions"]
    assert found.serving == Serving(code_models=True)
    assert found.live
