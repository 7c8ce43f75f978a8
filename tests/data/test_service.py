from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest

from interlock.core.errors import Conflict, Error, Invalid, NotFound
from interlock.core.files import StoredFile
from interlock.core.ids import new_id
from interlock.data.contract import ColumnEdit
from interlock.data.records import Declaration
from interlock.data.service import DataService
from interlock.store import Store, create_store

FRAME = pl.DataFrame({"person": [1, 2, 3], "age": [18, 30, 54], "code": ["1", "2", "1"]})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = create_store(tmp_path / "project" / ".interlock")
    yield made
    made.close()


@pytest.fixture
def data(store: Store) -> DataService:
    return DataService(store)


def put(store: Store, name: str, content: bytes) -> StoredFile:
    return StoredFile(name, *store.uploads.put(io.BytesIO(content), new_id()))


def parquet(store: Store, frame: pl.DataFrame, name: str = "people.parquet") -> StoredFile:
    sink = io.BytesIO()
    frame.write_parquet(sink)
    return put(store, name, sink.getvalue())


def csv(store: Store, text: str | bytes, name: str = "people.csv") -> StoredFile:
    return put(store, name, text if isinstance(text, bytes) else text.encode())


def test_rows_become_a_version_with_profile_contract_and_event(store: Store, data: DataService) -> None:
    version = data.ingest("people", [parquet(store, FRAME)])
    assert (version.ref, version.rows, version.columns) == ("data:people@1", 3, ("person", "age", "code"))
    assert data.frame("data:people@1").equals(FRAME)
    assert data.profile("people").rows == 3
    assert data.contract("people").rule("age").maximum == 54
    kinds = [event.kind for event in store.ledger.events()]
    assert kinds == ["contract.set", "dataset_version.created"]


def test_versions_have_no_gaps_and_equal_rows_make_none(store: Store, data: DataService) -> None:
    first = data.ingest("people", [parquet(store, FRAME)])
    assert data.ingest("people", [parquet(store, FRAME)]) == first
    second = data.ingest("people", [parquet(store, FRAME.with_columns(person=pl.col("person") + 0).head(2))])
    assert [v.version for v in data.versions("people")] == [1, 2]
    assert data.version("data:people@latest") == data.version("people") == second
    assert data.version("data:people@1") == first


def test_csv_is_typed_and_conditions_filter(store: Store, data: DataService) -> None:
    version = data.ingest("people", [csv(store, "person,age,code\n1,18,a\n2,30,b\n3,,c\n")], "age > 20")
    assert data.frame(version.ref).to_dicts() == [{"person": 2, "age": 30, "code": "b"}]
    assert version.where == "age > 20"


def test_csv_and_parquet_of_the_same_rows_are_the_same_rows(store: Store, data: DataService) -> None:
    data.ingest("people", [parquet(store, FRAME)])
    again = data.ingest("people", [csv(store, FRAME.write_csv())])
    assert again.version == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"", "x.csv"),
        ("x.csv", b"a,b\n", "no rows"),
        ("x.csv", b"a,b,a\n1,2,3\n", "'a'"),
        ("x.csv", b"a,b\n1,\xff\xfe\n", "x.csv"),
        ("x.csv", b"a,b\n1,\n2,\n", "'b' holds no value"),
        ("x.csv", b"a,b\n1,2\n1,2,3,4\n", "x.csv.* line 3 has 4 fields where the header has 2[.]"),
        ("x.csv", b'a,b,c\n1,2,3\n\n"1\n",2\n', "line 5 has 2 fields where the header has 3"),
        ("x.csv", b"a;b\n1;2\n", "separated by ';'; save it with commas"),
        ("x.csv", b"a\tb\n1\t2\n", "separated by '.t'"),
        ("x.csv", b",b\n1,2\n", "'' cannot be the name"),
        ("x.csv", b'"a\nb",c\n1,2\n', "x.csv: .* cannot be the name"),
        ("x.csv", b"\x1b[31ma,b\n1,2\n", "x.csv: .* cannot be the name"),
        ("x.csv", b"a\0b,c\n1,2\n", "x.csv: .* cannot be the name"),
        ("x.parquet", b"PAR1 not really", "x.parquet"),
        ("x.xlsx", b"1", "no format"),
        ("x", b"1", "no format"),
    ],
)
def test_files_that_are_no_tables_are_refused_and_nothing_is_stored(
    store: Store, data: DataService, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        data.ingest("people", [put(store, name, content)])
    assert store.database.all("SELECT * FROM datasets") == []
    assert store.ledger.size() == 0
    assert list(store.objects.digests()) == []


def test_a_broken_contract_names_columns_and_rows_and_changes_nothing(store: Store, data: DataService) -> None:
    data.ingest("people", [parquet(store, FRAME)])
    before, objects = store.ledger.size(), list(store.objects.digests())
    with pytest.raises(Invalid, match="break the contract") as caught:
        data.ingest("people", [parquet(store, FRAME.with_columns(age=pl.Series([18, 400, 54])))])
    assert caught.value.code == "dataset_version.invalid"
    assert [(f.column, f.rows) for f in caught.value.findings] == [("age", (1,))]
    assert store.ledger.size() == before
    assert list(store.objects.digests()) == objects
    assert len(data.versions("people")) == 1
    found = data.validate("people", [parquet(store, FRAME.with_columns(age=pl.Series([18, 400, 54])))])
    assert found == list(caught.value.findings)


def test_what_the_owner_says_is_kept_and_widens_the_contract(store: Store, data: DataService) -> None:
    declaration = Declaration(id="person", sensitive=("code",), columns={"age": ColumnEdit(range=(0, 120))})
    data.declare("people", declaration)
    data.ingest("people", [parquet(store, FRAME)])
    assert data.show("people").declaration == declaration
    more = FRAME.with_columns(person=pl.col("person") + 10, age=pl.lit(94, pl.Int64))
    assert data.ingest("people", [parquet(store, more)]).version == 2
    with pytest.raises(Invalid, match="contract"):
        data.ingest("people", [parquet(store, pl.concat([FRAME, FRAME]))])  # the id names two rows
    with pytest.raises(Invalid, match="'age'"):
        data.declare("people", Declaration(columns={"agee": ColumnEdit(range=(0, 1))}))


def test_roles_that_name_no_column_are_refused_at_the_first_version(store: Store, data: DataService) -> None:
    data.declare("people", Declaration(id="persn", sensitive=("code", "gender")))
    size = store.ledger.size()
    with pytest.raises(Invalid, match="'persn', 'gender'") as caught:
        data.ingest("people", [parquet(store, FRAME)])
    assert [finding.column for finding in caught.value.findings] == ["persn", "gender"]
    assert "did you mean 'person'?" in caught.value.findings[0].message
    assert (store.ledger.size(), data.versions("people")) == (size, [])
    data.declare("people", Declaration(id="person", sensitive=("code",)))
    assert data.ingest("people", [parquet(store, FRAME)]).version == 1


@pytest.mark.parametrize(
    "wrong",
    [
        Declaration(id="persn"),
        Declaration(time="persn"),
        Declaration(target="persn"),
        Declaration(sensitive=("persn",)),
    ],
)
def test_roles_that_name_no_column_are_refused_where_there_is_a_contract(
    store: Store, data: DataService, wrong: Declaration
) -> None:
    data.ingest("people", [parquet(store, FRAME)])
    size = store.ledger.size()
    with pytest.raises(Invalid, match="'persn'") as caught:
        data.declare("people", wrong)
    assert "'person'" in caught.value.findings[0].message
    assert (store.ledger.size(), data.show("people").declaration) == (size, Declaration())


@pytest.mark.parametrize("where", ["nonsense >", "nobody = 1", "age; DROP TABLE people"])
def test_a_condition_that_makes_no_sense_is_invalid(store: Store, data: DataService, where: str) -> None:
    with pytest.raises(Invalid):
        data.ingest("people", [parquet(store, FRAME)], where)


def test_of_two_first_versions_at_once_the_second_is_judged_by_the_contract_of_the_first(
    store: Store, data: DataService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interlock.data import service

    def overtaken(frame: pl.DataFrame) -> bytes:
        monkeypatch.undo()
        DataService(store).ingest("people", [parquet(store, FRAME)])
        return service.to_parquet(frame)

    monkeypatch.setattr(service, "to_parquet", overtaken)
    other = parquet(store, pl.DataFrame({"other": [1, 2]}))
    with pytest.raises(Conflict, match="changed meanwhile"):
        data.ingest("people", [other])
    assert [version.columns for version in data.versions("people")] == [("person", "age", "code")]
    with pytest.raises(Invalid, match="break the contract"):
        data.ingest("people", [other])


def test_what_does_not_exist_is_not_found_with_near_names(store: Store, data: DataService) -> None:
    data.ingest("people", [parquet(store, FRAME)])
    for call in (lambda: data.show("peopel"), lambda: data.version("peopel"), lambda: data.contract("peopel")):
        with pytest.raises(NotFound, match="'people'"):
            call()
    with pytest.raises(NotFound, match="people@1"):
        data.version("people@2")
    with pytest.raises(Invalid):
        data.version("people@newest")
    with pytest.raises(Error):
        data.ingest("a/b", [parquet(store, FRAME)])
    with pytest.raises(Invalid, match="No file"):
        data.ingest("people", [])


def test_a_condition_that_leaves_no_row_makes_no_version(store: Store, data: DataService) -> None:
    with pytest.raises(Invalid, match="No row"):
        data.ingest("people", [parquet(store, FRAME)], "age > 200")
    assert data.list() == []


def test_the_contract_is_what_the_first_version_shows_and_what_its_owner_says_now(
    store: Store, data: DataService
) -> None:
    data.ingest("people", [parquet(store, FRAME)])
    inferred = data.contract("people")
    data.declare("people", Declaration(columns={"age": ColumnEdit(range=(0, 20), codes="1..2")}))
    with pytest.raises(Invalid, match="contract"):
        data.ingest("people", [parquet(store, FRAME.reverse())])
    data.declare("people", Declaration(id="person", columns={"code": ColumnEdit(codes=("1", "2", "3"))}))
    now = {rule.name: rule for rule in data.contract("people").columns}
    assert (now["age"], now["code"].categories) == (inferred.rule("age"), ("1", "2", "3"))
    assert (now["person"].unique, now["person"].maximum) == (True, None)
    data.declare("people", Declaration())
    assert data.contract("people") == inferred
    assert data.ingest("people", [parquet(store, FRAME.reverse())]).version == 2


def test_edits_left_over_by_an_older_release_are_gone_after_the_next_declaration(
    store: Store, data: DataService
) -> None:
    data.ingest("people", [parquet(store, FRAME)])
    assert data.is_declared("people", Declaration())
    spoilt = store.objects.put(b'{"columns":[{"name":"age","kind":"integer","categories":["a"]}]}')
    store.database.write(lambda tx: tx.run("UPDATE datasets SET contract = :c", {"c": spoilt}))
    assert not data.is_declared("people", Declaration())
    data.declare("people", Declaration())
    assert data.contract("people").rule("age").maximum == 54


@pytest.mark.parametrize("first", [True, False])
def test_an_edit_that_does_not_fit_its_column_is_refused_with_its_place(
    store: Store, data: DataService, first: bool
) -> None:
    wrong = Declaration(columns={"age": ColumnEdit(codes=("a",)), "code": ColumnEdit(range=(0, 120))})
    file = parquet(store, FRAME)
    data.declare("people", wrong) if first else data.ingest("people", [file])
    with pytest.raises(Invalid) as caught:
        data.ingest("people", [file]) if first else data.declare("people", wrong)
    assert [(found.rule, found.column) for found in caught.value.findings] == [("edit", "age"), ("edit", "code")]
    assert "[data.people.columns]" in caught.value.hint


@pytest.mark.parametrize("values", [["yes", "no", "no"], [1, 2, 1], [0.0, 0.5, 1.0], [0, 1, 2]])
def test_a_target_that_is_not_0_or_1_is_refused_when_it_comes(
    store: Store, data: DataService, values: list[object]
) -> None:
    data.declare("people", Declaration(target="happy"))
    with pytest.raises(Invalid, match="'happy' holds .*neither|neither 0 nor 1") as caught:
        data.ingest("people", [parquet(store, FRAME.with_columns(happy=pl.Series(values)))])
    assert "Write 1 in 'happy'" in caught.value.hint
    assert data.versions("people") == []
    frame = FRAME.with_columns(happy=pl.Series(values))
    data.ingest("others", [parquet(store, frame)])
    with pytest.raises(Invalid, match="neither 0 nor 1"):
        data.declare("others", Declaration(target="happy"))


@pytest.mark.parametrize("values", [[1, 0, None], [True, False, True], [0.0, 1.0, 1.0], [0, 0, 0]])
def test_targets_of_two_labels_are_taken_also_where_the_truth_is_not_known_yet(
    store: Store, data: DataService, values: list[object]
) -> None:
    data.declare("people", Declaration(target="happy"))
    assert data.ingest("people", [parquet(store, FRAME.with_columns(happy=pl.Series(values)))]).version == 1


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("4,400,x1", "age = { range = [LOW, HIGH] }"),
        ("4,30,x7", 'code = { codes = ["CODE", ...] }'),
        ("4,,x1\n5,18,x1", "age = { null_share = SHARE }"),
        ("4,abc,x1", ""),
        ("1,18,x1\n1,18,x1", ""),
    ],
)
def test_the_hint_fits_what_was_found(store: Store, data: DataService, line: str, wanted: str) -> None:
    data.declare("people", Declaration(id="person"))
    data.ingest("people", [csv(store, "person,age,code\n1,18,x1\n2,54,x2\n")])
    with pytest.raises(Invalid) as caught:
        data.ingest("people", [csv(store, f"person,age,code\n{line}\n")])
    assert caught.value.hint.endswith(f"{wanted}.") if wanted else caught.value.hint == "Mend the file."


def test_a_wrong_cell_is_shown_with_its_line_in_the_file_that_it_came_in(store: Store, data: DataService) -> None:
    data.ingest("people", [csv(store, "person,age\n1,18\n2,54\n")])
    files = [csv(store, "person,age\n1,18\n2,19\n", "a.csv"), csv(store, "person,age\n1,20\n2,x\n2,y\n", "b.csv")]
    found = data.validate("people", files)
    assert [(f.message, f.rows) for f in found] == [
        ("age holds 'x' where integer is wanted (first in line 3 of b.csv)", (3, 4))
    ]
    found = data.validate("people", [csv(store, "person,age\n1,18\n2,19\n2,200\n", "a.csv")], "age > 18")
    assert [f.message for f in found] == ["age is 200 where 18..54 is allowed (line 4 of a.csv)"]
    found = data.validate("people", [csv(store, "person,age\n1,18.5\n2,19\n", "a.csv")])
    assert [(f.message, f.rows) for f in found] == [
        ("age holds '18.5' where integer is wanted (line 2 of a.csv)", (0,))
    ]
    text = 'person,age,note\n1,18,"two\nlines"\n2,400,x\n'
    data.ingest("notes", [csv(store, 'person,age,note\n1,18,"two\nlines"\n2,54,x\n')])
    assert [f.message for f in data.validate("notes", [csv(store, text)])] == ["age is 400 where 18..54 is allowed"]


def test_what_the_owner_says_and_the_rows_come_together_or_not_at_all(store: Store, data: DataService) -> None:
    size = store.ledger.size()
    with pytest.raises(Invalid, match="'persn'"):
        data.bring("people", Declaration(id="persn"), [parquet(store, FRAME)], "")
    assert (store.ledger.size(), data.list()) == (size, [])
    declaration = Declaration(id="person", columns={"age": ColumnEdit(range=(0, 120))})
    assert data.bring("people", declaration, [parquet(store, FRAME)], "").version == 1
    assert data.show("people").declaration == declaration
    again = msgspec.structs.replace(declaration, sensitive=("code",))
    assert data.bring("people", again, [parquet(store, FRAME)], "").version == 1  # equal rows, other words
    assert (data.show("people").declaration, data.is_declared("people", again)) == (again, True)
    kinds = [event.kind for event in store.ledger.events()]
    assert kinds == ["contract.set", "dataset_version.created", "contract.set"]
