"""The port of engines: arrays of prepared rows go in, a table of answers comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Feeds = Mapping[str, NDArray[np.generic]]
    Table = NDArray[np.floating[Any]]


class Runner(Protocol):
    """Something that calculates a model's answers.

    Attributes:
        name: what it is called: `linear`, `onnx`, `xgboost`, `lightgbm` or `worker`.
        threads: whether several threads may call it at once; one that says no has a lock of its own.
        inputs: name and ONNX type of each array that it takes, such as `("inputs", "tensor(float)")`.
    """

    name: str
    threads: bool
    inputs: Sequence[tuple[str, str]]

    def run(self, feeds: Feeds) -> Table:
        """Return the answers, (rows, answers): a value, the positive class's probability, or one a class.

        Args:
            feeds: the arrays by name, as `InputColumns.prepare` makes them.

        Raises:
            Unavailable: the engine itself is down; any other error may be the rows' fault.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds outside this process's memory."""
        ...
