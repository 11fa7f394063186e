"""A student's program in progress: a right program, how much of it is written, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simstudent.data.course.chance import Chance
from simstudent.data.course.exercises import Exercise
from simstudent.data.course.habits import Habits
from simstudent.data.course.mistakes import Mistake, candidates
from simstudent.data.course.text import indent_of


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to solve an exercise in a student's own words, with every mistake it offers room for."""

    way: int
    lines: tuple[str, ...]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """``written`` lines of the plan with ``mistakes`` in them, and ``added`` lines after some: (line index, text)."""

    plan: Plan
    written: int
    mistakes: tuple[Mistake, ...] = ()
    added: tuple[tuple[int, str], ...] = ()
    tail: str = ""

    @property
    def complete(self) -> bool:
        return self.written == len(self.plan.lines)

    @property
    def visible(self) -> tuple[Mistake, ...]:
        """The mistakes in the part that is written."""
        return tuple(m for m in self.mistakes if m.start < self.written)

    def room(self) -> list[Mistake]:
        """Mistakes that could still be made in the part that is written."""
        return [
            m for m in self.plan.mistakes if m.end <= self.written and not any(m.overlaps(old) for old in self.mistakes)
        ]

    def without(self, mistake: Mistake) -> Work:
        return replace(self, mistakes=tuple(m for m in self.mistakes if m != mistake))

    def plus(self, mistake: Mistake) -> Work:
        """The work with one more mistake, which replaces those in its place."""
        kept = tuple(m for m in self.mistakes if not m.overlaps(mistake))
        return replace(self, mistakes=(*kept, mistake))

    def lines(self) -> list[str]:
        """The program as it stands."""
        out: list[str] = []
        index = 0
        starts = {m.start: m for m in self.mistakes}
        while index < self.written:
            mistake = starts.get(index)
            end = min(mistake.end, self.written) if mistake else index + 1
            out.extend(mistake.lines if mistake else self.plan.lines[index:end])
            if mistake is None or len(mistake.lines) == end - index:
                out.extend(text for at, text in self.added if index <= at < end)
            index = end
        if out and out[-1].endswith(":") and not self.complete:
            out.append(" " * (indent_of(out[-1]) + 4) + "pass")
        if self.tail and self.complete:
            out.extend(("", self.tail))
        return out


def draw_plan(exercise: Exercise, habits: Habits, chance: Chance, not_way: int | None = None) -> Plan:
    """A way to solve the exercise, other than ``not_way``, in the student's own words."""
    way = chance.pick([number for number in range(len(exercise.ways)) if number != not_way])
    lines, ideas = habits.own_version(exercise.solutions()[way], chance)
    return Plan(way, tuple(lines), tuple(candidates(lines, ideas)))
