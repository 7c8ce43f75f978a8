"""The errors of Interlock, grouped by what the caller can do next.

    Error
    ├── NotFound      name something that exists (the hint lists near names)
    ├── Conflict      look at the present state, then decide again
    ├── Invalid       mend the input; `findings` says where
    ├── Denied        ask somebody who may
    ├── GateClosed    mend the model or get a waiver; `findings` says which gates
    ├── MissingExtra  install what the hint says
    ├── Unavailable   try again later (transient)
    │   └── StorageFull   make room on the disk, then try again
    └── Corrupt       stop: stored bytes are not what was written

Every error has a stable `code` (`model_version.not_found`), facts for machines, and a hint computed from
them. `to_problem` and `from_problem` are its wire form (RFC 9457), so local and remote callers see the same class.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


EXTRAS: Final[Mapping[str, str]] = {
    "polars": "data",
    "numpy": "data",
    "scipy": "data",
    "sklearn": "train",
    "skl2onnx": "train",
    "skops": "train",
    "onnx": "train",
    "onnxruntime": "serve",
    "prometheus_client": "serve",
    "resvg_py": "pictures",
    "rich": "terminal",
    "duckdb": "sql",
    "pyarrow": "sql",
    "cryptography": "signing",
    "grpc": "grpc",
    "opentelemetry": "telemetry",
}
"""The extra that brings each heavy library."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong, and where: the unit in which refusals are explained.

    Attributes:
        rule: the stable name of the rule that was broken, such as `range` or `missing_column`.
        message: a sentence for people.
        column: the column it is about, or "".
        rows: the first row numbers it is about (0-based, header not counted).
        count: how many rows it is about in all.
    """

    rule: str
    message: str
    column: str = ""
    rows: tuple[int, ...] = ()
    count: int = 0


class Error(Exception):
    """The root of everything that Interlock raises on purpose.

    Args:
        message: one sentence that says what was wrong with the value given.
        about: the kind of thing it is about (`model_version`); first half of `code`.
        hint: what to do next.
        findings: the single faults, where there are several.
        facts: values for machines; JSON-serialisable.
    """

    suffix: ClassVar[str] = "error"
    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        about: str = "request",
        hint: str = "",
        findings: Sequence[Finding] = (),
        **facts: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.about = about
        self.hint = hint
        self.findings = tuple(findings)
        self.facts = facts

    @property
    def code(self) -> str:
        """The stable code, such as `model_version.not_found`."""
        return f"{self.about}.{self.suffix}"

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Error) and self.to_problem() == other.to_problem()

    def __hash__(self) -> int:
        return hash((self.code, self.message))

    def to_problem(self) -> dict[str, Any]:
        """Return the error as the members of an RFC 9457 problem document (without status)."""
        return {
            "code": self.code,
            "title": self.message,
            "hint": self.hint,
            "findings": msgspec.to_builtins(self.findings),
            "facts": msgspec.to_builtins(self.facts),
        }

    @classmethod
    def from_problem(cls, problem: Mapping[str, Any]) -> Error:
        """Return the error that `to_problem` described, in its own class."""
        about, _, suffix = str(problem.get("code", "")).rpartition(".")
        kind = _BY_SUFFIX.get(suffix, Error)
        return kind(
            str(problem.get("title", "unknown error")),
            about=about or "request",
            hint=str(problem.get("hint", "")),
            findings=msgspec.convert(problem.get("findings", ()), tuple[Finding, ...]),
            **problem.get("facts", {}),
        )


class NotFound(Error, LookupError):
    """There is nothing of this name."""

    suffix = "not_found"

    @classmethod
    def named(cls, about: str, name: str, known: Iterable[str] = (), *, hint: str = "") -> Self:
        """Return the error for a name that does not exist, its hint made from the names that do."""
        listed = sorted({str(k) for k in known})
        near = difflib.get_close_matches(name, listed, n=3, cutoff=0.5)
        if near:
            hint = f"Did you mean {' or '.join(repr(n) for n in near)}? {hint}".strip()
        elif listed and not hint:
            hint = f"Known: {', '.join(listed[:8])}{', ...' if len(listed) > 8 else ''}."
        return cls(f"There is no {about.replace('_', ' ')} {name!r}.", about=about, hint=hint, name=name)


class Conflict(Error):
    """The state of the world does not allow it now."""

    suffix = "conflict"


class Invalid(Error, ValueError):
    """The input is wrong; nothing was changed."""

    suffix = "invalid"


class Denied(Error, PermissionError):
    """The caller may not do this."""

    suffix = "denied"


class GateClosed(Error):
    """A gate has not passed, so the version may not move forward."""

    suffix = "gate_closed"


class MissingExtra(Error, ImportError):
    """A part of Interlock is not installed."""

    suffix = "missing_extra"

    @classmethod
    def named(cls, extra: str, module: str) -> Self:
        """Return the error that says which extra holds `module` and how to install it."""
        return cls(
            f"This needs {module!r}, which is not installed.",
            about="extra",
            hint=f"Run: pip install 'interlock[{extra}]'",
            extra=extra,
            module=module,
        )

    @classmethod
    def behind(cls, error: BaseException) -> Self | None:
        """Return the error that a failed import of one of our heavy libraries means; None for any other error."""
        module = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
        return cls.named(EXTRAS[module], module) if module in EXTRAS else None


class Unavailable(Error):
    """It cannot be done now; the same call may succeed later."""

    suffix = "unavailable"
    transient = True


class StorageFull(Unavailable):
    """The disk has no room for what shall be written; what is there can be read."""

    suffix = "storage_full"


class Corrupt(Error):
    """Stored bytes are not what was written. Stop and look."""

    suffix = "corrupt"


_BY_SUFFIX: dict[str, type[Error]] = {
    kind.suffix: kind
    for kind in (
        Error,
        NotFound,
        Conflict,
        Invalid,
        Denied,
        GateClosed,
        MissingExtra,
        Unavailable,
        StorageFull,
        Corrupt,
    )
}
