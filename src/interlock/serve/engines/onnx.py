"""The engine `onnx`: a graph on ONNX Runtime, one thread, on the processor. No code of the model's runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, cast

from interlock.core.errors import Corrupt, MissingExtra
from interlock.serve.engines.wire import Unreadable, leads_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from interlock.serve.engines.port import Feeds, Table

    Run = Callable[[list[str], Feeds, None], list[Any]]

_NUMBERS: Final = frozenset({"tensor(float)", "tensor(double)"})


class Node(Protocol):
    """An input or output of a graph."""

    name: str
    type: str
    shape: Sequence[int | str | None]


class Session(Protocol):
    """What we use of an ONNX Runtime session. `run` may be called from several threads."""

    def run(self, outputs: list[str], feeds: Feeds) -> list[NDArray[np.float32]]:
        """Return the outputs that were asked for."""
        ...

    def get_inputs(self) -> Sequence[Node]:
        """Return the graph's inputs."""
        ...

    def get_outputs(self) -> Sequence[Node]:
        """Return the graph's outputs."""
        ...


class OnnxRunner:
    """Answers by a graph.

    Args:
        session: the graph, opened.
        output: the output that holds the answers, (rows, answers) or (rows,).
    """

    name = "onnx"
    threads = True

    def __init__(self, session: Session, output: str) -> None:
        self.session = session
        self.output = output
        self.inputs: Sequence[tuple[str, str]] = [(node.name, node.type) for node in session.get_inputs()]
        self._outputs = [output]
        # The runtime's own: the session around it looks at each input again, half as long as a small graph takes.
        self._run = cast("Run", getattr(session, "_sess", session).run)
        self._flat = [node.name for node in session.get_inputs() if len(node.shape) == 1]

    def run(self, feeds: Feeds) -> Table:
        """Return the graph's answers; see `Runner.run`.

        Cost: 5-10 us for one row of a small graph.
        """
        if self._flat:
            feeds = {name: array.reshape(-1) if name in self._flat else array for name, array in feeds.items()}
        table: Table = self._run(self._outputs, feeds, None)[0]
        return table if table.ndim == 2 else table.reshape(-1, 1)

    def close(self) -> None:
        """Do nothing: the graph is memory of this process."""


def open_session(graph: bytes) -> Session:
    """Return an ONNX Runtime session over a graph's bytes.

    Raises:
        MissingExtra: onnxruntime is not installed.
        Corrupt: the bytes are no graph that it runs, or keep their weights in other files.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra.named("serve", "onnxruntime") from None
    try:
        elsewhere = leads_out(graph)
    except Unreadable as error:
        raise Corrupt(f"The serving graph does not load: {error}.", about="bundle") from None
    if elsewhere:
        raise Corrupt(
            "The serving graph keeps its weights in other files, which are not followed.",
            about="bundle",
            hint="Save it as one file: onnx.save_model(model, path, save_as_external_data=False).",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session: Session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises its own kinds  # noqa: BLE001
        raise Corrupt(f"The serving graph does not load: {type(error).__name__}.", about="bundle") from None
    return session


def answers_of(session: Session, task: Literal["classification", "regression"], classes: int) -> str:
    """Return the output that holds a graph's answers.

    Args:
        session: the graph.
        task: what it does.
        classes: how many classes it tells apart.

    Raises:
        Corrupt: it has none of that kind.
    """
    for node in session.get_outputs():
        if node.type not in _NUMBERS:
            continue
        if task == "regression" and (len(node.shape) == 1 or (len(node.shape) == 2 and node.shape[1] in {1, None})):
            return node.name
        if task == "classification" and len(node.shape) == 2:
            width = node.shape[1]
            if width == classes or (width == 1 and classes == 2) or not isinstance(width, int):
                return node.name
    if task == "regression":
        raise Corrupt("The graph has no output of values, one a row.", about="bundle")
    raise Corrupt(
        "The graph has no output of probabilities (rows by classes).",
        about="bundle",
        hint="Convert the model with the option zipmap off.",
    )
