"""A class beside the real one: what tells them apart, and that the real students' own halves are not told apart."""

from __future__ import annotations

import numpy as np
import pytest

from simstudent.evaluation.classes import Way, compare_class, to_markdown


def way(student: str, assignment: str, *steps: tuple[str, float]) -> Way:
    codes, grades = tuple(c for c, _ in steps), tuple(g for _, g in steps)
    return Way(student, assignment, codes, grades, ("graded",) * len(steps))


def people(kind: str, count: int, seed: int) -> list[Way]:
    """Made-up students who need one to four attempts, each with programs of their own."""
    random = np.random.default_rng(seed)
    found = []
    for n in range(count):
        for assignment in "abc":
            wrong = int(random.integers(0, 4))
            size = int(random.integers(1, 6))
            lines = [f"x{random.integers(10**6)} = {kind!r}\n" * (size + k) for k in range(wrong + 1)]
            grades = [*(float(random.integers(0, 4)) / 4 for _ in range(wrong)), 1.0 if random.random() < 0.8 else 0.5]
            found.append(way(f"{kind}{n}", assignment, *zip(lines, grades, strict=True)))
    return found


def test_small_classes_by_hand() -> None:
    real = [
        way("r1", "a", ("x", 0.0), ("xy", 1.0)),
        way("r2", "a", ("x", 0.5), ("xyz", 0.5), ("xyz ", 1.0)),
        way("r3", "a", ("z", 0.0)),
    ]
    made = [way("s1", "a", ("x", 1.0)), way("s2", "a", ("x", 0.0), ("q", 0.0))]
    found = compare_class(made, real, 1)
    assert (found["solved"].simulated, found["solved"].real) == (0.5, pytest.approx(2 / 3))
    assert (found["solved at once"].simulated, found["solved at once"].real) == (0.5, 0.0)
    assert (found["attempts"].simulated, found["attempts"].real) == (1.5, 2.0)
    assert found["attempts"].distance.value == pytest.approx(1 / 3)  # 1: 1/2 and 1/3; 2: 1 and 2/3; 3: 1 and 1
    assert (found["unchanged"].simulated, found["unchanged"].real) == (0.0, pytest.approx(1 / 3))
    assert (found["edit size"].simulated, found["edit size"].real) == (2.0, pytest.approx(4 / 3))
    # First programs: both of the class are alike; of the students' three pairs one is.
    assert (found["two first programs alike"].simulated, found["two first programs alike"].real) == (1.0, 1 / 3)
    # Without success after 1, 2: class 1/2, 1/2; students 1, 1/2 (of two still at it one succeeds).
    assert found["attempts to success"].distance.value == pytest.approx(0.5)
    assert found["solved"].floor is None, "too few students for halves"


def test_a_class_like_the_real_one_is_not_told_apart_and_one_of_copies_is() -> None:
    real = people("r", 40, 1)
    alike = compare_class(people("s", 60, 2), real, 1)
    apart = [name for name, one in alike.items() if one.told_apart]
    assert not set(apart) - {"edit size"}, apart
    copies = [way(f"c{n}", a, ("x = 1\n", 0.0), ("x = 1\n", 0.0)) for n in range(60) for a in "abc"]
    broken = compare_class(copies, real, 1)
    for name in ("unchanged", "solved", "two first programs alike", "attempts", "edit size", "attempts to success"):
        assert broken[name].told_apart, name
    assert compare_class(people("s", 60, 2), real, 1) == alike


def test_students_who_left_without_a_submission_count_as_such() -> None:
    real = people("r", 8, 1)
    made = [*people("s", 8, 2), Way("s99", "a", (), (), ())]
    found = compare_class(made, real, 1)
    assert found["solved"].simulated is not None
    assert found["solved"].simulated < compare_class(made[:-1], real, 1)["solved"].simulated  # type: ignore[operator]
    page = to_markdown(found, made, real)
    assert "Class: 9 students, 25 trajectories" in page
    assert "| two first programs alike | difference |" in page
