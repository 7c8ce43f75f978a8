"""References: one grammar that names everything, in Python, CLI, HTTP, `interlock.toml` and the address bar.

    reference = kind ":" name [ "@" selector ] [ "/" path ]
    selector  = version number | alias              (only for kinds that have versions)

`data:people@3`, `model:credit@champion`, `run:01JD.../plots/roc.svg`, `prediction:01JD...`, `event:1234`.
MLflow's `models:/credit/7`, `models:/credit@champion` and `runs:/ID/path` are read too.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

import msgspec

from interlock.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSIONED: Final = frozenset({"data", "model"})
PATHED: Final = frozenset({"run", "data", "model"})
KINDS: Final = frozenset(
    {
        "alarm",
        "data",
        "deployment",
        "event",
        "experiment",
        "job",
        "logged_model",
        "model",
        "monitor",
        "pipeline",
        "prediction",
        "run",
        "trace",
        "webhook",
        "workspace",
    }
)
LATEST: Final = "latest"
_NAME: Final = re.compile(r"[^\s/:@\x00-\x1f\x7f](?:[^/:@\x00-\x1f\x7f]{0,248}[^\s/:@\x00-\x1f\x7f])?\Z")
_ALIAS: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}\Z")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}\Z")


class Ref(msgspec.Struct, frozen=True):
    """The name of one thing.

    Attributes:
        kind: one of `KINDS`.
        name: the thing's name or id.
        version: its version number, or None.
        alias: its alias (`champion`, `latest`), or "".
        path: a relative path inside it, or "".
    """

    kind: str
    name: str
    version: int | None = None
    alias: str = ""
    path: str = ""

    def __post_init__(self) -> None:
        _check(self)

    def __str__(self) -> str:
        selector = f"@{self.version or self.alias}" if self.version or self.alias else ""
        return f"{self.kind}:{self.name}{selector}" + (f"/{self.path}" if self.path else "")

    @property
    def whole(self) -> Ref:
        """The same thing without version, alias and path."""
        return Ref(self.kind, self.name)


def is_name(text: str) -> bool:
    """Return whether a text may name something (1-250 characters, none of `/ : @` or control characters)."""
    return _NAME.match(text) is not None and text not in {".", ".."}


def check_name(text: str, about: str) -> str:
    """Return the name itself when it may be one.

    Raises:
        Invalid: it may not.
    """
    if not is_name(text):
        article = "an" if about[:1] in "aeiou" else "a"
        raise Invalid(
            f"{text!r} cannot be the name of {article} {about.replace('_', ' ')}.",
            about=about,
            hint="Use 1-250 characters without '/', ':', '@' and without spaces at the ends.",
        )
    return text


def parse(text: str, kind: str = "") -> Ref:
    """Return the reference that a text spells.

    Args:
        text: the reference. Where `kind` is given, the bare `name@selector` is enough.
        kind: the kind that is wanted here, or "" for any.

    Raises:
        Invalid: it is no reference, or one of another kind.
    """
    head, colon, rest = text.partition(":")
    if not colon:
        if not kind:
            raise _invalid(text, f"it names no kind; write for example 'model:{text}'")
        head, rest = kind, text
    ref = _mlflow(text) if rest.startswith("/") else _split(text, head, rest)
    if kind and ref.kind != kind:
        raise _invalid(text, f"a {kind} is wanted here, this is a {ref.kind}")
    return ref


def no_alias(ref: Ref, held: Iterable[str]) -> NotFound:
    """Return the error for an alias that a model, which is there, does not have.

    Args:
        ref: the version that was asked for.
        held: the aliases that the model has.
    """
    known = ", ".join(repr(alias) for alias in sorted(held)[:8])
    name = shlex.quote(ref.name)
    return NotFound(
        f"There is no model version {str(ref)!r}.",
        about="model_version",
        hint=f"Model {ref.name!r} has {f'the aliases {known}' if known else 'no alias as yet'}. Set it with "
        f"`interlock registry alias {name} {ref.alias} VERSION`; `interlock registry versions {name}` lists versions.",
        name=str(ref),
    )


def _split(text: str, kind: str, rest: str) -> Ref:
    if kind not in KINDS:
        raise _invalid(text, f"kinds are {', '.join(sorted(KINDS))}")
    body, slash, path = rest.partition("/")
    if slash and not path:
        raise _invalid(text, "the path after '/' is empty")
    name, at, selector = body.partition("@")
    if at and not selector:
        raise _invalid(text, "the version after '@' is empty")
    version, alias = _selector(selector)
    try:
        return Ref(kind, name, version, alias, path)
    except Invalid as error:
        raise _invalid(text, error.message) from None


def _selector(selector: str) -> tuple[int | None, str]:
    return (int(selector), "") if _VERSION.match(selector) else (None, selector)


def _mlflow(text: str) -> Ref:
    scheme, _, rest = text.partition(":/")
    parts = rest.lstrip("/").split("/", 1)
    tail = parts[1] if len(parts) > 1 else ""
    try:
        if scheme == "runs":
            return Ref("run", parts[0], path=tail)
        if scheme == "models":
            name, _, alias = parts[0].partition("@")
            version, other = _selector(tail)
            return Ref("model", name, version, alias or other)
    except Invalid as error:
        raise _invalid(text, error.message) from None
    raise _invalid(text, "only models:/ and runs:/ are read in this form")


def _check(ref: Ref) -> None:
    problem = ""
    if ref.kind not in KINDS:
        problem = f"{ref.kind!r} is no kind of thing"
    elif not is_name(ref.name):
        problem = f"{ref.name!r} cannot be a name"
    elif (ref.version is not None or ref.alias) and ref.kind not in VERSIONED:
        problem = f"a {ref.kind} has no versions"
    elif ref.version is not None and (ref.version < 1 or ref.alias):
        problem = "a version is a number from 1, without an alias"
    elif ref.alias and not _ALIAS.match(ref.alias):
        problem = f"{ref.alias!r} is neither a version nor an alias"
    elif ref.path and (ref.kind not in PATHED or not is_safe_path(ref.path)):
        problem = f"{ref.path!r} is no path inside a {ref.kind}"
    if problem:
        raise Invalid(problem, about="reference")


def is_safe_path(path: str) -> bool:
    """Return whether a text is a relative path of plain parts: no `..`, no empty part, no control characters."""
    return all(part not in {"", ".", ".."} and not re.search(r"[\x00-\x1f\x7f\\]", part) for part in path.split("/"))


def _invalid(text: str, why: str) -> Invalid:
    return Invalid(
        f"{text!r} is not a reference here: {why}.",
        about="reference",
        hint="References look like data:people@3, model:credit@champion, run:ID/path, prediction:ID.",
    )
