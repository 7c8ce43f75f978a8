"""What can be searched for, and by which names: MLflow's tables of identifiers as declarations.

Six entities: runs, experiments, registered models, model versions, logged models and traces. Nothing here says how
anything is stored (see `sources`). Names, aliases, operators and orders are those of MLflow 3.17, measured by giving
its parsers some 250 texts. Ours beyond them: params compare with numbers, assessments equal numbers, and tags, params,
metadata and assessments of all entities know IS NULL. Registered models and their versions have more fields: what they
rest on and where they stand. Their instants compare; these and those of runs compare with dates too. OR, NOT and
parentheses are in the grammar itself.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from interlock.store.search.syntax import Field, OrderTerm

Kind = Literal["text", "number", "either"]

NUMERIC: Final = frozenset({"=", "!=", "<", "<=", ">", ">="})
TEXT: Final = frozenset({"=", "!=", "LIKE", "ILIKE"})
LISTS: Final = frozenset({"IN", "NOT IN"})
NULLS: Final = frozenset({"IS NULL", "IS NOT NULL"})
REGEX: Final = frozenset({"RLIKE"})
NONE: Final[frozenset[str]] = frozenset()


class Attribute(msgspec.Struct, frozen=True):
    """A fixed field of a family.

    Attributes:
        name: what it is called in sources and in the AST.
        kind: text or number.
        operators: those it can be compared with; none for what can only be ordered by.
        aliases: other names that users type.
        ordered: whether it can be ordered by.
        quoted: whether a number may stand in quotes.
        instant: whether the number is an instant in milliseconds, which a date in quotes may stand for.
    """

    name: str
    kind: Kind = "text"
    operators: frozenset[str] = TEXT
    aliases: tuple[str, ...] = ()
    ordered: bool = True
    quoted: bool = False
    instant: bool = False


class Family(msgspec.Struct, frozen=True):
    """Fields that share a prefix.

    Attributes:
        name: what it is called in sources and in the AST.
        words: the prefixes that users type; the first is the one that we print.
        attributes: the fields it has; where there are none, any key is one.
        kind: the kind of any key's values; `either` means text that may be compared with a number too.
        operators: what any key can be compared with by; numbers of `either` take the numeric ones.
        ordered: whether any key can be ordered by.
    """

    name: str
    words: tuple[str, ...]
    attributes: tuple[Attribute, ...] = ()
    kind: Kind = "text"
    operators: frozenset[str] = NONE
    ordered: bool = False

    def attribute(self, name: str) -> Attribute | None:
        """Return the field of this name or alias; None when there is none."""
        return next((one for one in self.attributes if name == one.name or name in one.aliases), None)


class Entity(msgspec.Struct, frozen=True):
    """One kind of thing that can be searched for.

    Attributes:
        name: its name.
        families: all its fields.
        bare: the family of names without a prefix.
        order: the order where the caller asks for none.
        ties: what decides between equals, after the caller's terms; together unique.
    """

    name: str
    families: tuple[Family, ...]
    ties: tuple[OrderTerm, ...]
    order: tuple[OrderTerm, ...] = ()
    bare: str = "attribute"

    def family(self, name: str) -> Family:
        """Return the family of this name.

        Raises:
            KeyError: there is none.
        """
        for one in self.families:
            if one.name == name:
                return one
        raise KeyError(name)


def _attribute(name: str, *, descending: bool = False) -> OrderTerm:
    return OrderTerm(Field("attribute", name), descending)


def _numbers(*names: str) -> tuple[Attribute, ...]:
    return tuple(Attribute(name, "number", NUMERIC) for name in names)


def _instants(**aliases: tuple[str, ...]) -> tuple[Attribute, ...]:
    return tuple(Attribute(name, "number", NUMERIC, more, instant=True) for name, more in aliases.items())


_PARAMS: Final = Family(
    "param", ("params", "param", "parameters", "parameter"), kind="either", operators=TEXT | NULLS, ordered=True
)
_METRICS: Final = Family("metric", ("metrics", "metric"), kind="number", operators=NUMERIC, ordered=True)
_TAGS: Final = Family("tag", ("tags", "tag"), operators=TEXT | NULLS)

RUNS: Final = Entity(
    "run",
    families=(
        Family(
            "attribute",
            ("attributes", "attribute", "attr", "run"),
            (
                Attribute("run_id", operators=TEXT | LISTS),
                Attribute("run_name", aliases=("run name", "Run name", "Run Name")),
                Attribute("status"),
                Attribute("user_id"),
                Attribute("artifact_uri"),
                *_instants(start_time=("created", "Created"), end_time=()),
            ),
        ),
        _METRICS,
        _PARAMS,
        msgspec.structs.replace(_TAGS, ordered=True),
        Family(
            "dataset",
            ("dataset", "datasets"),
            tuple(Attribute(name, operators=TEXT | LISTS, ordered=False) for name in ("name", "digest", "context")),
        ),
    ),
    ties=(_attribute("start_time", descending=True), _attribute("run_id")),
)

EXPERIMENTS: Final = Entity(
    "experiment",
    families=(
        Family(
            "attribute",
            ("attribute",),
            (
                Attribute("name"),
                Attribute("experiment_id", operators=frozenset({"=", "!="}) | LISTS),
                *_numbers("creation_time", "last_update_time"),
            ),
        ),
        _TAGS,
    ),
    order=(_attribute("creation_time", descending=True), _attribute("experiment_id")),
    ties=(_attribute("experiment_id", descending=True),),
)

# A thing has many of these, so there is no `!=`: it would match whatever has another one, too.
_ANY: Final = frozenset({"=", "LIKE", "ILIKE", "IN"})
_OF_VERSIONS: Final = (
    *(Attribute(name, operators=TEXT | LISTS, ordered=False) for name in ("stage", "format", "mlflow_stage")),
    Attribute("alias", operators=_ANY, ordered=False),
    Attribute("feature", operators=_ANY, ordered=False),
)
_TEXTS: Final = tuple(Attribute(name, ordered=False) for name in ("owner", "description"))
_DATASETS: Final = Family(
    "dataset",
    ("dataset", "datasets"),
    (
        Attribute("name", operators=_ANY, ordered=False),
        Attribute("version", "number", NUMERIC, ordered=False),
    ),
)

REGISTERED_MODELS: Final = Entity(
    "registered_model",
    families=(
        Family(
            "attribute",
            ("attribute",),
            (
                Attribute("name", operators=TEXT | LISTS),
                *_instants(creation_timestamp=("created",), last_updated_timestamp=("timestamp", "updated")),
                *_TEXTS,
                *_OF_VERSIONS,
            ),
        ),
        _TAGS,
        msgspec.structs.replace(_METRICS, ordered=False),
        msgspec.structs.replace(_PARAMS, ordered=False),
        _DATASETS,
    ),
    ties=(_attribute("name"),),
)

MODEL_VERSIONS: Final = Entity(
    "model_version",
    families=(
        Family(
            "attribute",
            ("attribute",),
            (
                Attribute("name", operators=TEXT | LISTS),
                Attribute("version_number", "number", NUMERIC, ("version",), quoted=True),
                Attribute("run_id", operators=TEXT | LISTS, ordered=False),
                Attribute("source_path", ordered=False),
                Attribute("status", operators=TEXT | LISTS, ordered=False),
                *_instants(creation_timestamp=("created",), last_updated_timestamp=("updated",)),
                *_TEXTS,
                *_OF_VERSIONS,
            ),
        ),
        _TAGS,
        _METRICS,
        _PARAMS,
        _DATASETS,
    ),
    order=(_attribute("last_updated_timestamp", descending=True),),
    ties=(_attribute("name"), _attribute("version_number", descending=True)),
)

_LOGGED: Final = TEXT | LISTS

LOGGED_MODELS: Final = Entity(
    "logged_model",
    families=(
        Family(
            "attribute",
            ("attributes",),
            (
                *(
                    Attribute(name, operators=_LOGGED)
                    for name in ("name", "model_id", "model_type", "status", "source_run_id", "experiment_id")
                ),
                *(
                    Attribute(f"{name}_timestamp", "number", NUMERIC, (f"{name}_time", f"{name}_timestamp_ms"))
                    for name in ("creation", "last_updated")
                ),
            ),
        ),
        Family("metric", ("metrics",), kind="number", operators=NUMERIC, ordered=True),
        Family("param", ("params",), kind="either", operators=_LOGGED | NULLS),
        Family("tag", ("tags",), operators=_LOGGED | NULLS),
    ),
    ties=(_attribute("creation_timestamp", descending=True), _attribute("model_id")),
)

_PATTERNS: Final = TEXT | REGEX
_FREE: Final = _PATTERNS | NULLS

TRACES: Final = Entity(
    "trace",
    families=(
        Family(
            "attribute",
            ("attributes", "attribute", "trace"),
            (
                Attribute("request_id", operators=_PATTERNS | LISTS, aliases=("trace_id",)),
                Attribute("timestamp_ms", "number", NUMERIC, aliases=("timestamp",)),
                Attribute("execution_time_ms", "number", NUMERIC, aliases=("execution_time",)),
                Attribute("end_time_ms", "number", NUMERIC, aliases=("end_time",)),
                *(Attribute(name, operators=_PATTERNS | LISTS) for name in ("status", "name", "run_id")),
                Attribute("client_request_id", operators=_PATTERNS | LISTS, ordered=False),
                Attribute("prompt", operators=frozenset({"="}), ordered=False),
                Attribute("text", operators=frozenset({"LIKE", "ILIKE"}), ordered=False),
                Attribute("experiment_id", operators=NONE),
            ),
        ),
        Family("tag", ("tags", "tag"), operators=_FREE | LISTS, ordered=True),
        Family("metadata", ("metadata", "request_metadata"), operators=_FREE, ordered=True),
        Family("span_attribute", ("span.attributes",), operators=_PATTERNS | LISTS),
        Family(
            "span",
            ("span",),
            (
                *(Attribute(name, operators=_PATTERNS | LISTS, ordered=False) for name in ("name", "type", "status")),
                Attribute("content", operators=frozenset({"LIKE", "ILIKE"}), ordered=False),
            ),
        ),
        Family("feedback", ("feedback",), kind="either", operators=_FREE),
        Family("expectation", ("expectation",), kind="either", operators=_FREE),
        Family("issue", ("issue",), (Attribute("id", operators=frozenset({"="}), ordered=False),)),
    ),
    ties=(_attribute("timestamp_ms", descending=True), _attribute("request_id")),
)

ENTITIES: Final = (RUNS, EXPERIMENTS, REGISTERED_MODELS, MODEL_VERSIONS, LOGGED_MODELS, TRACES)
