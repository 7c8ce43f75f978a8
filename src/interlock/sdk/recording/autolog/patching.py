"""Puts our ears on libraries when they are imported: on classes that have `fit`, and on the boosters' `train`."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final

from interlock.sdk.recording.imports import when_imported

if TYPE_CHECKING:
    from collections.abc import Callable

_MARK: Final = "__interlock_watched__"


def watch() -> None:
    """Patch the libraries that are imported, and the others when they are."""
    for name, patch in PATCHES.items():
        when_imported(name, patch)


def watch_class(kind: type) -> None:
    """Let a class's own `fit` log itself."""
    fit = vars(kind).get("fit")
    if not inspect.isfunction(fit) or hasattr(fit, _MARK):
        return

    # The closure names nothing of this module: such classes travel to other processes by value.
    @functools.wraps(fit)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        from interlock.sdk.recording.autolog.fits import around_fit

        return around_fit(fit, self, args, kwargs)

    setattr(watched, _MARK, True)
    kind.fit = watched  # type: ignore[attr-defined]  # it has one


def _estimators(module: Any) -> None:
    """Watch every class that derives from scikit-learn's base, those to come too."""
    base = module.BaseEstimator
    if _MARK in vars(base):
        return
    setattr(base, _MARK, True)
    before = base.__init_subclass__  # bound to the base; its function is wanted with the new class

    def __init_subclass__(cls: type, /, **given: Any) -> None:  # noqa: N807 - the name that Python calls
        before.__func__(cls, **given)
        from interlock.sdk.recording.autolog.patching import watch_class

        watch_class(cls)

    base.__init_subclass__ = classmethod(__init_subclass__)
    waiting = [base]
    while waiting:
        kind = waiting.pop()
        watch_class(kind)
        waiting += kind.__subclasses__()


def _workers(module: Any) -> None:
    """Mark what scikit-learn runs in parallel: fits in there belong to a fit or a cross-validation."""
    wrapper = module._FuncWrapper  # noqa: SLF001 - there is no public way to know
    call = wrapper.__call__
    if hasattr(call, _MARK):
        return

    @functools.wraps(call)
    def inside(self: Any, *args: Any, **kwargs: Any) -> Any:
        from interlock.sdk.recording.autolog.fits import inner

        with inner():
            return call(self, *args, **kwargs)

    setattr(inside, _MARK, True)
    wrapper.__call__ = inside


def _xgboost(module: Any) -> None:
    _train(module, "training", "around_xgboost")


def _lightgbm(module: Any) -> None:
    _train(module, "engine", "around_lightgbm")


def _train(module: Any, home: str, around: str) -> None:
    """Watch a booster's own `train`; its scikit-learn classes bound theirs before, and are watched as estimators."""
    train = module.train
    if hasattr(train, _MARK):
        return

    @functools.wraps(train)
    def watched(*args: Any, **kwargs: Any) -> Any:
        from interlock.sdk.recording.autolog import boosters

        return getattr(boosters, around)(train, args, kwargs)

    setattr(watched, _MARK, True)
    module.train = watched
    vars(getattr(module, home))["train"] = watched


PATCHES: Final[dict[str, Callable[[Any], None]]] = {
    "sklearn.base": _estimators,
    "sklearn.utils.parallel": _workers,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}
"""What is patched, by the module that must have been loaded before."""
