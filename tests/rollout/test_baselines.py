"""Baselines that answer from training: who is the nearest, what is drawn, and that nobody retrieves themselves."""

from __future__ import annotations

import asyncio
import time

import pytest

from graders import Grade
from graders.compare import edit_similarity
from simstudent.data.records import Assignment, Submission, Trajectory
from simstudent.errors import SimstudentError
from simstudent.rollout.engines.baselines import baseline
from simstudent.rollout.engines.nearest import Neighbours, most_similar
from simstudent.rollout.simulate import Past, Start, Student

LOOP = "total = 0\nfor x in xs:\n    total += x\n"


def trajectory(student: str, assignment: str, *codes: str) -> Trajectory:
    return Trajectory(student, assignment, tuple(Submission(c) for c in codes))


TRAINING = [
    trajectory("ann", "sum", "print('hello')", "print(sum(xs))"),
    trajectory("ben", "sum", LOOP, LOOP + "print(total)\n", LOOP + "print(total, end='')\n"),
    trajectory("cat", "max", "print(xs[0])", "print(max(xs))"),
]


def ask(student: Student, t: Trajectory, count: int, k: int = 1, sample: int = 0) -> str:
    grades = tuple(Grade(0.0, "graded") for _ in t.submissions)
    start = Start(t, Assignment(t.assignment, "x"), grades, count, sample)
    last = t.submissions[count - 1] if count else None
    code = asyncio.run(student(start, Past((), last), k)).code
    assert code is not None
    return code


def test_nearest_follows_the_student_with_the_most_similar_program() -> None:
    nearest = baseline("nearest", TRAINING, 1)
    me = trajectory("me", "sum", LOOP.replace("x in xs", "n in xs").replace("+= x", "+= n"), "?")
    assert ask(nearest, me, 1) == LOOP + "print(total)\n"
    # White space at line ends tells nobody apart, and a program that nothing follows is not looked at.
    assert ask(nearest, trajectory("me", "sum", LOOP + "print(total)  \n\n", "?"), 1) == LOOP + "print(total, end='')\n"
    assert ask(nearest, trajectory("me", "sum", LOOP + "print(total, end='')\n", "?"), 1) != LOOP + "print(total)\n"


def test_nearest_looks_elsewhere_only_where_the_assignment_has_no_training() -> None:
    nearest = baseline("nearest", TRAINING, 1)
    assert ask(nearest, trajectory("me", "max", LOOP, "?"), 1) == "print(max(xs))"
    assert ask(nearest, trajectory("me", "new", "print(xs[1])", "?"), 1) == "print(max(xs))"


def test_nearest_begins_as_somebody_began_and_the_draw_depends_on_the_seed_only() -> None:
    me = [trajectory(f"me{n}", "sum", "x") for n in range(20)]
    begun = [ask(baseline("nearest", TRAINING, 1), t, 0) for t in me]
    assert set(begun) == {"print('hello')", LOOP}
    assert begun == [ask(baseline("nearest", TRAINING[::-1], 1), t, 0) for t in me]
    assert begun != [ask(baseline("nearest", TRAINING, 2), t, 0) for t in me]


def test_nobody_retrieves_what_they_did_themselves() -> None:
    ben = trajectory("ben", "sum", LOOP, "?")
    assert ask(baseline("nearest", TRAINING, 1), ben, 1) == "print(sum(xs))"
    drawn = {ask(baseline("random", TRAINING, 1), ben, 1, k) for k in range(30)}
    assert drawn == {"print('hello')", "print(sum(xs))"}


def test_random_draws_of_the_assignment_by_start_step_and_sample() -> None:
    random = baseline("random", TRAINING, 1)
    me = trajectory("me", "sum", "x", "y")
    programs = {s.code for t in TRAINING[:2] for s in t.submissions}
    assert {ask(random, me, 1, k) for k in range(60)} == programs
    assert len({ask(random, me, 1, 1, sample) for sample in range(60)}) == len(programs)
    assert ask(random, me, 1, 3) == ask(random, me, 1, 3)
    assert ask(random, trajectory("me", "new", "x", "y"), 1) in {s.code for t in TRAINING for s in t.submissions}


def test_the_oracle_hands_in_what_the_student_did() -> None:
    me = trajectory("me", "sum", "a", "b", "c", "d")
    oracle = baseline("oracle")
    assert [ask(oracle, me, 1, k) for k in (1, 2, 3)] == ["b", "c", "d"]
    start = Start(me, Assignment("sum", "x"), (Grade(0.0, "graded"),) * 4, 1)
    assert asyncio.run(oracle(start, Past((), None), 4)).gives_up


@pytest.mark.parametrize("method", ["nearest", "random"])
def test_without_training_students_it_is_said_which_method_cannot_answer(method: str) -> None:
    with pytest.raises(SimstudentError, match=f"'{method}' needs training students"):
        ask(baseline(method, [], 1), trajectory("me", "sum", "x", "y"), 1)


def test_similarity_is_that_of_the_graders() -> None:
    programs = [s.code for t in TRAINING for s in t.submissions]
    query = "for x in xs:\n    print(x)\n"
    scores = [edit_similarity(query, p) for p in programs]
    assert most_similar(query, programs) == [p for p, s in zip(programs, scores, strict=True) if s == max(scores)]


def test_ten_thousand_programs_are_searched_in_a_fraction_of_a_second() -> None:
    body = (
        "def f(xs):\n    total = 0\n    for x in xs:\n        if x > {}:\n            total += x * {}\n    return total"
    )
    many = [trajectory(f"s{n}", "sum", body.format(n, n % 7), body.format(n, 8)) for n in range(10_000)]
    neighbours = Neighbours(many, 1)
    began = time.perf_counter()
    assert neighbours.next_after("sum", body.format(77, 9), "me", "d") == body.format(77, 8)
    assert time.perf_counter() - began < 2
