"""One YAML file for a whole experiment: model, data, dialogue, training, rollout.

Every section refuses keys it does not know; all mistakes of a recipe are reported at once, each with its line
and, where one is close, the key that was probably meant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from simstudent.data.privacy import PrivacySection
from simstudent.data.sources import Source
from simstudent.data.split import Cell, Side, SplitSection
from simstudent.data.variants import Variant
from simstudent.errors import SimstudentError
from simstudent.recipe_errors import Lines, describe, parse_yaml
from simstudent.rollout.sections import FewShotSection, ServerSection
from simstudent.section import Section
from simstudent.training.sections import DapoSection, DpoSection, SftSection, StudentsSection


class ModelSection(Section):
    """``id``: a hub id, a local folder, or ``package:NAME`` (a GGUF file inside an installed Python package)."""

    id: str
    revision: str | None = None
    quantization: Literal["auto", "nf4", "none"] = "auto"
    """auto: NF4 (QLoRA) when training on an NVIDIA GPU, none elsewhere."""


class DataSection(Section):
    source: Source
    privacy: PrivacySection = PrivacySection()
    select: tuple[str | dict[str, Any], ...] = ()
    """Ordered selection steps (``simstudent.data.select``), such as ``[stop_at_full_grade, min_submissions: 2]``."""
    split: SplitSection = SplitSection()
    variant: Variant = "trace"
    """What training sees of a trajectory (``simstudent.data.variants``); other sides are always real."""

    @field_validator("select")
    @classmethod
    def _known_steps(cls, steps: tuple[str | dict[str, Any], ...]) -> tuple[str | dict[str, Any], ...]:
        from simstudent.data.select import check_step

        for step in steps:
            check_step(step)
        return steps


class GraderSection(Section):
    workers: int | None = Field(None, ge=1)
    """Worker processes; default one per core."""
    cpu_seconds: float | None = Field(None, gt=0)
    """CPU limit of each test, over the problems' own."""


class HistorySection(Section):
    """A student's earlier assignments, shown in the first message (``simstudent.dialogue.earlier``)."""

    assignments: int = Field(0, ge=0)
    """How many at most, the latest; 0: none."""
    tokens: int = Field(1024, ge=1)
    """Most tokens that they take of the window."""


class DialogueSection(Section):
    """What a dialogue looks like; the same in training and in rollout."""

    format: Literal["chat", "trace"] = "chat"
    """trace: plain text for models without roles, a block a state (`simstudent.dialogue.traces`)."""
    overflow: Literal["slide", "cut"] = "slide"
    """Of what is longer than the window: each submission after the latest that fit, or (traces) only the beginning."""
    feedback: Literal["full", "summary", "none"] = "full"
    code: Literal["whole", "diff"] = "whole"
    """diff: a small edit (one hunk, less than half of the lines) is written as a unified diff."""
    give_up: bool = False
    """A student who abandons says so in a last turn, and a simulated one may."""
    talk: bool = False
    """Show requests for hints, and what students and tutors said."""
    time_header: Literal["none", "elapsed", "absolute"] = "none"
    """Before each submission, when it was made: since the one before, or the date and time."""
    history: HistorySection = HistorySection()
    max_programs: int | None = Field(None, ge=1)
    """Most earlier programs in view (ParaStudent's fixed window); null: as many as fit."""
    system: str | None = None
    """System prompt; default: a short one that fits the other options."""
    window: int = Field(4096, ge=64)
    """Most tokens of a training row, and of a prompt plus its answer."""
    answer_tokens: int = Field(768, ge=16)
    """Room kept for a submission, in training and rollout; an answer is cut there."""

    @model_validator(mode="after")
    def _plain(self) -> DialogueSection:
        """A trace has neither feedback nor talk, and only a trace may be cut."""
        if self.format == "chat" and self.overflow == "cut":
            raise ValueError("overflow: cut is for traces (format: trace); of a dialogue, every submission is learnt")
        if self.format == "trace":
            wanted = {"feedback": "none", "code": "whole", "give_up": False, "talk": False, "time_header": "none"}
            wrong = [f"{name}: {value}" for name, value in wanted.items() if getattr(self, name) != value]
            if self.history.assignments:
                wrong.append("history.assignments: 0")
            if wrong:
                raise ValueError(f"a trace holds titles, times and programs only; set {', '.join(wrong)}")
        return self

    @field_validator("answer_tokens")
    @classmethod
    def _room_left(cls, value: int, info: ValidationInfo) -> int:
        history, window = info.data.get("history"), info.data.get("window", value + 1)
        if value >= window:
            raise ValueError(f"answer_tokens ({value}) leave no room in the window ({window})")
        if history is not None and history.assignments and history.tokens + value >= window:
            raise ValueError(
                f"history.tokens ({history.tokens}) and answer_tokens ({value}) fill the window ({window})"
            )
        return value


Method = Literal[
    "base",
    "base-fewshot",
    "sft",
    "dpo",
    "dapo",
    "repeat-last",
    "constant-0",
    "constant-0.5",
    "nearest",
    "random",
    "reference",
    "oracle",
]


Temperature = Annotated[float, Field(ge=0)]


class RolloutSection(Section):
    """Graded multi-step simulations from every start of a split's trajectories."""

    engine: Literal["transformers", "vllm", "openai"] = "transformers"
    server: ServerSection = ServerSection()
    """Of the engine ``openai``."""
    methods: tuple[Method, ...] = ("base", "sft", "repeat-last", "constant-0", "constant-0.5", "reference")
    few_shot: FewShotSection = FewShotSection()
    """Of the method ``base-fewshot``."""
    mode: Literal["free", "teacher-forced", "stages"] = "free"
    """free: the simulation goes on from its own submissions; teacher-forced: one step from every real history; stages:
    a first, a middle and a last program from the assignment alone."""
    steps: int = Field(5, ge=1)
    split: Side | Cell = "test"
    """A side, or a cell of a split by cells."""
    first_start: int = Field(1, ge=0)
    """The smallest number of the student's own submissions given as history (the paper: 3)."""
    limit: int | None = Field(None, ge=1)
    """Simulate only this many starts, drawn by a seeded hash."""
    temperature: Temperature | Annotated[tuple[Temperature, ...], Field(min_length=1)] = 0.0
    """0 is greedy. Of several, each is a method of its own, such as sft@0.7."""
    top_p: float = Field(1.0, gt=0, le=1)
    samples: int = Field(1, ge=1)
    concurrency: int = Field(512, ge=1)
    """Rollouts under way at once, on each GPU."""
    gpus: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    """Copies of the model that the vLLM engine runs, each on a GPU of its own; ``auto`` is all that are visible."""
    gpu_memory: float = Field(0.85, gt=0, lt=1)
    """The vLLM engine's share of the GPU's memory: less where other programs use the same GPU."""
    eager: bool = False
    """The vLLM engine without compilation and CUDA graphs: it starts sooner and writes slower."""
    batch_size: int = Field(16, ge=1)
    """Sequences decoded together by the transformers engine."""
    resamples: int = Field(10_000, ge=100)
    """Bootstrap resamples of the students."""

    @field_validator("samples")
    @classmethod
    def _worth_sampling(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("temperature") == 0:
            raise ValueError("several samples at temperature 0 would all be the same; set rollout.temperature")
        return value

    @property
    def horizon(self) -> int:
        """Simulated submissions after each start."""
        return self.steps if self.mode == "free" else 1

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures, one or several."""
        return self.temperature if isinstance(self.temperature, tuple) else (self.temperature,)


class Recipe(Section):
    """A whole experiment."""

    name: str = Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$")
    seed: int = 1
    model: ModelSection
    data: DataSection
    grader: GraderSection = GraderSection()
    dialogue: DialogueSection = DialogueSection()
    students: StudentsSection = StudentsSection()
    sft: SftSection = SftSection()
    dpo: DpoSection = DpoSection()
    dapo: DapoSection = DapoSection()
    rollout: RolloutSection = RolloutSection()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, every default filled in; ``recipe_from_dict`` reads it back."""
        return self.model_dump(mode="json")


def recipe_from_dict(raw: dict[str, Any]) -> Recipe:
    """A recipe from its own resolved form (paths absolute)."""
    return Recipe.model_validate(raw, context={"folder": Path()})


def read_resolved(path: Path) -> Recipe:
    """The recipe that a run folder keeps. Raises SimstudentError like `load_recipe`; TRL's keys were checked before."""
    raw, lines = parse_yaml(path.read_text(encoding="utf-8"), path)
    return _validated(raw, lines, path, trainers=False)


def load_recipe(path: str | Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """The recipe in a YAML file. ``overrides`` are dotted keys (``rollout.steps``) set over the file's.

    Raises SimstudentError listing every mistake with its line and a suggestion.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        near = ", ".join(sorted(str(p) for p in Path("recipes").glob("*.yaml"))) or "none"
        raise SimstudentError(f"no recipe at {path}. Recipes here: {near}") from None
    except UnicodeDecodeError as error:
        raise SimstudentError(f"{path}: not UTF-8 text ({error})") from None
    raw, lines = parse_yaml(text, path)
    for dotted, value in (overrides or {}).items():
        _set(raw, dotted.split("."), value)
    return _validated(raw, lines, path)


def _set(raw: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        raw = raw.setdefault(key, {}) if isinstance(raw.get(key, {}), dict) else {}
    raw[keys[-1]] = value


def _validated(raw: dict[str, Any], lines: Lines, path: Path, *, trainers: bool = True) -> Recipe:
    problems: list[str] = []
    recipe: Recipe | None = None
    try:
        recipe = Recipe.model_validate(raw, context={"folder": path.resolve().parent})
    except ValidationError as error:
        problems = describe(error, Recipe, lines)
    for stage in ("sft", "dpo", "dapo") if trainers else ():
        section = raw.get(stage)
        trainer = section.get("trainer") if isinstance(section, dict) else None
        if isinstance(trainer, dict) and trainer:
            from simstudent.training.settings import check_trainer_keys

            problems += [
                f"{lines.at((stage, 'trainer', key))}{text}" for key, text in check_trainer_keys(stage, trainer)
            ]
    if problems or recipe is None:
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise SimstudentError(f"{path}: {count}\n" + "\n".join(f"  {p}" for p in problems))
    return recipe


def dump_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML, for the run folder."""
    return yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True)
