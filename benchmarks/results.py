"""The runs behind docs/results.md, by one command: stages, rollouts, students' vectors, trace models, probes, recovery.

    export NEWCALEDONIA=/data/newcaledonia ITAP=/data/itap PENCILCODE=/data/pencilcode_generated
    python benchmarks/results.py --to results --gpus 2 [--model ID] [--only dpo roll] [--set sft.epochs=1] [--list]
    python benchmarks/results.py --to trial --gpus 0 --trial --model tiny-random-model   # does all of it run here?

Each job is a command of ``simstudent`` on a recipe of this repository with a few keys changed. Jobs run side by side
where what they need is there and the GPUs have room for what each is said to take; ``alone`` keeps a GPU to itself,
for what is timed. A job that has ended well is not run again, so the same call goes on where an earlier one stopped.
Every job has a log and a line in ``steps.txt``. Data that no variable names leave out their jobs. ``--trial`` keeps to
a few rows and starts.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PLAIN = {"model.quantization": "none", "rollout.engine": "vllm", "rollout.gpu_memory": 0.3}
ANSWERS = {"dialogue.answer_tokens": 384}
CELLS = {"by": "cells", "unseen_students": 0.3, "unseen_assignments": 0.1, "test": 0.2, "validation": 0.1}
VECTORS = {
    "students": {"kind": "table", "dropout": 0.1, "learning_rate": 0.03},
    "data.split": CELLS,
    "sft.packing": True,
}
ITAP = {"sft.batch_size": 2, "sft.micro_batch_size": 2, "sft.epochs": 8}
TRACES = {"sft.epochs": 4, "sft.best": "last", "sft.batch_size": 16, "sft.micro_batch_size": 16}
PAPER_DPO = {"dpo.pairs": {"grade": 1.0}, "dpo.learning_rate": 1e-5, "dpo.micro_batch_size": 4, "dpo.evaluations": 1}
DAPO = {"dapo.limit": 320, "dapo.gradient_checkpointing": True, "dapo.micro_batch_size": 8, "dapo.vllm_memory": 0.2}
TRIAL = {"sft.limit": 8, "sft.epochs": 1, "dpo.limit": 8, "dapo.limit": 8, "dapo.filter": False, "rollout.limit": 3}
MODELLESS = "repeat-last,nearest,random,oracle,constant-0,constant-0.5,reference"


@dataclass(frozen=True, slots=True)
class Job:
    """A command of ``simstudent``. ``run:NAME`` in it stands for that job's run folder; ``gib`` of a GPU's memory."""

    name: str
    command: str
    after: Sequence[str] = ()
    gib: int = 20
    alone: bool = False
    base: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    data: str = "NEWCALEDONIA"


def jobs(trial: bool) -> list[Job]:
    """All of them, the most wanted first."""
    few, probes = (
        ("--limit 3", "--limit 60 --folds 3 --resamples 100") if trial else ("", "--limit 200 --resamples 500")
    )
    adapt = "--k 1,4,8 --seeds 1 --rollouts " + (
        "0 --shuffles 2 --epochs 1" if trial else "150 --shuffles 10 --epochs 10"
    )
    cooled = "--temperature 0" if trial else "--temperature 0,0.8"
    roll = f"rollout --run run:sft --methods base,sft,{MODELLESS} {cooled}"
    made = [
        Job("sft", "sft", base="newcaledonia", changes=ANSWERS),
        Job("para", "sft", base="newcaledonia", changes=ANSWERS | {"dialogue.feedback": "none"}),
        Job("dpo", "dpo --from run:sft", ["sft"], 40, base="newcaledonia", changes=ANSWERS | PAPER_DPO),
        Job("mix", "dpo --from run:sft", ["sft"], 20, base="newcaledonia", changes=ANSWERS | {"dpo.evaluations": 1}),
        Job("dapo", "dapo --from run:sft", ["sft"], 30, True, base="newcaledonia", changes=ANSWERS | DAPO),
        Job("roll", f"{roll} --adapters dpo=run:dpo mix=run:mix dapo=run:dapo", ["sft", "dpo", "mix", "dapo"], 30),
        Job("roll-para", f"rollout --run run:para --methods sft,repeat-last {cooled}", ["para"], 30),
    ]
    for name, data, changes in (("newcaledonia", "NEWCALEDONIA", {"sft.epochs": 6}), ("itap", "ITAP", ITAP)):
        v = f"{name}-students"
        recover = f"recover run:{v} --split test --temperature 0.7 --samples {1 if trial else 2} --attempts 10 {few}"
        made += [
            Job(v, "sft", base=name, changes=VECTORS | changes, data=data),
            Job(f"adapt-{name}", f"adapt run:{v} {adapt}", [v], 40, data=data),
            Job(f"probe-{name}", f"probe run:{v} --split test --by student {probes}", [v], 10, data=data),
            Job(f"recover-{name}", recover, [v], 30, data=data),
        ]
    for variant in ("trace", "last", "synthetic"):
        changes = TRACES | {"data.variant": variant}
        made.append(Job(variant, "sft", base="traces-generated", changes=changes, data="PENCILCODE"))
    of_all = "run:trace run:last run:synthetic"
    samples = "--samples 1" if trial else "--samples 5"
    return [
        *made,
        Job("behaviour", f"behaviour {of_all} {samples} {few}", ["trace", "last", "synthetic"], 30, data="PENCILCODE"),
        Job("probe-trace", f"probe run:trace --by trajectory {probes}", ["trace"], 10, data="PENCILCODE"),
        Job("recover-trace", f"recover run:trace --after 1,60 {few}", ["trace"], 30, data="PENCILCODE"),
    ]


def recipe(job: Job, args: argparse.Namespace) -> Path:
    """The job's recipe, written to ``recipes/`` of the results."""
    held = yaml.safe_load((ROOT / "recipes" / f"{job.base}.yaml").read_text(encoding="utf-8"))
    own = {"name": job.name, **({"model.id": args.model} if args.model else {})}
    given = {key: yaml.safe_load(value) for key, value in (pair.split("=", 1) for pair in args.set)}
    for key, value in (PLAIN | job.changes | own | (TRIAL if args.trial else {}) | given).items():
        *path, last = key.split(".")
        section = held
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    written: Path = args.to / "recipes" / f"{job.name}.yaml"
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(yaml.safe_dump(held, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return written


def run_of(name: str, to: Path) -> Path | None:
    """The newest run folder of a job."""
    found = sorted((to / "runs").glob(f"{name}-2*"))
    return found[-1] if found else None


def command(job: Job, args: argparse.Namespace) -> list[str]:
    verb, *rest = job.command.split()
    words = [part for word in rest for part in [_named(word, args.to)] if part]
    given = [str(recipe(job, args))] if job.base else []
    runs = ["--runs", str(args.to / "runs")] if verb in ("sft", "dpo", "dapo", "rollout") else []
    return [sys.executable, "-m", "simstudent", verb, *given, *words, *runs]


def _named(word: str, to: Path) -> str:
    before, colon, name = word.partition("run:")
    return f"{before}{run_of(name, to)}" if colon else word


@dataclass(slots=True)
class Started:
    job: Job
    gpu: int | None
    process: subprocess.Popen[bytes]
    at: float


def room(job: Job, running: Sequence[Started], args: argparse.Namespace) -> int | None:
    """A GPU for the job: that with most memory left, or None. Without GPUs, one job at a time."""
    if not args.gpus:
        return None if running else 0
    left = {}
    for gpu in range(args.gpus):
        here = [s.job for s in running if s.gpu == gpu]
        if not any(j.alone for j in here) and not (job.alone and here):
            left[gpu] = args.gib - sum(j.gib for j in here)
    best = max(left, key=lambda gpu: left[gpu], default=None)
    return best if best is not None and left[best] >= job.gib else None


def work(wanted: Sequence[Job], args: argparse.Namespace) -> int:
    """Run all jobs; the number of those that failed or could not start."""
    began = time.monotonic()
    done = {path.name for path in (args.to / "done").glob("*")}
    failed: set[str] = set()
    running: list[Started] = []
    waiting = [job for job in wanted if job.name not in done]

    def say(text: str) -> None:
        line = f"{time.monotonic() - began:6.0f} s  {text}"
        print(line, flush=True)
        with (args.to / "steps.txt").open("a", encoding="utf-8") as steps:
            steps.write(line + "\n")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no job is left behind
    try:
        while waiting or running:
            for job in list(waiting):
                if any(name in failed for name in job.after):
                    say(f"{job.name}: not started, what it needs failed")
                elif any(name not in done for name in job.after) or (gpu := room(job, running, args)) is None:
                    continue
                else:
                    running.append(start(job, gpu, args))
                    say(f"{job.name}: started" + (f" on GPU {gpu}" if args.gpus else ""))
                    waiting.remove(job)
                    continue
                failed.add(job.name)
                waiting.remove(job)
            for s in [s for s in running if s.process.poll() is not None]:
                running.remove(s)
                code, seconds = s.process.returncode, time.monotonic() - s.at
                say(f"{s.job.name}: {'done' if code == 0 else f'FAILED (see logs/{s.job.name}.log)'}, {seconds:.0f} s")
                (failed if code else done).add(s.job.name)
                if code == 0:
                    (args.to / "done" / s.job.name).touch()
            time.sleep(0.5)
    finally:
        for s in running:
            os.killpg(s.process.pid, signal.SIGTERM)
    return len(failed)


def start(job: Job, gpu: int, args: argparse.Namespace) -> Started:
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "PYTHONUNBUFFERED": "1"}
    if args.gpus:
        env["CUDA_VISIBLE_DEVICES"] = str(gpu)
    with (args.to / "logs" / f"{job.name}.log").open("wb") as log:
        process = subprocess.Popen(
            command(job, args), stdout=log, stderr=log, env=env, cwd=ROOT, start_new_session=True
        )
    return Started(job, gpu, process, time.monotonic())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="folder of recipes, runs, logs")
    parser.add_argument("--gpus", type=int, default=1, help="0: a CPU, one job at a time")
    parser.add_argument("--gib", type=int, default=76, help="memory of each GPU that jobs may take together")
    parser.add_argument("--model", help="over the recipes' model.id")
    parser.add_argument("--only", nargs="+", metavar="JOB", help="these and what they need")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="keys of all recipes")
    parser.add_argument("--trial", action="store_true", help="a few rows and starts of everything")
    parser.add_argument("--list", action="store_true", help="say what would run")
    args = parser.parse_args()
    args.to = args.to.resolve()
    every = {job.name: job for job in jobs(args.trial)}
    names = list(every)
    if args.only:
        if unknown := sorted(set(args.only) - set(names)):
            parser.error(f"no job {', '.join(unknown)}; there are {', '.join(names)}")
        names = list(args.only)
        for name in names:  # grows by what they need
            names += [needed for needed in every[name].after if needed not in names]
    without = sorted({job.data for job in every.values() if job.name in names and not os.environ.get(job.data)})
    for variable in without:
        print(f"{variable} is not set: its jobs are left out")
    wanted = [job for job in every.values() if job.name in names and job.data not in without]
    if args.list:
        for job in wanted:
            print(f"{job.name:22} {job.command}")
        return 0
    for folder in ("done", "logs", "runs"):
        (args.to / folder).mkdir(parents=True, exist_ok=True)
    return min(1, work(wanted, args))


if __name__ == "__main__":
    raise SystemExit(main())
