"""The second half of an import: staged pieces become the parts of a dataset.

A log's unit is staged as three files: ``unit-N.parquet`` with a piece a row, in the columns of a part;
``unit-N.keys.parquet`` with the same rows' keys and what ordering needs; ``unit-N.assignments.jsonl``. Pieces that
are whole trajectories stay where they are, in the file's order and without being read again. Only where a trajectory
has several pieces, these are sorted by DuckDB, on disk where they do not fit into memory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.data import dataset
from simstudent.data.parquet import Rows
from simstudent.data.pieces import Piece, merged
from simstudent.data.records import Trajectory
from simstudent.data.rows import Skips

if TYPE_CHECKING:
    import duckdb
    import pyarrow

SORT_MEMORY = "384MB"  # of DuckDB; beyond it sorts on disk
PART_BYTES = 256 << 20  # of trajectories in memory, about, that make a part


def key_schema() -> pyarrow.Schema:
    """The columns of ``unit-N.keys.parquet``. ``ready``: the piece's own submissions are in order."""
    import pyarrow as pa

    made = dataset.schema()
    order = ("order", pa.list_(pa.float64()))
    return pa.schema(
        [made.field("student"), made.field("assignment"), ("ready", pa.bool_()), order, ("place", pa.string())]
    )


def gather(
    folder: Path, stage: Path, pieces: Sequence[int], name: str, skips: Skips, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The dataset's parts, from staged units of so many ``pieces`` each. ``name``: the trajectories' source."""
    import duckdb

    shutil.rmtree(stage / "sort", ignore_errors=True)  # of an import that was killed
    with duckdb.connect() as base:
        base.execute(f"SET memory_limit='{SORT_MEMORY}'; SET threads=2")
        base.execute("SET temp_directory=?", [os.fspath(stage / "sort")])
        total = _find_split(base, [os.fspath(_file(stage, n, ".keys")) for n, count in enumerate(pieces) if count])
        parts, affected = [], []
        for number, count in enumerate(pieces):
            split = _split_rows(base, stage, number) if count and total else []
            if split:
                affected.append(number)
            if len(split) < count:
                parts.append(_part(folder, stage, number, split))
        if total:
            say(f"Sorting the rows of {total:,} trajectories that the log tells in several")
            stream = _sorted(base, stage, affected)
            parts += _merged_parts(folder, len(pieces), stream, name, skips)
    return parts


def _file(stage: Path, number: int, kind: str = "") -> Path:
    return stage / f"unit-{number:06}{kind}.parquet"


def _find_split(base: duckdb.DuckDBPyConnection, files: list[str]) -> int:
    """Makes the table ``split``: the keys with several pieces, or one that is not in order yet. How many."""
    base.execute(
        "CREATE TABLE split AS SELECT student, assignment FROM read_parquet(?) "
        "GROUP BY ALL HAVING count(*) > 1 OR NOT bool_and(ready)",
        [files],
    )
    ((total,),) = base.execute("SELECT count(*) FROM split").fetchall()
    return int(total)


def _split_rows(base: duckdb.DuckDBPyConnection, stage: Path, number: int) -> Sequence[int]:
    """The rows of a unit that belong to split trajectories, counted from 0, ascending."""
    found = base.execute(
        "SELECT file_row_number FROM read_parquet(?, file_row_number=true) "
        "SEMI JOIN split USING (student, assignment) ORDER BY file_row_number",
        [os.fspath(_file(stage, number, ".keys"))],
    )
    return [int(row) for row in found.fetchnumpy()["file_row_number"]]


def _part(folder: Path, stage: Path, number: int, split: Sequence[int]) -> dict[str, Any]:
    """A unit less its ``split`` rows as a part: the same file, when there are none."""
    import pyarrow.compute as pc

    path, unit = folder / f"part-{number:06}.parquet", _file(stage, number)
    if len(split):
        with Rows(path, dataset.schema()) as file:
            for batch, rows in _groups(unit):
                file.add_batch(batch.filter(pc.invert(pc.is_in(rows, value_set=_array(split)))))
    else:
        try:
            os.link(unit, path)
        except OSError:  # a file system without links
            shutil.copyfile(unit, path.with_name(path.name + ".partial"))
            path.with_name(path.name + ".partial").replace(path)
    return dataset.part_facts(path)


def _array(rows: Sequence[int]) -> pyarrow.Array:
    import pyarrow

    return pyarrow.array(rows, pyarrow.int64())


def _groups(path: Path) -> Iterator[tuple[pyarrow.RecordBatch, pyarrow.Array]]:
    """Each row group of a staged file, with the numbers of its rows."""
    import pyarrow.parquet

    first = 0
    with pyarrow.parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            (batch,) = file.read_row_group(group).combine_chunks().to_batches()
            yield batch, _array(range(first, first + batch.num_rows))
            first += batch.num_rows


def _sorted(base: duckdb.DuckDBPyConnection, stage: Path, units: Iterable[int]) -> Iterator[dict[str, Any]]:
    """The pieces of split trajectories, those of the same trajectory together, in the order of the log."""
    import pyarrow as pa
    import pyarrow.compute as pc

    more = [("unit", pa.int64()), ("row", pa.int64()), key_schema().field("order"), key_schema().field("place")]
    schema = pa.schema([dataset.schema().field(name) for name in ("student", "assignment", "submissions")] + more)

    def batches() -> Iterator[pa.RecordBatch]:
        for number in units:
            split = _array(_split_rows(base.cursor(), stage, number))
            for (batch, rows), (keys, _) in zip(
                _groups(_file(stage, number)), _groups(_file(stage, number, ".keys")), strict=True
            ):
                columns = [batch[name] for name in ("student", "assignment", "submissions")]
                unit = pa.array([number] * batch.num_rows, pa.int64())
                whole = pa.record_batch([*columns, unit, rows, keys["order"], keys["place"]], schema=schema)
                yield whole.filter(pc.is_in(rows, value_set=split))

    stream = pa.RecordBatchReader.from_batches(schema, batches())
    found = base.from_arrow(stream).order("student, assignment, unit, row")
    for batch in found.to_arrow_reader(256):
        yield from batch.to_pylist()


def _merged_parts(
    folder: Path, first: int, stream: Iterator[dict[str, Any]], name: str, skips: Skips
) -> list[dict[str, Any]]:
    """Sorted pieces as parts of a bounded size each."""
    parts = []
    made = _trajectories(stream, name, skips)
    for number, held in enumerate(dataset.chunks(made, PART_BYTES), first):
        parts.append(dataset.write_part(folder / f"part-{number:06}.parquet", held))
    return parts


def _trajectories(rows: Iterable[dict[str, Any]], name: str, skips: Skips) -> Iterator[Trajectory]:
    """Neighbouring rows of the same key as one trajectory."""
    for _, held in groupby(rows, key=lambda row: (row["student"], row["assignment"])):
        yield from merged([_piece_of(row) for row in held], name, skips)


def _piece_of(row: Mapping[str, Any]) -> Piece:
    submissions = tuple(map(dataset.submission_of, row["submissions"]))
    return Piece(row["student"], row["assignment"], submissions, row["place"], tuple(row["order"]))
