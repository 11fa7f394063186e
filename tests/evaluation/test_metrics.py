"""Rows and figures: what counts, what is left out, and what never depends on what."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace

import pytest

from simstudent.errors import SimstudentError
from simstudent.evaluation.metrics import Figures, evaluate
from simstudent.evaluation.steps import outcome_agreement
from simstudent.rollout.records import Rollout, Step
from tests.evaluation.rows import rollout_rows, step_rows

FEW = 200


def step(k: int = 1, **changed: object) -> Step:
    base = Step(
        k=k,
        code="x = 1\n",
        grade=0.5,
        status="graded",
        tests="PWPW",
        student_code="x = 2\n",
        student_grade=0.25,
        student_status="graded",
        student_tests="PWWE",
    )
    return replace(base, **changed)  # type: ignore[arg-type]


def rollout(*steps: Step, **changed: object) -> Rollout:
    base = Rollout(
        key="ann/lab/1/0",
        method="sft",
        student="ann",
        assignment="lab",
        start=1,
        sample=0,
        truths=max(1, len(steps)),
        steps=steps,
        stop="step_limit",
        solved=True,
        previous_code="x = 0\n",
        previous_grade=0.0,
    )
    return replace(base, **changed)  # type: ignore[arg-type]


def class_of(students: int, methods: tuple[str, ...] = ("sft", "repeat-last", "constant-0")) -> list[Rollout]:
    """Made-up students and methods: sft copies most of the time, the others do what they are called."""
    generator = random.Random(4)
    found = []
    for number in range(students):
        programs = [f"total = {number}\nfor i in range({i}):\n    total += i\n" for i in range(6)]
        grades = [*sorted(generator.choice((0.0, 0.2, 0.4)) for _ in range(5)), 1.0]
        for start in range(1, 6):
            for method in methods:
                code, grade = programs[start - 1], grades[start - 1]
                steps = []
                for k in range(1, min(5, 6 - start) + 1):
                    status, tests = "graded", "P" * round(5 * grade) + "W" * (5 - round(5 * grade))
                    if method == "constant-0":
                        status, tests = "constant", ""
                    elif method == "sft" and generator.random() < 0.3:
                        code, grade, tests = code + "print(total)\n", generator.choice((0.2, 1.0)), "PWWWW"
                    real = grades[start + k - 1]
                    own = (None, 0.0) if status == "constant" else (code, grade)
                    steps.append(
                        Step(k, own[0], own[1], status, tests, programs[start + k - 1], real, "graded", "PWWWW")
                    )
                    if own[1] == 1.0:
                        break
                found.append(
                    rollout(
                        *steps,
                        key=f"s{number}/lab/{start}/0",
                        method=method,
                        student=f"s{number}",
                        start=start,
                        truths=min(5, 6 - start),
                        previous_code=programs[start - 1],
                        previous_grade=grades[start - 1],
                    )
                )
    return found


def figures(rollouts: list[Rollout]) -> Figures:
    return evaluate(rollouts, resamples=FEW, codebleu=False)


# --- rows -----------------------------------------------------------------------------------------------


def test_a_covered_row() -> None:
    (row,) = step_rows(rollout(step()))
    assert (row.coverage, row.grade_proximity, row.test_agreement) == (1.0, 0.75, 0.5)
    assert (row.exact_match, row.same_program, row.repeats_previous) == (0.0, 0.0, 0.0)
    assert (row.compiles, row.student_compiles, row.student_repeats_previous) == (1.0, 1.0, 0.0)


def test_uncovered_rows_hold_nothing_but_coverage() -> None:
    rows = step_rows(rollout(step(grade=1.0), truths=3, stop="solved"))
    assert [row.k for row in rows] == [1, 2, 3]
    assert [row.coverage for row in rows] == [1.0, 0.0, 0.0]
    assert rows[2].grade_proximity is rows[2].compiles is rows[2].student_compiles is None


def test_an_answer_without_a_program_counts_against_the_method() -> None:
    (row,) = step_rows(rollout(step(code=None, status="no_code", grade=0.0, tests="")))
    assert (row.grade_proximity, row.compiles, row.exact_match, row.repeats_previous) == (0.75, 0.0, 0.0, 0.0)
    assert row.test_agreement == 0.0
    assert row.codebleu is None


def test_a_constant_grade_has_grade_proximity_only() -> None:
    (row,) = step_rows(rollout(step(code=None, status="constant", grade=0.0, tests="")))
    assert (row.coverage, row.grade_proximity) == (1.0, 0.75)
    assert row.compiles is row.exact_match is row.repeats_previous is row.test_agreement is row.same_program is None


def test_repeats_look_at_the_history_of_their_own() -> None:
    silent = step(2, code=None, status="no_code", student_code="x = 2\n")
    own = [step(1, code="x = 0"), silent, step(3, code="x = 0\n\n", student_code="x = 3\n")]
    rows = step_rows(rollout(*own))
    assert [row.repeats_previous for row in rows] == [1.0, 0.0, 1.0]  # a silent answer leaves the last program
    assert [row.student_repeats_previous for row in rows] == [0.0, 1.0, 0.0]
    (first,) = step_rows(rollout(step(), previous_code=None))
    assert first.repeats_previous == first.student_repeats_previous == 0.0


def test_the_same_program_in_another_layout() -> None:
    (row,) = step_rows(rollout(step(code="x  =  2  # two")))
    assert (row.exact_match, row.same_program) == (0.0, 1.0)


def test_agreement_per_test() -> None:
    assert outcome_agreement("", "") is None
    assert outcome_agreement("PPWE", "PWWE") == 0.75
    assert outcome_agreement("", "P-") == 0.5  # what was never run is not run on either side


def test_syntax_errors() -> None:
    (row,) = step_rows(rollout(step(status="syntax_error", student_status="syntax_error")))
    assert (row.compiles, row.student_compiles) == (0.0, 0.0)


def test_whether_the_student_solved_it_may_be_unknown() -> None:
    cut = rollout(step(grade=1.0, student_grade=0.0), truths=2, stop="solved")
    (row,) = rollout_rows([cut])
    assert (row.solved_within_steps, row.student_solved_within_steps, row.solved_difference) == (1.0, None, None)
    later = rollout(step(student_grade=1.0), start=2, previous_grade=0.0)
    known = rollout_rows([cut, later])
    assert [row.student_solved_within_steps for row in known] == [1.0, 1.0]
    assert [row.solved_difference for row in known] == [0.0, -1.0]


# --- figures --------------------------------------------------------------------------------------------


def test_shares_and_numbers() -> None:
    found = figures([rollout(step(), step(2, code="x = 1\n"), student="ann"), rollout(step(), student="ben", truths=2)])
    sft = found.of("sft")
    assert sft.paper["coverage"].value == 0.75
    assert (sft.paper["coverage"].pairs, sft.paper["coverage"].students) == (4, 2)
    assert sft.micro["repeats_previous"].value == pytest.approx(1 / 3)
    assert sft.micro["codebleu"].value is None
    assert sft.skill == {}
    assert (found.codebleu, found.resamples, found.seed) == (False, FEW, 0)


def test_failed_rollouts_are_left_out_and_counted() -> None:
    good = [rollout(step(), student="ann"), rollout(step(), student="ben")]
    failed = [
        rollout(student="cleo", error="engine: out of memory", stop="error"),
        rollout(step(grade=1.0), student="dan", error="grader died"),
        rollout(step(status="grader_error"), student="eve"),
    ]
    clean, mixed = figures(good).of("sft"), figures(failed + good).of("sft")
    assert (mixed.counts.rollouts, mixed.counts.errors, mixed.counts.students) == (5, 3, 2)
    assert replace(mixed, counts=clean.counts) == clean


def test_a_method_of_failures_only_has_no_values() -> None:
    nothing = figures([rollout(stop="error", error="no")]).of("sft")
    assert nothing.counts.errors == 1
    assert nothing.paper["coverage"].value is nothing.micro["solved_within_steps"].value is None
    assert figures([]).methods == ()


def test_codebleu_of_pairs_with_two_programs_only() -> None:
    pytest.importorskip("codebleu")
    steps = [
        step(1, code="x = 2\ny = x\n", student_code="x = 2\ny = x\n"),
        step(2, code=None, status="no_code"),
        step(3, student_code=" "),
    ]
    found = evaluate([rollout(*steps)], resamples=FEW).of("sft")
    assert found.micro["codebleu"].pairs == 1
    assert found.micro["codebleu"].value == pytest.approx(1.0)
    assert [curve.pairs for curve in found.by_step["codebleu"]] == [1, 0, 0]
    constant = evaluate([rollout(step(code=None, status="constant"))], resamples=FEW).of("sft")
    assert constant.micro["codebleu"].value is None
    assert constant.paper["codebleu"].value is None


def test_codebleu_that_is_wanted_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from graders.codebleu import analysis as module

    module.tools.cache_clear()
    monkeypatch.setitem(sys.modules, "codebleu", None)
    with pytest.raises(SimstudentError, match=r"simstudent\[codebleu\]"):
        evaluate([rollout(step())])
    assert evaluate([rollout(step())], codebleu=False, resamples=FEW).methods


def test_skill_is_the_difference_on_the_same_pairs() -> None:
    rollouts = [
        rollout(step(grade=0.25), step(2, grade=0.25), student="ann"),
        rollout(step(grade=1.0), student="ben", truths=2),  # solved: its second step is uncovered
        rollout(step(), student="cleo"),  # no such start in the baseline
        rollout(step(grade=0.75), step(2, grade=0.5), student="ann", method="repeat-last"),
        rollout(step(grade=0.5), step(2, grade=0.0), student="ben", method="repeat-last"),
    ]
    found = figures(rollouts)
    skill = found.of("sft").skill["grade_proximity"]
    assert (skill.difference.pairs, skill.difference.students) == (3, 2)
    assert skill.own.value == pytest.approx((1 + 1 + 0.25) / 3)
    assert skill.baseline.value == pytest.approx((0.5 + 0.75 + 0.75) / 3)
    assert skill.difference.value == pytest.approx(0.25 / 3)
    assert skill.difference_paper.value == pytest.approx(((0.5 - 0.5) / 2 + 0.25) / 2)
    assert found.of("repeat-last").skill == {}


def test_one_baseline_rollout_stands_beside_every_sample() -> None:
    samples = [rollout(step(grade=grade), sample=i) for i, grade in enumerate((0.25, 0.5))]
    once = rollout(step(grade=0.5), method="repeat-last")
    skill = figures([*samples, once]).of("sft").skill["grade_proximity"]
    assert (skill.difference.value, skill.difference.pairs) == (0.125, 2)
    twice = [rollout(step(grade=g), method="repeat-last", sample=i) for i, g in ((1, 1.0), (7, 0.25))]
    skill = figures([*samples, *twice]).of("sft").skill["grade_proximity"]
    assert (skill.difference.value, skill.difference.pairs) == (0.5, 1)  # sample 1 has a partner, sample 0 has none


def test_another_method_changes_nothing() -> None:
    rollouts = class_of(8)
    alone = figures([r for r in rollouts if r.method != "constant-0"])
    together = figures(rollouts)
    assert together.of("sft") == alone.of("sft")
    assert together.of("repeat-last") == alone.of("repeat-last")
    without_baseline = figures([r for r in rollouts if r.method == "sft"]).of("sft")
    strata = tuple(
        replace(s, skill=nothing.skill)
        for s, nothing in zip(together.of("sft").strata, without_baseline.strata, strict=True)
    )
    assert replace(together.of("sft"), skill={}, strata=strata) == without_baseline


def test_order_and_a_round_trip_through_json_change_nothing() -> None:
    rollouts = class_of(8)
    expected = figures(rollouts)
    shuffled = rollouts[:3] + random.Random(0).sample(rollouts[3:], len(rollouts) - 3)
    assert figures(shuffled) == expected
    read_back = [Rollout.from_dict(json.loads(json.dumps(r.to_dict()))) for r in rollouts]
    assert figures(read_back) == expected


def test_the_seed_moves_intervals_and_no_figure() -> None:
    one, other = (evaluate(class_of(8), resamples=FEW, codebleu=False, seed=seed).of("sft") for seed in (1, 2))
    assert one.micro["grade_proximity"].value == other.micro["grade_proximity"].value
    assert one.micro["grade_proximity"].interval != other.micro["grade_proximity"].interval


@pytest.mark.parametrize(
    ("rollouts", "message"),
    [
        ([rollout(step()), rollout(step())], "there twice"),
        ([rollout(step(), truths=0)], "1 steps but only 0 real"),
        ([rollout(step(2))], "calls itself k = 2"),
        ([rollout(step(grade=20.0))], "not between 0 and 1"),
        ([rollout(step(student_grade=float("nan")))], "not between 0 and 1"),
    ],
)
def test_records_that_contradict_themselves(rollouts: list[Rollout], message: str) -> None:
    with pytest.raises(SimstudentError, match=message):
        figures(rollouts)
