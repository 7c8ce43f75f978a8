"""Records of scoring files: what shall be done, what is done, and what came of it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

FORMATS: Final = ("parquet", "csv", "arrow")
PART_ROWS: Final = 1 << 18
BATCH_ROWS: Final = 1 << 16
BadRows = Literal["fail", "null", "skip"]
Format = Literal["parquet", "csv", "arrow"]


class Options(msgspec.Struct, frozen=True):
    """How files are scored.

    Attributes:
        keep: input columns that the output has too.
        id_column: the input column that says which row this is; kept, and never missing. "" where there is none.
        format: of the output.
        bad_rows: what becomes of rows that the model refuses: none of them is answered (`fail`), or they have no
            answer (`null`), or they are left out (`skip`).
        part_rows: input rows a part; parts never cross files.
    """

    keep: tuple[str, ...] = ()
    id_column: str = ""
    format: Format = "parquet"
    bad_rows: BadRows = "fail"
    part_rows: int = PART_ROWS

    @property
    def carried(self) -> tuple[str, ...]:
        """The columns that go over to the output, in its order."""
        first = (self.id_column,) if self.id_column else ()
        return tuple(dict.fromkeys((*first, *self.keep)))


class Input(msgspec.Struct, frozen=True):
    """A file that is scored: its name without folders, digest and size."""

    name: str
    digest: str
    size_bytes: int


class Plan(msgspec.Struct, frozen=True):
    """What shall be done, written before the first row: who goes on with it must want the same.

    Attributes:
        id: of this scoring.
        workspace: the id of the workspace whose model it is.
        model: the version.
        bundle: the digest of its files.
        inputs: the files, in their order.
        options: how.
        runtime: versions of the libraries that numbers and bytes depend on.
        after: the last event of the ledger before it began.
    """

    id: str
    workspace: str
    model: str
    bundle: str
    inputs: tuple[Input, ...]
    options: Options
    runtime: dict[str, str]
    after: int


class Part(msgspec.Struct, frozen=True):
    """A part that is done: which rows it answers, and its bytes.

    Attributes:
        input: the number of its file, from 0.
        first: the number of its first row in the file, from 0.
        taken: how many rows of the file it stands for.
        rows: how many rows it has.
        refused: how many rows the model refused.
        name: its file.
        digest: of its bytes.
        size_bytes: how many.
        report: the file that lists what was refused, or "".
        report_digest: of that file's bytes.
    """

    input: int
    first: int
    taken: int
    rows: int
    refused: int
    name: str
    digest: str
    size_bytes: int
    report: str = ""
    report_digest: str = ""


class Report(msgspec.Struct, frozen=True):
    """What came of scoring files.

    Attributes:
        id: of this scoring.
        model: the version that answered.
        bundle: the digest of its files.
        inputs: the files that were read.
        rows: how many rows were read.
        written: how many rows the output has.
        refused: how many rows the model refused.
        resumed: how many rows were answered by an earlier call that broke off.
        parts: the files of the output.
        event: the index of `batch.scored` in the ledger; -1 in a dry run.
    """

    id: str
    model: str
    bundle: str
    inputs: tuple[Input, ...]
    rows: int
    written: int
    refused: int
    resumed: int
    parts: tuple[Part, ...]
    event: int


class Preview(msgspec.Struct, frozen=True):
    """What scoring files would do.

    Attributes:
        model: the version that would answer.
        inputs: the names of the files.
        rows: how many rows they have; None where only reading them all would tell.
        columns: the columns of the output.
        done: how many rows an earlier call has answered.
    """

    model: str
    inputs: tuple[str, ...]
    rows: int | None
    columns: tuple[str, ...]
    done: int


class Watch:
    """Is told how the work goes; this one says nothing."""

    def expects(self, rows: int | None) -> None:
        """Take how many rows there are, None where nobody knows."""

    def took(self, rows: int, resumed: bool = False) -> None:
        """Take how many more rows are done, now or by an earlier call."""

    def ended(self) -> None:
        """Take that nothing more follows."""
