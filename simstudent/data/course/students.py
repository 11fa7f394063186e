"""How a made-up student works on an assignment: writes, hands in, sees the grade, changes something, hands in again.

A student is a few numbers and habits. ``attempts`` is a generator: it yields a program, is sent the program's Grade,
and so reacts to what the graders say, never to what the author of this file believes about a program. What a student
sees is the grade, whether the program could be read, and whether tests raised exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace

from graders import Grade
from simstudent.data.course.chance import Chance
from simstudent.data.course.exercises import Exercise
from simstudent.data.course.habits import Habits, draw_habits
from simstudent.data.course.mistakes import KINDS, Mistake
from simstudent.data.course.text import indent_of
from simstudent.data.course.work import Work, draw_plan

MOST_ATTEMPTS = 20
UNLIKELY_CURES = ("syntax", "name", "missing")
"""Mistakes that nobody makes in a part of the program they have no quarrel with."""


@dataclass(frozen=True, slots=True)
class Student:
    """``skill`` and ``patience`` are in [0, 1]; ``leaning`` says how much more than others they make each mistake.

    The rest is how likely they are to write a program piece by piece (``grows``), to print what they want to know
    (``prints``), to hand in the same again (``repeats``), to change two things at once (``hasty``), and whether they
    leave a call of their own below a function (``tries``).
    """

    id: str
    skill: float
    patience: float
    habits: Habits
    leaning: Mapping[str, float]
    grows: float
    prints: float
    repeats: float
    hasty: float
    tries: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One program handed in, its grade, and what kind of change led to it."""

    code: str
    grade: Grade
    change: str


def draw_student(number: int, seed: int) -> Student:
    """The student with this number."""
    chance = Chance(f"{seed}/student/{number}")
    return Student(
        id=f"made-up-{number:03d}",
        skill=0.1 + 0.85 * chance.bell(),
        patience=chance.fraction(),
        habits=draw_habits(chance),
        leaning={kind: chance.weighted(((0.4, 1.0), (1.0, 2.0), (2.5, 1.0))) for kind in KINDS},
        grows=chance.weighted(((0.02, 3.0), (0.15, 2.0), (0.7, 1.0))),
        prints=chance.weighted(((0.0, 2.0), (0.5, 2.0), (1.5, 1.0))),
        repeats=chance.weighted(((0.02, 2.0), (0.08, 2.0), (0.2, 1.0))),
        hasty=chance.weighted(((0.1, 2.0), (0.25, 2.0), (0.5, 1.0))),
        tries=chance.happens(0.12),
    )


def attempts(student: Student, exercise: Exercise, chance: Chance) -> Generator[str, Grade, list[Attempt]]:
    """The student's attempts at the exercise. Yields each program handed in and expects its grade in return."""
    pen = Pen(student, exercise, chance)
    work = yield from pen.begin()
    done: list[Attempt] = []
    change = "first"
    past: list[Work] = []
    while True:
        code = student.habits.write(work.lines())
        grade = yield code
        done.append(Attempt(code, grade, change))
        past.append(work)
        if grade.score >= 1.0 or len(done) == MOST_ATTEMPTS or pen.gives_up(done):
            return done
        work, change = pen.revise(past, done)


class Pen:
    """One student at work on one exercise."""

    def __init__(self, student: Student, exercise: Exercise, chance: Chance) -> None:
        self.student = student
        self.exercise = exercise
        self.chance = chance

    def begin(self) -> Generator[str, Grade, Work]:
        """What the student starts from: all right now and then, else with mistakes that the graders do notice."""
        student, chance = self.student, self.chance
        plan = draw_plan(self.exercise, student.habits, chance)
        work = Work(plan, len(plan.lines), tail=self._trial())
        if chance.happens(0.02 + 0.3 * student.skill**2 / self.exercise.level):
            return work
        if chance.happens(student.grows):
            work = replace(work, written=chance.between(1 + len(plan.lines) // 4, len(plan.lines) - 1))
        full = replace(work, written=len(plan.lines))
        for _ in range(8):
            wrong = full
            for _ in range(self._how_many()):
                wrong = self._err(wrong, wrong.room())
            grade = yield student.habits.write(wrong.lines())
            if grade.score < 1.0:
                return replace(wrong, written=work.written)
        return wrong

    def revise(self, past: list[Work], done: list[Attempt]) -> tuple[Work, str]:
        """What the student hands in next, and the name of the change."""
        work, last = past[-1], done[-1]
        if self.chance.happens(self.student.repeats):
            return work, "again"
        worse = len(done) > 1 and last.grade.score < done[-2].grade.score
        if worse and last.change != "more" and self.chance.happens(0.2 + 0.5 * self.student.skill):
            return past[-2], "back"
        if work.complete and stuck_for(done) >= 3 and self.chance.happens(0.08):
            return self._start_over(work), "restart"
        for _ in range(20):
            new, change = self._change(work, last.grade, len(done))
            if self.chance.happens(self.student.hasty):
                new, _ = self._change(new, last.grade, len(done))
            if self.student.habits.write(new.lines()) != last.code:
                return new, change
        return work, "again"

    def gives_up(self, done: list[Attempt]) -> bool:
        """More likely the longer nothing gets better, and the less patient the student."""
        hurry = 1 - self.student.patience
        return self.chance.happens(0.006 + 0.022 * hurry + 0.026 * hurry * max(0, stuck_for(done) - 2))

    def _change(self, work: Work, grade: Grade, tries: int) -> tuple[Work, str]:
        chance, skill = self.chance, self.student.skill
        if not work.complete and (not work.visible or chance.happens(0.5)):
            more = chance.between(1, 4)
            return replace(work, written=min(len(work.plan.lines), work.written + more)), "more"
        if work.added and (not work.visible or chance.happens(0.35)):
            work = replace(work, added=())
            if chance.happens(0.4):
                return work, "tidy"
        if not work.visible:
            return work, "tidy"
        suspect = self._suspect(work, grade)
        if not chance.happens(self._insight(suspect, grade, tries)):
            return self._blunder(work, suspect)
        work = work.without(suspect)
        while work.visible and chance.happens(0.45 * skill):
            work = work.without(chance.pick(work.visible))
        return work, "fix"

    def _suspect(self, work: Work, grade: Grade) -> Mistake:
        """The mistake the student turns to: the one Python complains about, if it complains."""
        if grade.status == "syntax_error":
            likely = [m for m in work.visible if m.kind == "syntax"]
        else:
            likely = [m for m in work.visible if m.kind != "syntax" and KINDS[m.kind].loud == complains(grade)]
        return self.chance.pick(likely or work.visible)

    def _insight(self, mistake: Mistake, grade: Grade, tries: int) -> float:
        """How likely the student gets this mistake right on the next try."""
        kind = KINDS[mistake.kind]
        helped = 0.25 if kind.loud and complains(grade) else 0.0
        chance = 0.18 + 0.75 * self.student.skill - 0.5 * kind.hard * self.exercise.level + 0.025 * tries + helped
        return min(0.95, max(0.1, chance))

    def _blunder(self, work: Work, suspect: Mistake) -> tuple[Work, str]:
        """A change that does not help: the same place wrong in another way, another place, a print, a comment."""
        swaps = [m for m in work.plan.mistakes if m.overlaps(suspect) and m != suspect and m.end <= work.written]
        options: list[tuple[Callable[[], Work], float]] = [
            (lambda: self._err(work, swaps), 3.0),
            (lambda: self._err(work, [m for m in work.room() if m.kind not in UNLIKELY_CURES]), 1.5),
            (lambda: self._add_print(work), self.student.prints if len(work.added) < 3 else 0.0),
            (lambda: self._add_remark(work), 0.3),
        ]
        return self.chance.weighted(options)(), "blunder"

    def _err(self, work: Work, options: list[Mistake]) -> Work:
        """The work with one of these mistakes made in it."""
        if not options:
            return work
        kinds = sorted({m.kind for m in options})
        kind = self.chance.weighted([(k, KINDS[k].weight * self.student.leaning[k]) for k in kinds])
        return work.plus(self.chance.pick([m for m in options if m.kind == kind]))

    def _how_many(self) -> int:
        """How many mistakes a first version has."""
        number = 1
        while number < 5 and self.chance.happens(0.7 * (1 - self.student.skill) * self.exercise.level):
            number += 1
        return number

    def _add_print(self, work: Work) -> Work:
        """A print put in to see what a name holds."""
        lines = work.plan.lines
        places = [(i, m) for i in range(work.written) if (m := re.match(r" *(?:for )?(\w+)(?: [-+]?=| in) ", lines[i]))]
        if not places:
            return work
        index, match = self.chance.pick(places)
        deeper = 4 if lines[index].endswith(":") else 0
        shown = match.group(1) if self.chance.happens(0.7) else f'"{match.group(1)}:", {match.group(1)}'
        return replace(work, added=(*work.added, (index, " " * (indent_of(lines[index]) + deeper) + f"print({shown})")))

    def _add_remark(self, work: Work) -> Work:
        """A comment that changes nothing."""
        index = self.chance.below(work.written)
        line = work.plan.lines[index]
        deeper = 4 if line.endswith(":") else 0
        remark = self.chance.pick(("# test", "# why?", "# check this", "#", "# ???", "# try again"))
        return replace(work, added=(*work.added, (index, " " * (indent_of(line) + deeper) + remark)))

    def _start_over(self, work: Work) -> Work:
        """Another way to solve it, with its own mistakes."""
        plan = draw_plan(self.exercise, self.student.habits, self.chance, work.plan.way)
        new = Work(plan, len(plan.lines), tail=work.tail)
        for _ in range(self._how_many()):
            new = self._err(new, new.room())
        return new

    def _trial(self) -> str:
        """A call of the student's own below the function, for those who leave one there."""
        if self.exercise.entry is None or not self.student.tries:
            return ""
        arguments, _ = self.chance.pick(self.exercise.tests)
        return f"print({self.exercise.entry}{re.sub(r',[)]$', ')', arguments)})"


def complains(grade: Grade) -> bool:
    """Whether Python raised an exception somewhere."""
    return grade.status != "graded" or any(test.status == "error" for test in grade.tests)


def stuck_for(done: list[Attempt]) -> int:
    """How many attempts have gone by since the best grade so far first came up."""
    scores = [attempt.grade.score for attempt in done]
    return len(scores) - 1 - scores.index(max(scores))
