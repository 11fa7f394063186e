"""Writes the made-up log: ``python -m simstudent.data.samples.pencilcode.generate`` makes all of its files anew.

A drawing is a program and the edits that led to it; a "student" goes through them in order, with numbers and colours of
their own, sometimes goes back a step, sometimes runs a program again without a change, sometimes stops early.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from string import Template

SEED = 11
STUDENTS = 30
COLOURS = ("red", "blue", "green", "purple", "orange", "tomato", "deepskyblue")

DRAWINGS: dict[str, tuple[str, ...]] = {
    "square": (
        "pen $colour\nfd $size\n",
        "pen $colour\nfd $size\nrt 90\nfd $size\n",
        "pen $colour\nfd $size\nrt 90\nfd $size\nrt 90\nfd $size\nrt 90\nfd $size\n",
        "pen $colour\nfor [1..4]\n  fd $size\nrt 90\n",
        "pen $colour\nfor [1..4]\n  fd $size\n  rt 90\n",
        "pen $colour, 5\nfor [1..4]\n  fd $size\n  rt 90\nfill $other\n",
    ),
    "flower": (
        "speed 10\npen $colour\n",
        "speed 10\npen $colour\nfor [1..6]\n  lt 60\n",
        "speed 10\npen $colour\npetal = ->\n  rt 60, $size\n  rt 120\n",
        "speed 10\npen $colour\npetal = ->\n  rt 60, $size\n  rt 120\n  rt 60, $size\nfor [1..6]\n  petal()\n",
        "speed 10\npen $colour\npetal = ->\n  rt 60, $size\n  rt 120\n  rt 60, $size\n  rt 120\n"
        "for [1..6]\n  petal()\n  rt 60\ndot $other, 20\n",
    ),
    "spiral": (
        "pen $colour\nfor n in [1..20]\n  fd n\n",
        "pen $colour\nfor n in [1..20]\n  fd n * 5\n  rt 90\n",
        "speed Infinity\npen $colour\nfor n in [1..$size]\n  fd n\n  rt 91\n",
        "speed Infinity\nfor n in [1..$size]\n  pen hsl(n * 3, 1, 0.5)\n  fd n\n  rt 91\n",
    ),
    "traffic light": (
        "dot black, $size\n",
        "box black, $size\ndot red\n",
        "box black, $size\ndot red, 40\njump 0, -50\ndot yellow, 40\njump 0, -50\ndot green, 40\n",
        "box black, $size\n# one light after the other\nfor c in [red, yellow, green]\n  dot c, 40\n  jump 0, -50\n",
    ),
    "quiz.js": (
        "pen($colour);\nwrite('What is 6 times 7?');\n",
        "write('What is 6 times 7?');\nreadnum('Answer', function(n) {\n  if (n == 42) write('Yes');\n});\n",
        "write('What is 6 times 7?');\nreadnum('Answer', function(n) {\n  if (n == 42) {\n    write('Yes');\n"
        "    dot($colour, $size);\n  } else {\n    write('No');\n  }\n});\n",
    ),
}
LONG = "# a big picture\n" + "".join(
    f"jumpto {7 * n % 100}, {11 * n % 90}\ndot {COLOURS[n % 7]}, {n}\n" for n in range(45)
)


@dataclass(frozen=True)
class Made:
    """A trace: states, times and actions."""

    student: str
    title: str
    programs: tuple[str, ...]
    times: tuple[str, ...]
    actions: tuple[str, ...]


def traces() -> list[Made]:
    """All traces, student by student."""
    chance = random.Random(SEED)
    found: list[Made] = []
    for number in range(STUDENTS):
        student = hashlib.md5(f"made-up {number}".encode()).hexdigest()
        for title in chance.sample(list(DRAWINGS), chance.randint(1, 3)):
            states = _states(chance, title)
            if not found:
                states.append(LONG[:1024])
            found.append(_timed(chance, student, title, states))
    return found


def _states(chance: random.Random, title: str) -> list[str]:
    names = {"colour": chance.choice(COLOURS), "other": chance.choice(COLOURS), "size": str(10 * chance.randint(4, 12))}
    states = [Template(state).substitute(names).removesuffix("\n") for state in DRAWINGS[title]]
    states = states[chance.randint(0, 1) : chance.randint(2, len(states))]
    if len(states) > 2 and chance.random() < 0.3:  # back a step
        states.insert(2, states[0])
    if chance.random() < 0.25:
        again = chance.randrange(len(states))
        states.insert(again, states[again])
    return states


def _timed(chance: random.Random, student: str, title: str, states: list[str]) -> Made:
    time = datetime(2019, 9, 2, 9) + timedelta(days=chance.randint(0, 1200), minutes=chance.randint(0, 400))
    times = []
    for _ in states:
        time += timedelta(seconds=chance.randint(4, 180))
        times.append(str(time))
    actions = ["save" if chance.random() < 0.2 else "run" for _ in states]
    return Made(student, title, tuple(states), tuple(times), tuple(actions))


def write(folder: Path) -> None:
    """Write the three forms of the log."""
    found = traces()
    _parquet(folder / "traces" / "train-00000-of-00001.parquet", found)
    with (folder / "events.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["username", "title", "program", "timestamp", "action"])
        for t in found:
            writer.writerows((t.student, t.title, *state) for state in zip(t.programs, t.times, t.actions, strict=True))
    cut = len(found[2].programs[-1]) // 2
    texts = [_text(t) + "<|endoftext|>" for t in found[:2]] + [_text(found[2])[:-cut]]
    held = [[text, t.student, t.title] for text, t in zip(texts, found, strict=False)]
    (folder / "rollouts.json").write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


def _text(t: Made) -> str:
    blocks = (f"CODE {n} ({time}):\n{code}" for n, (code, time) in enumerate(zip(t.programs, t.times, strict=True), 1))
    return t.title + "<mask>" * 8 + "<start>" + "\n".join(blocks)


def _parquet(path: Path, found: list[Made]) -> None:
    """A trace a row; every eighth is told in two rows."""
    import pyarrow
    import pyarrow.parquet

    table = []
    for number, t in enumerate(found):
        half = len(t.programs) // 2 if number % 8 == 7 else 0
        for part in (slice(0, half), slice(half, None)):
            if t.programs[part]:
                row = {"username": t.student, "title": t.title}
                table.append({**row, "programs": list(t.programs[part]), "timestamps": list(t.times[part])})
    path.parent.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), path, compression="zstd")


if __name__ == "__main__":
    write(Path(__file__).parent)
