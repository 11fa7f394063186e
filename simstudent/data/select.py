"""Selection: named steps, applied in the recipe's order, each reporting what it left.

A recipe names the steps (`simstudent.data.steps`) in a list::

    select: [stop_at_full_grade, drop_unchanged, min_submissions: 2]

Data goes through them as a stream. A step that has to see all of it first costs one more reading, no memory for
programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simstudent.data import step_values as values
from simstudent.data import steps
from simstudent.data.attrition import Tally
from simstudent.data.records import Assignment, Trajectory
from simstudent.data.steps import Before, Each, Stream, each
from simstudent.recipe_errors import closest

if TYPE_CHECKING:
    from simstudent.recipe import GraderSection


Make = Callable[[Before, Any], Stream]


@dataclass(frozen=True, slots=True)
class Kind:
    """A step that recipes may name: how it is made of its value, who reads the value, and an example of one."""

    make: Make
    value: Callable[[Any], Any] | None = None
    example: str = ""
    whole: bool = False
    """It looks at all of the data before it decides."""


def _plain(function: Each) -> Kind:
    return Kind(lambda before, value: each(function))


def _valued(function: Callable[[Trajectory, Any], Trajectory | None], value: Callable[[Any], Any], like: str) -> Kind:
    return Kind(lambda before, given: each(lambda t: function(t, given)), value, like)


STEPS: dict[str, Kind] = {
    "language": Kind(steps.language, values.texts, "python"),
    "assignment_kind": Kind(steps.assignment_kind, values.texts, "lab"),
    "exam": Kind(steps.exam, values.flag, "false"),
    "course": Kind(steps.course, values.texts, "CS1"),
    "term": Kind(steps.term, values.texts, "Spring 2021"),
    "where": Kind(steps.where, values.columns, "{section: A}"),
    "one_assignment_per_lesson": Kind(steps.one_assignment_per_lesson, values.lesson, "lesson", whole=True),
    "drop_runs": _plain(steps.drop_runs),
    "drop_hints": _plain(steps.drop_hints),
    "drop_redacted": Kind(steps.drop_redacted),
    "drop_not_compiling": _plain(steps.drop_not_compiling),
    "drop_unchanged": _plain(steps.drop_unchanged),
    "drop_layout_changes": _plain(steps.drop_layout_changes),
    "drop_renamings": _plain(steps.drop_renamings),
    "drop_length_outliers": Kind(steps.drop_length_outliers, values.number, "3.5", whole=True),
    "drop_possibly_cut": _valued(steps.drop_possibly_cut, values.what_to_drop, "trajectory"),
    "drop_censored": _plain(steps.drop_censored),
    "drop_regrade_mismatch": Kind(steps.drop_regrade_mismatch, values.what_to_drop, "submission"),
    "stop_at_full_grade": _plain(steps.stop_at_full_grade),
    "min_submissions": _valued(steps.min_submissions, values.whole_number, "2"),
    "max_submissions": _valued(steps.max_submissions, values.whole_number, "50"),
    "min_best_grade": _valued(steps.min_best_grade, values.grade, "0.5"),
    "min_last_grade": _valued(steps.min_last_grade, values.grade, "0.5"),
    "some_test_passed": _plain(steps.some_test_passed),
    "sample_students": _valued(steps.sample_students, values.share, "0.05"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """A step as a recipe writes it, with its value read."""

    label: str
    kind: Kind
    value: Any = None


def check_step(step: str | Mapping[str, Any]) -> Step:
    """The step that a recipe names. Raises ValueError with a suggestion."""
    if not isinstance(step, str) and len(step) != 1:
        raise ValueError(f"a selection step is one name with one value, not {step!r}")
    name, given = (step, None) if isinstance(step, str) else next(iter(step.items()))
    if name not in STEPS:
        raise ValueError(f"unknown selection step '{name}'; {closest(name, STEPS)}")
    kind = STEPS[name]
    if kind.value is None:
        if not isinstance(step, str):
            raise ValueError(f"selection step '{name}' takes no value")
        return Step(name, kind)
    if isinstance(step, str):
        raise ValueError(f"selection step '{name}' needs a value, such as '{name}: {kind.example}'")
    try:
        return Step(f"{name}: {_written(given)}", kind, kind.value(given))
    except ValueError as error:
        raise ValueError(f"selection step '{name}' needs {error}") from None


def _written(value: object) -> str:
    """A value as a recipe would write it, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_written(v)}" for name, v in value.items()) + "}"
    return str(value)


@dataclass(frozen=True, slots=True)
class Selection:
    """Steps bound to data: what they leave can be read any number of times."""

    read: Callable[[], Iterator[Trajectory]]
    steps: tuple[tuple[Step, Stream], ...]

    def trajectories(self, tally: Tally | None = None) -> Iterator[Trajectory]:
        """What all steps leave, as a stream; ``tally`` counts what each of them does."""
        stream = self.read()
        for stage in range(len(self.steps) + 1):
            if stage:
                stream = self.steps[stage - 1][1](stream)
            if tally is not None:
                stream = tally.watch(stage, stream)
        return stream

    @property
    def stages(self) -> tuple[tuple[str, bool], ...]:
        """Label and ``whole`` of each row of the attrition table."""
        return (("logged", False), *((step.label, step.kind.whole) for step, _ in self.steps))


def select(
    read: Callable[[], Iterator[Trajectory]],
    wanted: Sequence[str | Mapping[str, Any]],
    assignments: Mapping[str, Assignment],
    grader: GraderSection | None = None,
) -> Selection:
    """Bind the steps to data that ``read`` opens anew at each call; steps that need it look at all of it here.

    Raises SimstudentError when the data lacks what a step asks for.
    """
    made = Selection(read, ())
    for step in map(check_step, wanted):
        stream = step.kind.make(Before(assignments, made.trajectories, grader), step.value)
        made = Selection(read, (*made.steps, (step, stream)))
    return made
