"""Rows of the registry's tables as records, and references as rows. Every list costs the same few queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from interlock.core.clock import from_micros
from interlock.core.errors import NotFound
from interlock.core.refs import LATEST, Ref, no_alias, parse
from interlock.registry.lifecycle import Stage
from interlock.registry.records import Approval, Format, Model, ModelVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.core.ports import Reader, Row

_CHUNK = 200  # databases bound how many values a statement may have
Key = tuple[str, int]


def models_named(reader: Reader, names: Sequence[str]) -> list[Model]:
    """Return the records of models, archived ones too, in the order of their names here; unknown ones are left out."""
    rows = _keyed(reader, "SELECT * FROM models WHERE name IN ({})", names, "name")
    counts = _grouped(
        reader,
        "SELECT model, count(*) AS n FROM model_versions WHERE model IN ({}) AND archived_at IS NULL GROUP BY model",
        names,
    )
    aliases = _grouped(reader, "SELECT * FROM model_aliases WHERE model IN ({}) ORDER BY alias", names)
    tags = _grouped(reader, "SELECT * FROM model_tags WHERE model IN ({}) ORDER BY name", names)
    guards = _grouped(reader, "SELECT model FROM model_guards WHERE model IN ({})", names)
    return [
        Model(
            name=name,
            versions=counts[name][0]["n"] if name in counts else 0,
            aliases={row["alias"]: row["version"] for row in aliases.get(name, ())},
            created_at=from_micros(rows[name]["created_at"]),
            updated_at=from_micros(rows[name]["updated_at"]),
            description=rows[name]["description"],
            owner=rows[name]["owner"],
            tags={row["name"]: row["value"] for row in tags.get(name, ())},
            gated=name in guards,
            last=rows[name]["last"],
            archived_at=_instant(rows[name]["archived_at"]),
        )
        for name in names
        if name in rows
    ]


def model_of(reader: Reader, name: str, *, archived: bool = False) -> Model:
    """Return the record of a model.

    Raises:
        NotFound: there is none of this name, or it is archived and those are not asked for.
    """
    for found in models_named(reader, [name]):
        if archived or found.archived_at is None:
            return found
        raise NotFound(
            f"Model {name!r} is archived.", about="model", hint=f"Run `interlock registry restore {name}`.", name=name
        )
    raise NotFound.named("model", name, _near_names(reader, name))


def model_meant(reader: Reader, text: str, *, archived: bool = False) -> Model:
    """Return the model that a reference means; one by a former name is followed, unless a model is called so now.

    Raises:
        NotFound: there is none, or it is archived and those are not asked for.
        Invalid: it is no reference of a model.
    """
    return model_of(reader, name_now(reader, parse(text, "model").name), archived=archived)


def name_now(reader: Reader, name: str) -> str:
    """Return what the model is called now that has, or had, this name; the name itself where none had it."""
    values = {"name": name}
    if reader.one("SELECT name FROM models WHERE name = :name", values):
        return name
    former = reader.one("SELECT now FROM model_former_names WHERE name = :name ORDER BY last DESC LIMIT 1", values)
    return str(former["now"]) if former else name


def versions_of(reader: Reader, rows: Sequence[Row]) -> list[ModelVersion]:
    """Return the records of rows of model_versions."""
    names = list(dict.fromkeys(row["model"] for row in rows))
    aliases: dict[Key, list[str]] = {}
    for held in _all(reader, "SELECT * FROM model_aliases WHERE model IN ({}) ORDER BY alias", names):
        aliases.setdefault((held["model"], held["version"]), []).append(held["alias"])
    tags: dict[Key, dict[str, str]] = {}
    for tag in _at(reader, "model_version_tags", [(row["model"], row["version"]) for row in rows]):
        tags.setdefault((tag["model"], tag["version"]), {})[tag["name"]] = tag["value"]
    return [
        _version(row, aliases.get((row["model"], row["version"]), []), tags.get((row["model"], row["version"]), {}))
        for row in rows
    ]


def rows_at(reader: Reader, keys: Sequence[Key]) -> list[Row]:
    """Return the rows of versions, in the order of their keys here; unknown ones are left out."""
    found = {(row["model"], row["version"]): row for row in _at(reader, "model_versions", keys)}
    return [found[key] for key in keys if key in found]


def row_of(reader: Reader, ref: Ref) -> Row:
    """Return the row of the version that a reference means; one to a former name of a model is followed.

    A number finds an archived version too, because answers that it gave name it; `latest` means the newest live one.

    Raises:
        NotFound: there is no such version or alias; the hint has near ones.
    """
    row = _look(reader, ref.name, ref.version, ref.alias)
    if row is None:
        former = reader.all(
            "SELECT now, last FROM model_former_names WHERE name = :name AND last >= :version ORDER BY last",
            {"name": ref.name, "version": ref.version or 0},
        )
        live = ref.version is None and reader.one(
            "SELECT name FROM models WHERE name = :name AND archived_at IS NULL", {"name": ref.name}
        )
        if former and not live:
            now = former[0 if ref.version else -1]["now"]
            row = _look(reader, now, ref.version, ref.alias)
    if row is None:
        raise _missing(reader, ref)
    return row


def version_of(reader: Reader, text: str) -> ModelVersion:
    """Return the version that a reference means; see `row_of`.

    Raises:
        NotFound: there is no such version or alias.
        Invalid: it is no reference of a model.
    """
    return versions_of(reader, [row_of(reader, parse(text, "model"))])[0]


def approvals_of(reader: Reader, version: ModelVersion) -> list[Approval]:
    """Return the signatures of people and rules under a version, oldest first."""
    rows = reader.all(
        "SELECT * FROM approvals WHERE model = :model AND version = :version ORDER BY given_at",
        {"model": version.model, "version": version.version},
    )
    return [
        Approval(r["actor"], r["bundle"], r["report"], r["policy"], r["note"], from_micros(r["given_at"])) for r in rows
    ]


def _look(reader: Reader, name: str, version: int | None, alias: str) -> Row | None:
    values: dict[str, Any] = {"name": name, "version": version, "alias": alias}
    if version is not None:
        return reader.one("SELECT * FROM model_versions WHERE model = :name AND version = :version", values)
    if alias in {"", LATEST}:
        return reader.one(
            "SELECT * FROM model_versions WHERE model = :name AND archived_at IS NULL ORDER BY version DESC LIMIT 1",
            values,
        )
    return reader.one(
        "SELECT v.* FROM model_aliases a JOIN model_versions v ON v.model = a.model AND v.version = a.version"
        " WHERE a.model = :name AND a.alias = :alias",
        values,
    )


def _missing(reader: Reader, ref: Ref) -> NotFound:
    values = {"name": ref.name}
    named = ref.version is None and ref.alias not in {"", LATEST}
    if named and reader.one("SELECT name FROM models WHERE name = :name AND archived_at IS NULL", values):
        held = reader.all("SELECT alias FROM model_aliases WHERE model = :name", values)
        return no_alias(ref, [row["alias"] for row in held])
    return NotFound.named("model_version", str(ref), _near(reader, ref))


def _near(reader: Reader, ref: Ref) -> list[str]:
    values = {"name": ref.name}
    rows = reader.all(
        "SELECT version FROM model_versions WHERE model = :name AND archived_at IS NULL ORDER BY version DESC LIMIT 50",
        values,
    )
    if rows:
        return [f"model:{ref.name}@{row['version']}" for row in rows]
    return [f"model:{name}" for name in _near_names(reader, ref.name)]


def _near_names(reader: Reader, name: str) -> list[str]:
    """Return names of models for a hint: those that begin alike, else the first ones. Cost: through the index."""
    query = "SELECT name FROM models WHERE name >= :low AND name < :high AND archived_at IS NULL ORDER BY name LIMIT 30"
    rows = reader.all(query, {"low": name[:2], "high": f"{name[:2]}\U0010ffff"})
    rows = rows or reader.all(query, {"low": "", "high": "\U0010ffff"})
    return [row["name"] for row in rows]


def _version(row: Row, aliases: list[str], tags: dict[str, str]) -> ModelVersion:
    return ModelVersion(
        ref=str(Ref("model", row["model"], row["version"])),
        model=row["model"],
        version=row["version"],
        run=f"run:{row['run']}" if row["run"] else "",
        bundle=row["bundle"],
        data=tuple(filter(None, row["data"].split("\n"))),
        stage=msgspec.convert(row["stage"], Stage),
        stage_reason=row["stage_reason"],
        stage_at=from_micros(row["stage_at"]),
        aliases=tuple(aliases),
        created_at=from_micros(row["created_at"]),
        updated_at=from_micros(row["updated_at"]),
        description=row["description"],
        owner=row["owner"],
        tags=tags,
        status=row["status"],
        status_reason=row["status_reason"],
        source=row["source"],
        location=row["location"],
        run_link=row["run_link"],
        origin=row["origin"],
        mlflow_stage=row["mlflow_stage"],
        format=msgspec.convert(row["format"], Format),
        format_reason=row["format_reason"],
        pins=row["pins"],
        archived_at=_instant(row["archived_at"]),
    )


def _at(reader: Reader, table: str, keys: Sequence[Key]) -> Iterable[Row]:
    for part in _chunks(keys):
        places = " OR ".join(f"(model = :m{i} AND version = :v{i})" for i in range(len(part)))
        values = {f"m{i}": key[0] for i, key in enumerate(part)} | {f"v{i}": key[1] for i, key in enumerate(part)}
        yield from reader.all(f"SELECT * FROM {table} WHERE {places}", values)  # noqa: S608 - table and numbers are ours


def _instant(micros: int | None) -> Any:
    return None if micros is None else from_micros(micros)


def _all(reader: Reader, sql: str, names: Sequence[str]) -> Iterable[Row]:
    for part in _chunks(names):
        places = ", ".join(f":n{i}" for i in range(len(part)))
        yield from reader.all(sql.format(places), {f"n{i}": name for i, name in enumerate(part)})


def _keyed(reader: Reader, sql: str, names: Sequence[str], column: str) -> dict[str, Row]:
    return {row[column]: row for row in _all(reader, sql, names)}


def _grouped(reader: Reader, sql: str, names: Sequence[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in _all(reader, sql, names):
        found.setdefault(row["model"], []).append(row)
    return found


def _chunks(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
