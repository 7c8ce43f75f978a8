"""A fitted scikit-learn classifier as an ONNX graph: outputs `label` (rows) and `probabilities` (rows, 2)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid
from interlock.registry.flavors.boosting import converters, refuse_categories_within
from interlock.registry.flavors.frames import MATRIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.core.bundles import Column

# Old enough for small runtimes on devices, new enough for all that scikit-learn's converters emit.
OPSETS: Final = {"": 18, "ai.onnx.ml": 3}


def to_onnx(estimator: object, columns: Sequence[Column], layout: str) -> bytes:
    """Return the bytes of the ONNX graph of an estimator; equal estimators have equal bytes.

    Args:
        estimator: a fitted scikit-learn classifier or pipeline.
        columns: its inputs, in its order.
        layout: `matrix` or `columns`, see `frames.tensors`.

    Raises:
        Invalid: a part of it has no ONNX form.
    """
    refuse_categories_within(estimator)
    if layout == "columns":
        return _serialize(_convert(estimator, _one_each(columns)))
    try:
        return _serialize(_convert(estimator, [(MATRIX, _float(len(columns)))]))
    except Invalid:
        if getattr(estimator, "feature_names_in_", None) is None:
            raise
    # A ColumnTransformer that picks columns by name wants them one by one: the matrix is split in front of it.
    return _serialize(_split_matrix(_convert(estimator, _one_each(columns)), columns))


def _one_each(columns: Sequence[Column]) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import StringTensorType

    return [(c.name, StringTensorType([None, 1]) if c.type == "string" else _float(1)) for c in columns]


def _float(width: int) -> Any:
    from skl2onnx.common.data_types import FloatTensorType

    return FloatTensorType([None, width])


def _convert(estimator: object, inputs: list[tuple[str, Any]]) -> Any:
    from skl2onnx import convert_sklearn

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its advice is for people who call it themselves
            return convert_sklearn(
                estimator,
                name="model",
                initial_types=inputs,
                options={"zipmap": False} if hasattr(estimator, "classes_") else None,
                target_opset=OPSETS,
                custom_conversion_functions=converters(),
            )
    except Invalid:
        raise
    except Exception as error:  # border to skl2onnx, which raises a dozen kinds of errors
        raise Invalid(
            f"The estimator has no ONNX form: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
            about="model",
            hint="Build it from scikit-learn's own transformers and classifiers; put preparation that is your own code "
            "into a step before the model.",
        ) from error


def _split_matrix(model: Any, columns: Sequence[Column]) -> Any:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    for position, column in enumerate(columns):
        index = f"{MATRIX}.{position}"
        graph.initializer.append(numpy_helper.from_array(np.array([position]), index))
        # Gather rather than Split: it is the same in every opset.
        graph.node.insert(position, helper.make_node("Gather", [MATRIX, index], [column.name], index, axis=1))
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(MATRIX, TensorProto.FLOAT, [None, len(columns)]))
    return model


def _serialize(model: Any) -> bytes:
    imports = sorted(model.opset_import, key=lambda found: found.domain)  # the converter keeps them in a set
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return bytes(model.SerializeToString(deterministic=True))
