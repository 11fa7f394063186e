"""Files as blocks of neighbouring rows: as columns, where they can be had as such, and one by one for all else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simstudent.data import rows
from simstudent.data.rows import Place, Unit

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 4 << 20  # bytes of JSONL that are parsed at once


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring rows of a file: as columns, where they can be had as such, and as a reader of rows gives them.

    ``rows(start, stop)`` counts from the block's own first row.
    """

    places: Sequence[Place]
    columns: pa.RecordBatch | None
    rows: Callable[[int, int], Sequence[Mapping[str, Any]]]


def readable(unit: Unit) -> bool:
    """Whether a file can be read as `blocks`."""
    return rows.kind_of(unit.path) in (".parquet", ".jsonl", ".ndjson")


def blocks(unit: Unit) -> Iterator[Block]:
    """The rows of a file, some hundreds at a time. Raises SimstudentError when the file as a whole cannot be read."""
    return _parquet(unit) if rows.kind_of(unit.path) == ".parquet" else _jsonl(unit)


def _parquet(unit: Unit) -> Iterator[Block]:
    for first, batch in rows.parquet_batches(unit):

        def listed(start: int, stop: int, first: int = first, batch: pa.RecordBatch = batch) -> list[dict[str, Any]]:
            return rows.listed(unit, first, batch.slice(start, stop - start))

        yield Block([f"{unit.path.name}, row {n}" for n in range(first, first + batch.num_rows)], batch, listed)


def _jsonl(unit: Unit) -> Iterator[Block]:
    held: list[tuple[Place, bytes, str]] = []
    size, schema = 0, None
    for line in rows.raw_lines(unit):
        if schema is None and not held:  # once a block: a line that is no plain trace tells nothing of the next ones
            schema = _schema(line[1])
        held.append(line)
        size += len(line[1])
        if size >= _BLOCK:
            yield _lines(held, schema)
            held, size = [], 0
    if held:
        yield _lines(held, schema)


def _lines(held: list[tuple[Place, bytes, str]], schema: pa.Schema | None) -> Block:
    def parsed(start: int, stop: int) -> list[Mapping[str, Any]]:
        return [rows.json_row(raw, encoding) for _, raw, encoding in held[start:stop]]

    columns = None if schema is None else _parsed([raw for _, raw, _ in held], schema)
    return Block([place for place, _, _ in held], columns, parsed)


def _schema(raw: bytes) -> pa.Schema | None:
    """The columns of a JSONL file as its first line has them; None when that is no plain trace."""
    import pyarrow as pa

    kinds = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}
    row = rows.json_row(raw, "utf-8")
    try:
        found = {name: kinds[type(value)] for name, value in row.items() if not isinstance(value, list)}
        lists = {name: pa.list_(kinds[type(value[0])]) for name, value in row.items() if isinstance(value, list)}
    except (KeyError, IndexError):
        return None
    return pa.schema([*found.items(), *lists.items()])


def _parsed(lines: list[bytes], schema: pa.Schema) -> pa.RecordBatch | None:
    """Lines as columns, a row each; None when one is anything else than an object of exactly these types.

    Arrow would read two objects in one line, or one in two, too. With a brace at both ends of each line it cannot.
    """
    import pyarrow as pa
    import pyarrow.json

    if not all(line.startswith(b"{") and line.endswith((b"}\n", b"}")) for line in lines):
        return None
    raw = b"".join(lines)
    try:
        table = pyarrow.json.read_json(
            pa.py_buffer(raw),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(raw) + 1),
            pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    except (pa.ArrowException, OverflowError):
        return None
    found = table.combine_chunks().to_batches()
    return found[0] if len(found) == 1 and found[0].num_rows == len(lines) else None
