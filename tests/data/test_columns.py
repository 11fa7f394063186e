"""Traces that go through an import as columns: the same dataset as row by row, whatever stands between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simstudent.data import blocks, columns, importing, rows
from simstudent.data.pieces import Piece
from simstudent.data.privacy import PrivacySection
from simstudent.data.rows import Skips
from simstudent.data.sources import pencilcode
from simstudent.data.sources.pencilcode import PencilCodeSource, TraceColumns
from simstudent.errors import SimstudentError

START = 1_500_000_000
CODES = ["", "a", "a\n", "a\n\n", "b", "fd 100\nrt 90", "x" * 1018, "x" * 1019, "\u00e9" * 700, "\u00e9" * 1019]
ODD_CODES = [None, "a\r\nb", "a\x00"]
TIMES = [
    START,
    START + 1,
    START + 86_400,
    START + 86_399,
    7_258_118_400,
    7_258_118_401,
    10**8,
    10**8 - 1,
    0,
    -1,
    10**12,
]
TEXTS = [
    "2019-09-02 09:00:00", "2019-09-02 09:00:01", "2019-09-02T09:00:00", "2019-09-02 09:00:00Z", "2019-09-02",
    "2019-02-29 09:00:00", "2020-02-29 23:59:59", "2019-09-02 24:00:00", "2019-09-02 09:00:60", "1969-01-01 00:00:00",
    "1500000000", "2019-09-02 09:00+01", "2019-09-02T09:00:0", "", " 2019-09-02 09:00:00",
]  # fmt: skip
NAMES = ["u1", " u1", "u2", "", " ", "True", "train", "\u00fc", None]


def traces(times: list[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of a made-up log: plain ones, and all kinds of others between them."""

    def row(count: int) -> st.SearchStrategy[dict[str, Any]]:
        plain = st.lists(st.sampled_from(CODES), min_size=count, max_size=count)
        ascending = st.lists(st.sampled_from(times[:2]), min_size=count, max_size=count).map(sorted)
        any_codes = st.one_of(
            plain, plain, plain, st.none(), st.lists(st.sampled_from([*CODES, *ODD_CODES]), max_size=4)
        )
        any_times = st.one_of(
            ascending, ascending, st.none(), st.lists(st.sampled_from([*times, None]), max_size=4),
            st.lists(st.sampled_from(times), min_size=count, max_size=count),
        )  # fmt: skip
        name = st.one_of(st.just("u3"), st.sampled_from(NAMES))
        return st.fixed_dictionaries({"username": name, "title": name, "programs": any_codes, "timestamps": any_times})

    return st.lists(st.integers(1, 4).flatmap(row), min_size=1, max_size=12)


def parquet(path: Path, held: list[dict[str, Any]], kind: Any) -> Path:
    text = pa.string()
    names = [("username", text), ("title", text), ("programs", pa.list_(text)), ("timestamps", pa.list_(kind))]
    pq.write_table(pa.Table.from_pylist(held, pa.schema(names)), path)
    return path


def jsonl(path: Path, held: list[Any]) -> Path:
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in held))
    return path


def staged(path: Path, stage: Path, **options: Any) -> Any:
    """What a unit is staged as, or the error."""
    source = PencilCodeSource(kind="pencilcode", files=path, **options)
    privacy = PrivacySection(key_file=stage.parent / "key")
    privacy.key_file.write_text("a key for tests, made up")  # type: ignore[union-attr]
    stage.mkdir(exist_ok=True)
    try:
        for number, unit in enumerate(pencilcode.units(source)):
            importing.read_unit(source, privacy, unit, stage, number, "")
    except SimstudentError as error:
        return str(error)
    found = {}
    for file in sorted(stage.iterdir()):
        if file.suffix == ".parquet":
            table = pq.ParquetFile(file)
            groups = [table.metadata.row_group(n).num_rows for n in range(table.num_row_groups)]
            found[file.name] = (table.read().to_pylist(), groups)
        else:
            found[file.name] = [json.loads(line) for line in file.read_text().splitlines() if file.suffix == ".jsonl"]
            if file.suffix == ".json":
                found[file.name] = json.loads(file.read_text())
        file.unlink()
    return found


def same(path: Path, folder: Path, **options: Any) -> Any:
    """What is staged as columns, having been seen to be what is staged row by row."""
    made = staged(path, folder / "made", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(pencilcode, "blocks")
        assert made == staged(path, folder / "rows", **options)
    return made


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many traces each run of columns held, as they come."""
    held: list[int] = []
    made = columns.Traces.rows

    def rows_of(self: columns.Traces, students: Any, source: str) -> Any:
        held.append(len(students))
        return made(self, students, source)

    monkeypatch.setattr(columns.Traces, "rows", rows_of)
    return held


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
@pytest.mark.parametrize("write", ["parquet", "jsonl"])
def test_columns_are_what_rows_are(kind: Any, write: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=40, deadline=None)
    @given(traces(TIMES if kind == pa.int64() else TEXTS), st.booleans(), st.booleans(), st.booleans())
    def check(held: list[dict[str, Any]], unchanged: bool, skip: bool, split: bool) -> None:
        folder = tmp_path_factory.mktemp("log")
        name = "train-00000-of-00001" if split else "log"
        path = parquet(folder / f"{name}.parquet", held, kind) if write == "parquet" else jsonl(
            folder / f"{name}.jsonl", held)  # fmt: skip
        same(path, folder, keep_unchanged=unchanged, on_bad_row="skip" if skip else "stop")

    check()


def plain(count: int, code: str = "x") -> list[dict[str, Any]]:
    return [
        {"username": f"u{n}", "title": "t", "programs": [f"{code}{n}", f"{code}{n}\n", "b"],
         "timestamps": [START + n, START + n, START + n + 90_000]}
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("write", [lambda path, held: parquet(path, held, pa.int64()), jsonl])
def test_only_odd_rows_go_one_by_one(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = plain(300)
    held[100]["timestamps"] = held[100]["timestamps"][::-1]
    held[101]["programs"] = ["a\r", "b", "c"]
    path = write(tmp_path / ("log.jsonl" if write is jsonl else "log.parquet"), held)
    runs = counting(monkeypatch)
    made = same(path, tmp_path)
    assert sum(runs) == 298
    assert made["unit-000000.json"]["notes"] == {"states equal to the one before left out": 298}
    assert made["unit-000000.keys.parquet"][0][102]["place"].endswith((", row 103", ", line 103"))
    states = made["unit-000000.parquet"][0][0]["submissions"]
    assert [(s["code"], s["time"]) for s in states] == [
        ("x0", "2017-07-14T02:40:00+00:00"), ("b", "2017-07-15T03:40:00+00:00"),
    ]  # fmt: skip


def test_row_groups_end_where_they_would_row_by_row(tmp_path: Path) -> None:
    made = same(parquet(tmp_path / "log.parquet", plain(300, "x" * 20_000), pa.int64()), tmp_path)
    assert made["unit-000000.parquet"][1] == made["unit-000000.keys.parquet"][1]
    assert len(made["unit-000000.parquet"][1]) == 2


@pytest.mark.parametrize(
    "odd",
    [
        b"{", b"", b"[1]", b"\xef\xbb\xbf{}", b'{"username": "a"}{"username": "b"}',
        b'{"username": "u", "username": "v"}', b'{"username": "a"}{"username": "b",', b'"title": "c"}',
        b'{"username": "\xff"}', b'{"title": "\\ud800"}', b'{"username": NaN}', b'{"x": "\xff"}', b'{"x": 1, "x": 2}',
        b'{"x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", b'{"username": ' + b"[" * 20_000, b'{"timestamps": [01]}',
        b'{"username": "a", "title": "t", "programs": "one", "timestamps": 1500000000}',
        b'{"username": "a", "title": "t", "programs": ["one"], "timestamps": [1500000000.5]}',
        b'{"username": "a", "title": "t", "programs": ["one"], "timestamps": [true]}',
        b'{"username": "a", "title": "t", "programs": ["\\ud83d\\ude00"], "timestamps": [1500000000], "x": "further"}',
    ],
)  # fmt: skip
def test_lines_that_are_no_plain_trace_are_read_as_ever(odd: bytes, tmp_path: Path) -> None:
    held: list[Any] = plain(3)
    for number, lines in enumerate([[*held, odd, *held], [odd, *held], [*held, odd]]):
        path = jsonl(tmp_path / f"{number}.jsonl", lines)
        assert same(path, tmp_path, on_bad_row="skip") is not None
        same(path, tmp_path)


def test_texts_that_are_no_utf8_in_a_table_are_an_error(tmp_path: Path) -> None:
    held = plain(3)
    whole = pa.Table.from_pylist(held)
    for name, kind in (("username", pa.string()), ("programs", pa.list_(pa.string()))):
        bad = pa.array([b"\xff"] * 3 if name == "username" else [[b"\xed\xa0\x80"] * 3] * 3)
        column = (
            bad.view(kind)
            if name == "username"
            else pa.ListArray.from_arrays(bad.offsets, bad.values.view(pa.string()))
        )
        path = tmp_path / f"{name}.parquet"
        pq.write_table(whole.set_column(whole.schema.get_field_index(name), name, column), path)
        assert "not a readable Parquet file after row 0" in same(path, tmp_path)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"columns": TraceColumns(actions="title")}, "log.parquet"),
        ({"columns": TraceColumns(more=("title",))}, "log.parquet"),
        ({"samples": "first"}, "log.parquet"),
        ({"columns": TraceColumns(times=None)}, "log.parquet"),
    ],
)
def test_what_a_recipe_asks_for_beyond_a_trace(options: dict[str, Any], name: str, tmp_path: Path) -> None:
    same(parquet(tmp_path / name, plain(5), pa.int64()), tmp_path, on_bad_row="skip", **options)


def test_times_are_text_as_the_rows_have_it(tmp_path: Path) -> None:
    draw = [10**8 + n * 7_919_003 for n in range(900)]
    held = [{"username": f"u{n}", "title": "t", "programs": ["a", "b"], "timestamps": [at, at + n * 1000]}
            for n, at in enumerate(draw)]  # fmt: skip
    same(parquet(tmp_path / "log.parquet", held, pa.int64()), tmp_path)


def test_scrubbed_programs_go_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "log.parquet", [{**plain(1)[0], "programs": ["# a@b.org", "b", "c"]}], pa.int64())
    runs = counting(monkeypatch)
    source = PencilCodeSource(kind="pencilcode", files=path)
    importing.run(source, PrivacySection(ids="keep", scrub=("emails",)), tmp_path / "made")
    assert runs == []
    assert b"a@b.org" not in b"".join(p.read_bytes() for p in (tmp_path / "made").rglob("*.parquet"))


def test_a_block_reads_its_rows_as_the_reader_of_rows_does(tmp_path: Path) -> None:
    (unit,) = rows.units([jsonl(tmp_path / "log.jsonl", [*plain(3), b"{", b""])])
    told: Iterator[Any] = iter(list(rows.rows(unit)))
    for block in blocks.blocks(unit):
        for place, row in zip(block.places, block.rows(0, len(block.places)), strict=True):
            assert (place, dict(row)) == (lambda pair: (pair[0], dict(pair[1])))(next(told))
    assert next(told, None) is None
    found = list(pencilcode.pieces(PencilCodeSource(kind="pencilcode", files=unit.path), unit, {}, Skips("skip")))
    assert all(isinstance(piece, Piece) for piece in found)
