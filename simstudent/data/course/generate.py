"""Writes the made-up course: ``python -m simstudent.data.course.generate`` makes both data files anew.

Nobody wrote these submissions: students, programs and times come out of a seeded random generator, so the same seed
gives the same bytes. Every grade is the graders' own. ``exercises`` holds what is asked, ``mistakes`` what goes wrong,
``students`` how they work; this file runs all students side by side, puts dates to their attempts and writes the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from graders import Grade, Pool, Problem
from simstudent.data.course import weeks_1_2, weeks_3_4, weeks_5_6, weeks_7_8
from simstudent.data.course.chance import Chance
from simstudent.data.course.exercises import Exercise
from simstudent.data.course.students import Attempt, Student, attempts, draw_student

SEED = 2025
STUDENTS = 80
FIRST_DAY = datetime(2025, 9, 1, tzinfo=UTC)
EXERCISES: tuple[Exercise, ...] = tuple(
    sorted(
        (*weeks_1_2.EXERCISES, *weeks_3_4.EXERCISES, *weeks_5_6.EXERCISES, *weeks_7_8.EXERCISES),
        key=lambda exercise: exercise.week,
    )
)

GradeMany = Callable[[list[tuple[str, Problem]]], Iterable[Grade]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of submissions.jsonl."""

    student: str
    assignment: str
    attempt: int
    time: str
    code: str
    grade: float

    def to_json(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__slots__}, ensure_ascii=False)


def assignment_lines() -> Iterator[str]:
    """The lines of assignments.jsonl, in the order of the course."""
    for exercise in EXERCISES:
        yield json.dumps(exercise.assignment().to_dict(), ensure_ascii=False)


def submission_lines(grade_many: GradeMany, numbers: Iterable[int], seed: int = SEED) -> Iterator[str]:
    """The lines of submissions.jsonl for the students with these numbers. A student never depends on the others."""
    plans = [(draw_student(number, seed), number) for number in numbers]
    jobs = [(student, exercise) for student, number in plans for exercise in chosen(student, number, seed)]
    done = run_all(grade_many, jobs, seed)
    for student, _ in plans:
        mine = [(exercise, log) for (who, exercise), log in zip(jobs, done, strict=True) if who is student]
        for row in dated(student, mine, Chance(f"{seed}/clock/{student.id}")):
            yield row.to_json()


def chosen(student: Student, number: int, seed: int) -> list[Exercise]:
    """The exercises a student takes up, in order: 5 to 9 of them, more for those with patience."""
    chance = Chance(f"{seed}/choice/{number}")
    left = list(EXERCISES)
    wanted = chance.between(5, 7) + int(2.5 * student.patience)
    while len(left) > wanted:
        left.pop(chance.below(len(left)))
    return left


def run_all(grade_many: GradeMany, jobs: Sequence[tuple[Student, Exercise]], seed: int) -> list[list[Attempt]]:
    """Every student's work on every exercise: all that wait for a grade are graded together, round by round."""
    problems = {exercise.id: exercise.problem() for exercise in EXERCISES}
    known: dict[tuple[str, str], Grade] = {}
    running: dict[int, tuple[Generator[str, Grade, list[Attempt]], str]] = {}
    finished: dict[int, list[Attempt]] = {}
    for index, (student, exercise) in enumerate(jobs):
        work = attempts(student, exercise, Chance(f"{seed}/attempts/{student.id}/{exercise.id}"))
        running[index] = (work, next(work))
    while running:
        waiting = dict.fromkeys((jobs[index][1].id, code) for index, (_, code) in running.items())
        new = [key for key in waiting if key not in known]
        for key, grade in zip(new, grade_many([(code, problems[name]) for name, code in new]), strict=True):
            if grade.status == "grader_error":
                raise RuntimeError(f"the graders failed on a program for {key[0]!r}: {grade.message}")
            known[key] = grade
        for index, (work, code) in list(running.items()):
            try:
                running[index] = (work, work.send(known[jobs[index][1].id, code]))
            except StopIteration as stop:
                finished[index] = stop.value
                del running[index]
    return [finished[index] for index in range(len(jobs))]


def dated(student: Student, done: list[tuple[Exercise, list[Attempt]]], chance: Chance) -> Iterator[Row]:
    """The rows of one student, each exercise in its week, one after the other, with pauses."""
    free = FIRST_DAY
    for exercise, log in done:
        monday = FIRST_DAY + timedelta(weeks=exercise.week - 1)
        sitting = monday + timedelta(days=chance.below(6), hours=chance.between(8, 20), seconds=chance.below(3600))
        now = max(sitting, free + timedelta(seconds=chance.between(120, 900)))
        for number, attempt in enumerate(log, 1):
            if number > 1:
                now += timedelta(seconds=pause(attempt, chance))
            yield Row(
                student.id, exercise.id, number, now.isoformat(timespec="seconds"), attempt.code, attempt.grade.score
            )
        free = now


def pause(attempt: Attempt, chance: Chance) -> int:
    """Seconds before an attempt: short before an unchanged one, now and then a break."""
    if attempt.change == "again":
        return chance.between(5, 40)
    low, high = chance.weighted((((15, 60), 5.0), ((60, 180), 4.0), ((180, 600), 2.0), ((600, 4000), 0.3)))
    return chance.between(low, high)


def write_files(folder: Path) -> None:
    """Write assignments.jsonl and submissions.jsonl into a folder."""
    with Pool() as pool:
        submissions = list(submission_lines(pool.grade_many, range(1, STUDENTS + 1)))
    for name, lines in (("assignments.jsonl", assignment_lines()), ("submissions.jsonl", submissions)):
        text = "".join(f"{line}\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{folder / name}: {text.count(chr(10))} lines, {len(text.encode())} bytes")


if __name__ == "__main__":
    write_files(Path(__file__).parent)
