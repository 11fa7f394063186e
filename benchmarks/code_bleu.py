"""CodeBLEU of 2,000 pairs in which each reference recurs: ours, on one core and on all, against codebleu 0.7.0.

    python benchmarks/code_bleu.py [--pairs 2000] [--rounds 5]

Made-up programs of 20 to 45 lines; with ../shared/bench, those of the workload with known scores too. 100 references
with 20 predictions each: once all different from each other, so that ours has a new program to read for every pair,
and once as in rollouts, where many are copies. The two take turns, so that a change in the machine's load meets both;
times are CPU seconds of this process, but for the last part. A third of the pairs is enough for the package, whose
time does not depend on what came before. The scores are compared, too, where they do not change with the hash seed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from graders import codebleu
from graders.codebleu import analysis

Pairs = list[tuple[str, str]]
_NAMES = ("total", "value", "count", "index", "result", "item", "text", "limit", "number", "answer", "best", "rest")
_BENCH = Path(__file__).resolve().parents[2] / "shared" / "bench" / "programs.json"


def block(dice: random.Random, depth: int, room: list[int]) -> list[str]:
    """A few statements, some with blocks of their own."""
    lines = []
    for _ in range(dice.randint(2, 4)):
        room[0] -= 1
        a, b, c = (dice.choice(_NAMES) for _ in range(3))
        simple = (
            f"{a} = {b} + {dice.randint(0, 9)}",
            f"{a} = {b} * {c}",
            f"{a} += len(str({b}))",
            f"print({a}, {b})",
            f"{a} = [{b} for {b} in range({c})]",
            f"{a}, {b} = {b}, {a}  # swapped",
            f"{a} = input('{b}? ')",
        )
        heads = (f"for {a} in range({b}):", f"while {a} < {b}:", f"if {a} > {b} and {c} != 0:", f"for {a} in {b}:")
        if depth < 3 and room[0] > 0 and dice.random() < 0.4:
            lines.append(dice.choice(heads))
            lines += [f"    {line}" for line in block(dice, depth + 1, room)]
            if lines[-1].startswith(" ") and dice.random() < 0.3 and "if " in lines[0]:
                lines += ["# or not", f"print({a})"]
        else:
            lines.append(dice.choice(simple))
    return lines


def program(dice: random.Random) -> str:
    """A made-up program: functions and a main part."""
    parts = []
    for _ in range(dice.randint(2, 3)):
        name, a, b = (dice.choice(_NAMES) for _ in range(3))
        body = ["'''What it does.'''", *block(dice, 1, [8]), f"return {a}"]
        parts += [f"def {name}_of({a}, {b}=1):", *(f"    {line}" for line in body), ""]
    return "\n".join([*parts, *block(dice, 1, [8])]) + "\n"


def changed(code: str, dice: random.Random, number: int) -> str:
    """A variant as a student's next attempt may be: a line less, two names swapped; no two are the same."""
    lines = code.split("\n")
    at = dice.randrange(len(lines))
    if not lines[at].endswith(":"):
        del lines[at]
    a, b = dice.sample(_NAMES, 2)
    return "\n".join(lines).replace(f"{a} =", f"{b} =") + f"\nprint({number})\n"


def workloads(count: int, dice: random.Random) -> dict[str, tuple[Pairs, Pairs]]:
    """For each workload the pairs of all different predictions, and those with copies."""
    sources = {"made-up programs": [program(dice) for _ in range(100)]}
    if _BENCH.is_file():
        programs = json.loads(_BENCH.read_text(encoding="utf-8"))["programs"]
        sources["programs of ../shared/bench"] = [one["code"] for one in programs][:100]
    made = {}
    for name, references in sources.items():
        each = count // len(references)
        different = [(code, changed(code, dice, n)) for code in references for n in range(each)]
        copies = [(a, b if n % 2 else a) for n, (a, b) in enumerate(different)]
        made[name] = (different, copies)
    return made


def ours(pairs: Pairs, workers: int = 1) -> list[codebleu.CodeBleu | None]:
    """With nothing remembered from before."""
    codebleu._known.clear()
    analysis.analyse.cache_clear()
    return list(codebleu.codebleu_many(pairs, workers=workers))


def theirs(pairs: Pairs) -> list[list[float]]:
    """codebleu 0.7.0, pair by pair as its documentation shows."""
    from codebleu import calc_codebleu

    return [list(calc_codebleu([reference], [prediction], "python").values()) for reference, prediction in pairs]


def one_core(pairs: Pairs, rounds: int) -> tuple[float, float]:
    """CPU milliseconds a pair, ours and theirs: medians over rounds that take turns, a part of the pairs each."""
    times: tuple[list[float], list[float]] = ([], [])
    size = len(pairs) // rounds
    for number in range(rounds):
        part = pairs[number * size : (number + 1) * size]
        for spent, way, some in ((times[0], ours, part), (times[1], theirs, part[::3])):
            begin = time.process_time()
            way(some)
            spent.append((time.process_time() - begin) * 1000 / len(some))
    return statistics.median(times[0]), statistics.median(times[1])


_SEEDED = """
import json, logging, sys
from codebleu import calc_codebleu
logging.disable(logging.WARNING)
print(json.dumps([list(calc_codebleu([a], [b], "python").values()) for a, b in json.load(sys.stdin)]))
"""


def worst_difference(pairs: Pairs) -> float:
    """The largest difference of any part from the package's under PYTHONHASHSEED=0."""
    done = subprocess.run(
        [sys.executable, "-c", _SEEDED],
        input=json.dumps(pairs), env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    worst = 0.0
    for found, expected in zip(ours(pairs), json.loads(done.stdout), strict=True):
        assert found is not None
        parts = (found.score, found.ngram, found.weighted_ngram, found.syntax, found.dataflow)
        worst = max(worst, *(abs(a - b) for a, b in zip(parts, expected, strict=True)))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.python_version()} on {platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f}")
    print("\n| pairs | ours, ms | codebleu 0.7.0, ms | ratio |\n|---|---|---|---|")
    made = workloads(options.pairs, random.Random(1))
    for name, (different, copies) in made.items():
        for pairs, words in ((different, "all predictions different"), (copies, "half of them copies")):
            mine, other = one_core(pairs, options.rounds)
            print(f"| {len(pairs)} of {name}, {words} | {mine:.2f} | {other:.2f} | {other / mine:.1f} |")
    for name, (different, _) in made.items():
        print(f"\nworst difference of a part, {name}, every 10th pair: {worst_difference(different[::10]):.1e}", end="")
    pairs = [pair for different, copies in made.values() for pair in different + copies]
    alone, together = [], []
    for _ in range(3):
        for spent, workers in ((alone, 1), (together, cores)):
            begin = time.perf_counter()
            ours(pairs, workers)
            spent.append(time.perf_counter() - begin)
    ratio = statistics.median(alone) / statistics.median(together)
    print(f"\n\nwall clock, {len(pairs)} pairs: {cores} processes are {ratio:.2f} times as fast as one, start included")


if __name__ == "__main__":
    main()
