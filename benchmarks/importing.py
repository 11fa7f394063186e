"""How fast a large log is imported, next to just reading it, and in how much memory.

    python benchmarks/importing.py                      # 0.5 GB of Parquet and of JSONL
    python benchmarks/importing.py --gb 4 --shape parquet

Writes a made-up log of the shape of Pencil Code's card (username, title, programs, timestamps: a trace a row; nobody
wrote these programs), or with ``--shape rows`` a table with a submission a row in order of time, so that every
trajectory has to be brought together. Reads it plainly in one process (pyarrow to columns and to Python objects;
`json.loads` of every line), reads and writes it plainly (the same columns to an LZ4 Parquet file: whatever makes a
dataset of it does at least that), imports it with one process per core, and tells MB/s by the wall clock and by CPU
seconds, with the most memory that all processes held together (RSS from /proc, sampled; shared pages count in each).
Everything is deleted in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REAL = 248e9  # bytes of the hub's Pencil Code set


def traces(size: float, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Made-up traces of about ``size`` bytes: programs that grow line by line, some lines changed again."""
    draw, made, number = random.Random(seed), 0.0, 0
    words = ["fd", "rt", "lt", "bk", "pen", "dot", "box", "await", "speed", "label", "slide", "jump"]
    colours = ["red", "blue", "green", "gold", "purple", "orange", "black", "skyblue"]
    while made < size:
        lines: list[str] = []
        programs, times = [], []
        at = 1_400_000_000 + draw.randrange(300_000_000)
        for _ in range(draw.randrange(20, 110)):
            new = [f"{draw.choice(words)} {draw.choice(colours)}, {draw.randrange(500)}" for _ in range(3)]
            lines = (lines + new)[-45:]
            lines[draw.randrange(len(lines))] = new[0]
            at += draw.randrange(1, 90)
            programs.append("\n".join(lines))
            times.append(at)
        made += sum(map(len, programs)) + 300
        number += 1
        yield {
            "username": f"user{draw.getrandbits(48):012x}",
            "title": f"drawing{draw.randrange(100_000)}",
            "programs": programs,
            "timestamps": times,
        }


def submissions(size: float) -> Iterator[dict[str, Any]]:
    """The same as a row a state, hundreds of students at once."""
    open_rows: list[tuple[dict[str, Any], int]] = []
    source, draw = traces(size), random.Random(2)
    while True:
        while len(open_rows) < 300 and (trace := next(source, None)) is not None:
            open_rows.append((trace, 0))
        if not open_rows:
            return
        place = draw.randrange(len(open_rows))
        trace, n = open_rows[place]
        yield {"student": trace["username"], "assignment": trace["title"], "code": trace["programs"][n],
               "time": trace["timestamps"][n]}  # fmt: skip
        if n + 1 < len(trace["programs"]):
            open_rows[place] = (trace, n + 1)
        else:
            open_rows.pop(place)


def write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")
        return
    import pyarrow
    import pyarrow.parquet

    writer, held = None, []
    for row in rows:
        held.append(row)
        if len(held) == 500:
            batch = pyarrow.RecordBatch.from_pylist(held)
            writer = writer or pyarrow.parquet.ParquetWriter(path, batch.schema)
            writer.write_batch(batch)
            held = []
    assert writer is not None
    if held:
        writer.write_batch(pyarrow.RecordBatch.from_pylist(held, writer.schema))
    writer.close()


def read_columns(path: Path) -> None:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20) as file:
        for _ in file.iter_batches(batch_size=256, use_threads=False):
            pass


def read_objects(path: Path) -> None:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20) as file:
        for batch in file.iter_batches(batch_size=256, use_threads=False):
            batch.to_pylist()


def copy(path: Path) -> None:
    """What is read as columns, JSONL by pyarrow's own reader, is written as it is."""
    import pyarrow
    import pyarrow.json
    import pyarrow.parquet

    def batches() -> Iterator[Any]:
        if path.suffix == ".parquet":
            with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20) as file:
                yield from file.iter_batches(batch_size=256, use_threads=False)
            return
        with path.open("rb") as file:
            while raw := file.read(4 << 20):
                raw += file.readline()
                options = pyarrow.json.ReadOptions(use_threads=False, block_size=len(raw) + 1)
                yield from pyarrow.json.read_json(pyarrow.py_buffer(raw), options).to_batches()

    writer = None
    for batch in batches():
        writer = writer or pyarrow.parquet.ParquetWriter(
            path.with_name("copy"), batch.schema, compression="lz4", use_dictionary=False, write_statistics=False
        )
        writer.write_batch(batch)
    assert writer is not None
    writer.close()
    path.with_name("copy").unlink()


def read_json(path: Path) -> None:
    with path.open("rb") as file:
        for line in file:
            json.loads(line)


class Memory(threading.Thread):
    """The most RSS of all processes below this one together, sampled ten times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.processes, self.done = 0, 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.1):
            found = [self._rss(pid) for pid in self._family()]
            if sum(found) > self.most:
                self.most, self.processes = sum(found), len(found)

    def _family(self) -> list[int]:
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue
                parents[int(entry.name)] = int(stat[stat.rindex(")") + 2 :].split()[1])
        found = {os.getpid()}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found - {os.getpid()})

    def _rss(self, pid: int) -> int:
        try:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the wall clock, and of CPU, with that of processes that have ended."""

    def cpu() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(use.ru_utime + use.ru_stime for use in both)

    wall, used = time.perf_counter(), cpu()
    run()
    return time.perf_counter() - wall, cpu() - used


def measure(folder: Path, shape: str, gigabytes: float) -> None:
    path = folder / ("log.parquet" if shape == "parquet" else "log.jsonl")
    # Parquet is compressed: sizes and speeds are of the text in it.
    text = gigabytes * 1e9
    write(path, submissions(text) if shape == "rows" else traces(text))
    source = (
        {"kind": "table", "submissions": str(path), "columns": {"time": "time"}}
        if shape == "rows"
        else {"kind": "pencilcode", "files": str(path)}
    )
    (folder / "key").write_text("a key for a benchmark, made up")
    data = {"source": source, "privacy": {"key_file": str(folder / "key")}}
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({"name": "benchmark", "model": {"id": "none"}, "data": data}))
    command = [sys.executable, "-m", "simstudent", "data", "import", str(recipe), "--to", str(folder / "made")]
    print(f"{shape}: {text / 1e9:g} GB of programs, {path.stat().st_size / 1e9:.2f} GB on disk", flush=True)
    plain = [("json.loads", read_json)] if path.suffix == ".jsonl" else [
        ("pyarrow, to columns", read_columns), ("pyarrow, to Python objects", read_objects)]  # fmt: skip
    plain.append(("reading and writing columns", copy))
    rates = {}
    for name, read in plain:
        wall, cpu = timed(lambda read=read: read(path))
        rates[name] = text / cpu
        print(f"  {name:<28} {text / wall / 1e6:7.0f} MB/s, {text / cpu / 1e6:7.0f} MB per CPU second", flush=True)
    memory = Memory()
    memory.start()
    wall, cpu = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    memory.done.set()
    memory.join()
    print(f"  {'import':<28} {text / wall / 1e6:7.0f} MB/s, {text / cpu / 1e6:7.0f} MB per CPU second")
    print(
        f"  cores used: {cpu / wall:.2f}; most memory: {memory.most / 2**20:,.0f} MiB in {memory.processes} processes"
    )
    for name, rate in rates.items():
        print(f"  import / {name}: {text / cpu / rate:.0%} by CPU seconds")
    print(f"  at this rate, 248 GB take {REAL / (text / wall) / 3600:.1f} hours here", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=0.5, help="text of the log, in GB")
    parser.add_argument("--shape", choices=["parquet", "jsonl", "rows"], action="append")
    parser.add_argument("--folder", help="where (default: the folder for temporary files)")
    args = parser.parse_args()
    need = 4 * args.gb * 1e9
    for shape in args.shape or ["parquet", "jsonl"]:
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            free = shutil.disk_usage(name).free
            if free < need:
                raise SystemExit(f"{name}: {free / 1e9:.0f} GB are free, {need / 1e9:.0f} are needed")
            measure(Path(name), shape, args.gb)


if __name__ == "__main__":
    main()
