"""What is written with new students' vectors beside the students' own: worked figures from records."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest

from simstudent.evaluation.adapting_files import to_csv
from simstudent.evaluation.adapting_points import IN_A_WINDOW, Points, of_rollouts, points
from simstudent.rollout.records import Rollout, Step


def rollout(method: str, student: int, title: int, codes: Sequence[str | None], *, error: str | None = None) -> Rollout:
    """From the program "start", on which this student goes on with two programs of their own length."""
    own = [program(student), program(student + 1)]
    steps = tuple(
        Step(k, code, 0.0, "graded", "", real, 0.0, "graded", "")
        for k, (code, real) in enumerate(zip(codes, own, strict=False), 1)
    )
    key = f"s{student}/t{title}/1/0"
    stop = "error" if error else "solved" if len(codes) < 2 else "student_done"
    return Rollout(key, method, f"s{student}", f"t{title}", 1, 0, 2, steps, stop, False, "start = 0", 0.0, error)  # type: ignore[arg-type]


def program(lines: int) -> str:
    return "\n".join(f"x{n} = {n}" for n in range(lines))


def figures(made: list[Rollout]) -> Points:
    return points(of_rollouts(made, {}), without=IN_A_WINDOW, resamples=200)


PAIRS = [(student, title) for student in range(1, 6) for title in range(3)]


def test_bleu_and_correlations_of_vectors_are_set_beside_nobodys() -> None:
    pytest.importorskip("nltk")
    good = [rollout("vector-k10", s, t, [program(s), program(s + 1)]) for s, t in PAIRS]
    fair = [rollout("vector-k2", s, t, [program(s), program(s + 1) + "\ny = 1" * t]) for s, t in PAIRS]
    poor = [rollout("nobody", s, t, ["a = 1", "\n".join(["a = 1"] * (1 + (s * (t + 2)) % 4))]) for s, t in PAIRS]
    copied = [rollout("repeat-last", s, t, ["start = 0", "start = 0"]) for s, t in PAIRS]
    found = figures([*copied, *good, *fair, *poor])
    assert (found.starts, found.of, found.students, found.titles) == (15, 15, 5, 3)
    assert [p.condition for p in found.points] == ["nobody", "vector-k2", "vector-k10", "repeat-last"]
    assert [p.k for p in found.points] == [0, 2, 10, None]
    nobody, two, ten, repeated = found.points
    assert (nobody.bleu_apart, nobody.correlation_apart) == (None, None)
    for name in ("last_lines", "first_to_last", "edit_size"):
        assert ten.properties[name].value == pytest.approx(1)
    assert "states" not in ten.properties  # as many as the window has
    assert "last_lines" in found.averaged
    assert ten.correlation is not None
    assert ten.correlation.value == pytest.approx(1)
    values = [[e.value for e in (p.bleu, p.bleu_apart) if e is not None] for p in (nobody, two, ten)]
    assert values[0][0] < values[1][0] < values[2][0]  # type: ignore[operator]
    assert values[2][1] == pytest.approx(values[2][0] - values[0][0])  # type: ignore[operator]
    assert ten.bleu_apart is not None
    assert ten.bleu_apart.interval is not None
    assert ten.bleu_apart.interval.low > 0
    # Who copies makes no edit: of fewer properties the mean would be another figure.
    assert repeated.correlation is None
    assert repeated.bleu is not None
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    (row,) = [r for r in rows if (r["condition"], r["figure"], r["property"]) == ("vector-k10", "bleu_apart", "")]
    assert float(row["value"]) == pytest.approx(ten.bleu_apart.value)


def test_the_students_side_comes_from_the_longest_rollout() -> None:
    early = [rollout("nobody", s, t, [program(s)]) for s, t in PAIRS]
    late = [rollout("vector-k1", s, t, [program(s), "z = 1"]) for s, t in PAIRS]
    true, _ = of_rollouts([*early, *late], {})
    assert {t.trace.programs for t in true if t.student == "s2"} == {("start = 0", program(2), program(3))}
    assert of_rollouts(early, {})[0] == []  # nobody reached the student's second program


def test_starts_without_a_program_of_everybody_are_left_out_and_counted() -> None:
    vector = [rollout("vector-k1", s, t, [program(s), None if t else program(2)]) for s, t in PAIRS]
    nobody = [rollout("nobody", s, t, [None, None] if t == 2 else ["a = 1", "b = 1"]) for s, t in PAIRS]
    failed = [rollout("nobody", 9, 0, ["a = 1"], error="engine: gone"), rollout("vector-k1", 9, 0, ["a = 1", "b = 2"])]
    found = figures([*vector, *nobody, *failed])
    assert (found.starts, found.of) == (10, 16)
    assert figures([r for r in nobody if r.assignment == "t2"]).points == ()
