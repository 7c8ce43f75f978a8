"""Scores of a bundle's serving form, for those who judge models rather than serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid, MissingExtra
from interlock.registry.flavors.frames import tensors

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from interlock.core.bundles import Bundle

THRESHOLD: Final = 0.5  # a row gets the positive label when its score is above this; at a tie the other one, as served
_BLOCK_ROWS: Final = 50_000


def score_frame(bundle: Bundle, onnx_bytes: bytes, frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return the probability of the positive class for each row: float64 (rows,), each 0-1.

    Args:
        bundle: the bundle's record.
        onnx_bytes: the bytes of its part `serving`.
        frame: rows with at least the model's inputs, in any order; empty values become NaN or "".

    Raises:
        Invalid: the model does not tell two classes apart, the frame lacks inputs, or the graph cannot be loaded or run
            on these rows.
        MissingExtra: onnxruntime is not installed.

    Cost: one thread; some microseconds a row; memory for 50,000 rows at a time.
    """
    if bundle.task != "classification" or len(bundle.classes) != 2:
        kind = "a regression" if bundle.task == "regression" else f"a model of {len(bundle.classes)} classes"
        raise Invalid(
            f"This is {kind}; what is asked for knows models of two classes only.",
            about="bundle",
            hint="Gates judge the others too, and monitors measure them; estimates of quality do not.",
        )
    return score_table(bundle, onnx_bytes, frame)[:, -1]


def score_table(bundle: Bundle, onnx_bytes: bytes, frame: pl.DataFrame) -> NDArray[np.float64]:
    """Return a graph's answers for each row, float64 (rows, answers): probabilities, or the value of a regression.

    Args:
        bundle: the bundle's record.
        onnx_bytes: the bytes of its part `serving`.
        frame: rows with at least the model's inputs.

    Raises:
        Invalid, MissingExtra: see `score_frame`.
    """
    import numpy as np

    session = open_session(onnx_bytes)
    parts = []
    for start in range(0, frame.height, _BLOCK_ROWS):
        feed = tensors(frame.slice(start, _BLOCK_ROWS), bundle.inputs, bundle.layout)
        parts.append(_run(session, feed))
    return np.concatenate(parts) if parts else np.empty((0, 1))


def open_session(onnx_bytes: bytes) -> Any:
    """Return an onnxruntime session on a graph, with one thread.

    Raises:
        Invalid: the bytes are no graph that onnxruntime can run.
        MissingExtra: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingExtra.named("serve", "onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # border to onnxruntime, whose errors have no common class
        raise Invalid(f"onnxruntime cannot load the model: {error}", about="bundle") from error


def _run(session: Any, feed: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    import numpy as np

    names = [output.name for output in session.get_outputs()]
    name = "probabilities" if "probabilities" in names else names[-1]
    try:
        (probabilities,) = session.run([name], feed)
    except Exception as error:  # border to onnxruntime
        raise Invalid(f"The model cannot be run on these rows: {error}", about="bundle") from error
    table = np.asarray(probabilities, dtype=np.float64)
    return table if table.ndim == 2 else table.reshape(-1, 1)
