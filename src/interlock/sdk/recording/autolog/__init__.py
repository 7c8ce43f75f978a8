"""Fits that log themselves: scikit-learn and what builds on it, XGBoost and LightGBM, in scripts that do not know us.

Libraries are patched when the script imports them; none is imported here.
"""

from __future__ import annotations

from interlock.sdk.recording.autolog.patching import watch


def autolog() -> None:
    """Log every fit of scikit-learn, XGBoost and LightGBM to the run that goes on.

    Of each outermost fit the run gets params with their defaults, scores on the training rows, learning curves, the
    signature, an example and the model; what a pipeline, a search or a cross-validation fits inside is counted. Outside
    of a run nothing is logged. A failure of ours is one line on stderr, never an error of the script.
    """
    watch()


__all__ = ["autolog"]
