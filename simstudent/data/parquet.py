"""Writing Parquet files of programs: fast, in bounded memory, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import accumulate, chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

_GROUP = 4 << 20  # characters of programs in a row group: what a reader holds at once
_FAST: dict[str, Any] = {"compression": "lz4", "use_dictionary": False, "write_statistics": False}
# Programs are hardly ever equal: a dictionary of them, and their extremes, cost time for nothing. Zstandard (level 1)
# made parts of made-up traces a quarter smaller, and writing them took half as long again.


class Rows:
    """A Parquet file being written: row groups of bounded size, and whole under its name or not there at all."""

    def __init__(self, path: Path, schema: pyarrow.Schema) -> None:
        import pyarrow.parquet

        self.path, self.schema = path, schema
        self.partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        self.count = 0
        self._held: list[Mapping[str, Any]] = []
        self._columns: list[pyarrow.RecordBatch] = []
        self._size = 0
        self._writer = pyarrow.parquet.ParquetWriter(self.partial, schema, write_page_checksum=True, **_FAST)

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        self._writer.close()
        if kind is None:
            self.partial.replace(self.path)
        else:
            self.partial.unlink(missing_ok=True)

    def add(self, row: Mapping[str, Any], size: int) -> bool:
        """Add a row of about ``size`` bytes. Whether enough are held for a row group: then `flush`."""
        self._held.append(row)
        self._size += size
        return self._size >= _GROUP

    def fit(self, sizes: np.ndarray[Any, Any]) -> int:
        """How many further rows of so many bytes each make a row group full, or are all there are."""
        room = max(1, _GROUP - self._size)
        return min(len(sizes), int(sizes.cumsum().searchsorted(room)) + 1)

    def add_columns(self, batch: pyarrow.RecordBatch, size: int) -> bool:
        """`add` rows that are columns already."""
        self._settle()
        self._columns.append(batch)
        self._size += size
        return self._size >= _GROUP

    def flush(self) -> None:
        """Write what is held as a row group."""
        import pyarrow

        self._settle()
        if self._columns:
            self._writer.write_table(pyarrow.Table.from_batches(self._columns, self.schema))
            self.count += sum(batch.num_rows for batch in self._columns)
            self._columns, self._size = [], 0

    def _settle(self) -> None:
        """Make columns of the rows that are held."""
        import pyarrow

        if self._held:
            held, self._held = self._held, []
            columns = [_column([row.get(field.name) for row in held], field.type) for field in self.schema]
            self._columns.append(pyarrow.RecordBatch.from_arrays(columns, schema=self.schema))

    def add_batch(self, batch: pyarrow.RecordBatch) -> None:
        """Write rows that are columns already, as a row group."""
        self._writer.write_batch(batch)
        self.count += batch.num_rows


def _column(values: list[Any], kind: pyarrow.DataType) -> pyarrow.Array:
    """``values`` as a column: what ``pyarrow.array`` makes, in half the time for lists of records."""
    import pyarrow as pa

    if not (pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)) or None in values:
        return pa.array(values, kind)
    offsets = pa.array([0, *accumulate(map(len, values))], pa.int32())
    records, fields = list(chain.from_iterable(values)), list(kind.value_type)
    held = [_column([record[field.name] for record in records], field.type) for field in fields]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(held, fields=fields), type=kind)
