"""The probability of every class, one row of a table each: for who asks for it, beside the class that was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from interlock.serve.model import Scores
    from interlock.serve.revision import View
    from interlock.serve.turns import Answer

PROBABILITIES: Final = "probabilities"
"""What the table is called as an output."""


def classes_of(view: View) -> tuple[int | str, ...]:
    """Return the classes of a view's models, as the columns of the table have them; none where there is no table.

    They are in the order of the first route's model; what only others know comes behind. A regression has none, and
    where the target itself is called `probabilities`, that tensor is the target's.
    """
    if view.target == PROBABILITIES:
        return ()
    return tuple(dict.fromkeys(name for live in view.routes for name in live.model.bundle.classes))


def named(classes: tuple[int | str, ...]) -> str:
    """Return the names of classes as one text, a list of JSON: parameters of the protocol hold no lists."""
    return msgspec.json.encode(classes).decode()


def table_of(answer: Answer, classes: tuple[int | str, ...]) -> NDArray[np.float64]:
    """Return the probability of every class: (rows, classes), in the rows' order.

    Args:
        answer: what the engine said, of a classification.
        classes: what `classes_of` gave; a class that the model of a row does not know has probability 0 there.

    Cost: nothing where one model answered and has these classes; else one copy.
    """
    import numpy as np

    (part, *others), found = answer.parts, answer.found
    if not others and part.live.model.bundle.classes == classes:
        return _wide(found[0])
    table = np.zeros((len(answer.ids), len(classes)))
    for one, scores in zip(answer.parts, found, strict=True):
        places = [classes.index(name) for name in one.live.model.bundle.classes]
        rows = np.arange(len(answer.ids)) if one.rows is None else np.asarray(one.rows)
        table[rows[:, None], places] = _wide(scores)
    return table


def _wide(scores: Scores) -> NDArray[np.float64]:
    """Return a model's answers with a column for each class: of two, some engines give only the last."""
    import numpy as np

    table = np.asarray(scores.table, dtype=np.float64)
    return np.column_stack([1.0 - table, table]) if table.shape[1] == 1 else table
