"""Error recovery and control (Ross et al. 2025, section 6): does a student get out of a program that fails, and how?

From one failing state in the middle of each held-out trajectory, drawn by a seeded hash, a model goes on under several
conditions: as its *true* student, as a *strong* one, or as *nobody* (where it was trained with students' vectors); and,
where submissions have a time header, as if the next one came so many seconds later. Trace models write states until
their end token; models of dialogues hand in programs and get feedback until one is right, at most ``attempts`` times.

``<run>/recovery/<split>-<time>/`` holds ``settings.json``, ``starts.jsonl`` (where they begin, what the student really
did) and ``<condition>.jsonl``, one recovery a line, resumable.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graders import Grade, Pool
from simstudent.data import regrade
from simstudent.data.load import prepare
from simstudent.data.records import Assignment
from simstudent.data.trace_text import END, parse
from simstudent.dialogue.encode import Encoder
from simstudent.dialogue.traces import block_header, title_line
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, load_recipe
from simstudent.rollout.engine import Engine, Sampling
from simstudent.rollout.failing import Condition, Failing, People, conditions, failing_starts, people_of
from simstudent.rollout.folder import fresh_or_newest, unfinished
from simstudent.rollout.opening import encoder_of, engines_here
from simstudent.rollout.schedule import shard_of, side_by_side
from simstudent.rollout.simulate import Start, language_model
from simstudent.rollout.traces import TraceStart, sample_trace, without_repeats
from simstudent.rollout.whole import work_through
from simstudent.runs import append_line, read_records, trained, weights_of, whole_model, with_own_model, write_lines
from simstudent.training.stages import check_data

STARTS = "starts"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a model made of a failing program: the programs it wrote, and whether each is right (grade 1).

    ``ended``: it came to an end of its own (a full grade, an end token, giving up). ``error``: engine or grader failed.
    """

    key: str
    condition: str
    student: str
    programs: tuple[str, ...]
    grades: tuple[float, ...]
    ended: bool
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Recovery:
        return cls(**{**raw, "programs": tuple(raw["programs"]), "grades": tuple(raw["grades"])})


def run_recovery(
    run: Path,
    overrides: Mapping[str, Any],
    *,
    after: Sequence[float],
    attempts: int,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Recover from every failing start of the split under every condition, and return the folder.

    ``overrides``: dotted keys over the run's recipe. Raises SimstudentError for a run that is not trained, or when no
    trajectory of the split fails in its middle.
    """
    if not trained(run):
        raise SimstudentError(f"{run}: no finished training there (simstudent sft RECIPE)")
    recipe = load_recipe(run / "recipe.yaml", dict(overrides))
    r = recipe.rollout
    if len(r.temperatures) != 1:
        raise SimstudentError("recoveries are sampled at one temperature: give one (--temperature)")
    if r.engine == "openai":
        raise SimstudentError("a chat server has not the run's model: set rollout.engine: vllm or transformers")
    data = prepare(recipe.data, recipe.seed, grader=recipe.grader)
    check_data(run, data)
    people = people_of(run, data)
    asked = conditions(recipe, people is not None, after)
    with regrade.open_pool(recipe.grader) as pool:
        starts = failing_starts(recipe, data, pool, None if people is None else people.roster, say)
        if not starts:
            raise SimstudentError(f"no {r.split} trajectory has a failing program before its last one")
        decide = ("split", "limit", "samples", "temperature", "top_p")
        settings = {
            "data_hash": data.hash,
            "seed": recipe.seed,
            "conditions": [c.name for c in asked],
            "attempts": attempts,
            "strong": None if people is None else people.strong,
            **{name: r.model_dump(mode="json")[name] for name in decide},
        }
        folder = fresh_or_newest(run / "recovery", r.split, settings, resume)
        write_lines(folder / f"{STARTS}.jsonl", (s.to_dict() for s in starts))
        say(f"{len(starts)} starts from programs that fail; conditions: {', '.join(c.name for c in asked)}")
        if people is not None:
            count = sum(t.student == people.strong for t in data.sides["train"])
            say(f"The strong student made {count} training trajectories")
        asyncio.run(_all(recipe, run, starts, people, asked, attempts, folder, pool, say))
    return folder


@dataclass(frozen=True, slots=True)
class _Player:
    """What goes on from a start: the model under one condition."""

    recipe: Recipe
    condition: Condition
    engines: Sequence[Engine]
    encoder: Encoder
    adapter: str | None
    token: Callable[[str], int] | None
    attempts: int
    pool: Pool

    def engine(self, start: Failing) -> Engine:
        """The copy of the model that a trajectory always stays with."""
        return self.engines[shard_of(start.trajectory.key, len(self.engines))]


async def _all(
    recipe: Recipe,
    run: Path,
    starts: Sequence[Failing],
    people: People | None,
    asked: Sequence[Condition],
    attempts: int,
    folder: Path,
    pool: Pool,
    say: Callable[[str], None],
) -> None:
    waiting = [(c, todo) for c in asked if (todo := unfinished(folder / f"{c.name}.jsonl", starts))]
    if not waiting:
        return
    adapters = {} if whole_model(run) else {"adapter": weights_of(run)}
    recipe = with_own_model(recipe, run)
    encoder, adapter = encoder_of(recipe, run), "adapter" if adapters else None
    async with engines_here(recipe, adapters, say) as engines:
        for c, todo in waiting:
            token = None if people is None else c.token(people.roster, people.strong)
            p = _Player(recipe, c, engines, encoder, adapter, token, attempts, pool)
            await _condition(p, todo, folder / f"{c.name}.jsonl", say)


async def _condition(p: _Player, todo: Sequence[Failing], path: Path, say: Callable[[str], None]) -> None:
    """Every start under one condition, at most ``rollout.concurrency`` at once, each written down as it ends."""
    go_on = _trace if p.recipe.dialogue.format == "trace" else _dialogue
    queue, failed = iter(todo), 0

    async def work() -> None:
        nonlocal failed
        for start in queue:
            made = await go_on(start, p)
            append_line(path, made.to_dict())
            failed += made.error is not None

    path.touch()
    await side_by_side(work, min(p.recipe.rollout.concurrency * len(p.engines), len(todo)))
    told = f"; {failed} FAILED (see 'error' in {path.name}; --resume runs them again)" if failed else ""
    say(f"  {p.condition.name}: {len(todo)} recoveries{told}")


async def _trace(start: Failing, p: _Player) -> Recovery:
    """The rest of a trace as the model writes it. Of its programs the first ``attempts`` count."""
    states = start.trajectory.submissions[: start.t]
    header = block_header(start.t + 1, later(states[-1].time, p.condition.after or 0.0) or "")
    begun = TraceStart(start.trajectory.student, start.assignment, states, header, start.sample)
    r = p.recipe.rollout
    options: dict[str, Any] = {"temperature": r.temperatures[0], "top_p": r.top_p, "token": p.token}
    made = await sample_trace(begun, p.engine(start), p.encoder, adapter=p.adapter, seed=p.recipe.seed, **options)
    if made.error is not None:
        return Recovery(start.key, p.condition.name, begun.student, (), (), False, made.error)
    text = title_line(start.assignment) + header + made.text[len(begun.given) :] + END * made.complete
    programs = without_repeats(parse(text), states[-1].code.removesuffix("\n")).programs[: p.attempts]
    grades = await asyncio.gather(*(p.pool.grade_async(code, start.problem) for code in programs))
    broken = next((g.message for g in grades if g.status == "grader_error"), None)
    error = None if broken is None else f"the grader failed: {broken}"
    scores = tuple(g.score for g in grades)
    return Recovery(start.key, p.condition.name, begun.student, programs, scores, made.complete, error)


async def _dialogue(start: Failing, p: _Player) -> Recovery:
    """Programs handed in one after another, each graded and answered."""
    look, r, seed = p.recipe.dialogue, p.recipe.rollout, p.recipe.seed
    sampling = Sampling(p.encoder.stop_ids, look.answer_tokens, r.temperatures[0], r.top_p)
    student = language_model(
        p.engine(start), p.encoder, sampling, adapter=p.adapter, seed=seed, look=look, token=p.token
    )

    async def grade(code: str | None, assignment: Assignment) -> Grade:
        return await p.pool.grade_async(code, start.problem)

    last, after = start.trajectory.submissions[start.t - 1].time, p.condition.after or 0.0
    begun = Start(start.trajectory, start.assignment, start.grades, start.t, start.sample, start.earlier)
    work = await work_through(begun, student, grade, most=p.attempts, clock=lambda k: later(last, after * k), look=look)
    codes, grades = tuple(a.code for a in work.attempts), tuple(a.grade for a in work.attempts)
    ended = work.end in ("solved", "gave_up")
    return Recovery(start.key, p.condition.name, start.trajectory.student, codes, grades, ended, work.error)


def later(time: str | None, seconds: float) -> str | None:
    """So many seconds after an ISO 8601 time, to the second; None stays None."""
    if time is None:
        return None
    made = datetime.datetime.fromisoformat(time) + datetime.timedelta(seconds=seconds)
    return made.isoformat(timespec="seconds")


def _start(line: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    needed = ("key", "student", "failing", "programs", "grades", "reference")
    return line["key"], {name: line[name] for name in needed}


def read_recovery(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, list[Recovery]]]:
    """The starts of a folder by key, and the recoveries that did not fail by condition.

    Raises SimstudentError when there are none.
    """
    starts = dict(read_records(folder / f"{STARTS}.jsonl", _start, "start"))
    found: dict[str, list[Recovery]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem != STARTS:
            made = read_records(path, Recovery.from_dict, "recovery")
            found[path.stem] = [r for r in made if r.error is None]
    if not starts or not any(found.values()):
        raise SimstudentError(f"no recoveries in {folder} (expected {STARTS}.jsonl and one file for each condition)")
    return starts, found
