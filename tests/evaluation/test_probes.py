"""Probes find what is in states and nothing where nothing is; ends of prefixes are where the answers end."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from simstudent.cli import main
from simstudent.data.records import Submission, Trajectory
from simstudent.evaluation.grouped_ridge import ALPHAS, penalties
from simstudent.evaluation.probes import Prefixes, Scored, _predicted, frequent, probes, targets_of, word_counts
from simstudent.evaluation.representations import _so_far
from simstudent.evaluation.vector_probes import vector_probes

pytest.importorskip("sklearn")


def trajectory(codes: list[str], more: dict[str, bool] | None = None) -> Trajectory:
    states = [Submission(c, f"2024-01-01T00:00:{10 * n:02d}", more=more or {}) for n, c in enumerate(codes)]
    return Trajectory("s1", "a1", tuple(states), "unknown", "made up")


def test_what_is_true_of_a_prefix() -> None:
    t = trajectory(["a", "ab", "abcd", "abc"])
    assert targets_of(t, [0, 0, 0.5, 1])[1] == {
        "is_last": 0,
        "past_half": 0,
        "backtracks_later": 0,  # distances to "abc" are 1, 1, 0 from here
        "solves_at_last": 1,
        "attempts_left": 2,
        "seconds_left": pytest.approx(math.log1p(20)),
        "distance_to_end": pytest.approx(math.log1p(1)),
    }
    away = targets_of(trajectory(["abc", "x", "abd"]), None)[0]
    assert away["backtracks_later"] == 1
    assert math.isnan(away["solves_at_last"])


def test_of_a_cut_trace_nothing_is_known_that_needs_its_end() -> None:
    assert all(math.isnan(v) for v in targets_of(trajectory(["a", "b"], {"censored": True}), None)[0].values())


def test_titles_of_few_trajectories_take_no_part() -> None:
    titles = frequent(["a"] * 12 + ["b"] * 12, [f"t{n}" for n in range(12)] + ["t0"] * 12)
    assert (titles[:12] == 0).all()
    assert np.isnan(titles[12:]).all()


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_auc_equals_counting_pairs(ties: bool) -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 2, 40).astype(float)
    predicted = generator.normal(size=40).round(0 if ties else 9)
    weights = generator.integers(0, 4, (5, 40)).astype(float)
    made = Scored("AUC", truth, predicted, truth).values(weights)
    for row, value in zip(weights, made, strict=True):
        right = pairs = 0.0
        for i in np.flatnonzero(truth == 1):
            for j in np.flatnonzero(truth == 0):
                pairs += row[i] * row[j]
                right += (
                    row[i] * row[j] * (predicted[i] > predicted[j])
                    + row[i] * row[j] * (predicted[i] == predicted[j]) / 2
                )
        assert value == pytest.approx(right / pairs)


def made_up(rows: int = 600, students: int = 30) -> Prefixes:
    generator = np.random.default_rng(0)
    signal = generator.normal(size=rows)
    telling = np.stack([signal + 0.3 * generator.normal(size=rows), *generator.normal(size=(7, rows))], axis=1)
    targets = {
        name: np.full(rows, math.nan)
        for name in ("title", "is_last", "past_half", "backtracks_later", "solves_at_last")
    }
    targets |= {"is_last": (signal > 0).astype(float), "attempts_left": signal}
    targets |= {"seconds_left": np.full(rows, math.nan), "distance_to_end": np.full(rows, math.nan)}
    keys = tuple(f"t{n // 4}" for n in range(rows))
    owners = tuple(f"s{n // 4 % students}" for n in range(rows))
    return Prefixes(keys, owners, targets, {"telling": telling, "noise": generator.normal(size=(rows, 8))})


def test_a_signal_is_found_and_noise_and_shuffled_targets_are_at_chance() -> None:
    found = {(p.target, p.representation): p for p in probes(made_up(), by="student")}
    assert set(found) == {(t, r) for t in ("is_last", "attempts_left") for r in ("telling", "noise")}
    for (target, name), p in found.items():
        chance = 0.5 if target == "is_last" else 0.0
        assert p.value.value is not None
        assert p.value.interval is not None
        assert p.control is not None
        assert abs(p.control - chance) < 0.1
        if name == "telling":
            assert p.value.interval.low > chance + 0.3
        else:
            assert abs(p.value.value - chance) < 0.1
            assert p.behind is not None
            assert p.behind.interval is not None
            assert p.behind.interval.low > 0.2


@pytest.mark.parametrize("features", [6, 70])  # more features than an inner fold has rows
def test_targets_that_are_fitted_together_come_out_as_if_alone_with_scikit_learn(features: int) -> None:
    from sklearn.linear_model import Ridge, RidgeClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import LabelBinarizer, StandardScaler

    generator = np.random.default_rng(4)
    states, groups = generator.normal(size=(120, features)), np.arange(120) // 5
    telling = states[:, :6] @ generator.normal(size=6)
    titles = np.digitize(telling + 2 * generator.normal(size=120), [-1.0, 1.0]).astype(float)
    asked = {"attempts_left": telling, "title": titles}
    both = {name: (values, generator.permutation(values)) for name, values in asked.items()}
    made = _predicted(states, groups, both, 3, 7)
    folds = GroupKFold(3, shuffle=True, random_state=7)
    used = set()
    for name in asked:
        for scored, values in zip(made[name], both[name], strict=True):
            wanted = np.empty(120)
            numbers = LabelBinarizer().fit_transform(values) if name == "title" else values
            for train, test in folds.split(states, groups=groups):
                errors = []
                for alpha in ALPHAS:
                    model = make_pipeline(StandardScaler(), Ridge(alpha))
                    guess = cross_val_predict(model, states[train], numbers[train], cv=folds, groups=groups[train])
                    errors.append(np.square(guess - numbers[train]).sum())
                alpha = ALPHAS[int(np.argmin(errors))]
                used.add(alpha)
                model = make_pipeline(StandardScaler(), (RidgeClassifier if name == "title" else Ridge)(alpha))
                wanted[test] = model.fit(states[train], values[train]).predict(states[test])
            np.testing.assert_allclose(scored.predicted, wanted, atol=1e-8)
            assert scored.truth is values
    assert len(used) > 2


def test_rows_that_are_copies_do_not_make_the_penalty_too_small() -> None:
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    generator = np.random.default_rng(5)
    groups = np.arange(300) // 10
    states = generator.normal(size=(30, 40))[groups] + 0.05 * generator.normal(size=(300, 40))
    values = generator.normal(size=30)[groups]  # nothing to be read off
    alone = RidgeCV(ALPHAS).fit(StandardScaler().fit_transform(states), values)
    assert alone.alpha_ == ALPHAS[0]
    (chosen,) = penalties(states, values[:, None], groups, np.zeros(1, int), 5, 1)
    assert ALPHAS[chosen] >= 1000
    (scored, _) = _predicted(states, groups, {"attempts_left": (values, values)}, 5, 1)["attempts_left"]
    assert scored.values(np.ones((1, 300)))[0] > -0.2


def test_a_title_that_the_training_folds_lack_is_not_predicted() -> None:
    generator = np.random.default_rng(6)
    groups = np.arange(60) // 2
    titles = np.where(groups == 0, 0.0, 1.0 + groups % 2)
    (scored, _) = _predicted(generator.normal(size=(60, 5)), groups, {"title": (titles, titles)}, 5, 1)["title"]
    assert set(scored.predicted[:2]) <= {1.0, 2.0}
    assert set(scored.predicted) >= {1.0, 2.0}


def test_what_is_counted_of_prefixes_is_what_their_texts_hold() -> None:
    from sklearn.preprocessing import normalize

    programs = ["x = 1", "", "x = 2\nprint(x)"]
    texts = ["\n".join(programs[:n]) for n in (1, 2, 3)]
    characters, words = _so_far(programs)
    assert characters == [len(text) for text in texts]
    np.testing.assert_allclose(words, normalize(word_counts(texts)), atol=1e-12)


def test_a_trait_in_vectors_is_found_and_in_none_elsewhere() -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(80, 6))
    traits = {"there": vectors[:, 0] * 3 + 1, "not there": generator.normal(size=80), "constant": np.ones(80)}
    found = {(v.property, v.kind): v for v in vector_probes(vectors, traits, resamples=200)}
    assert {name for name, _ in found} == {"there", "not there"}
    for kind in ("mlp", "ridge"):
        there = found["there", kind]  # type: ignore[index]
        assert there.value.interval is not None
        assert there.value.interval.low > 0.5
        assert there.control.value is not None
        assert abs(there.control.value) < 0.4


RECIPE = """\
name: tiny
seed: 3
model: {{id: {model}}}
data:
  source: {{kind: course}}
  select: [stop_at_full_grade, min_submissions: 3]
  split: {{by: cells, unseen_students: 0.3, unseen_assignments: 0.3, test: 0.3}}
dialogue: {{feedback: summary, window: 1280, answer_tokens: 24}}
students: {{kind: table}}
sft: {{limit: 4, batch_size: 2, packing: true, evaluations: 1}}
"""


@pytest.mark.slow
def test_probing_a_run_with_vectors(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.format(model=tiny_model), encoding="utf-8")
    assert main(["sft", str(path), "--runs", str(tmp_path / "runs")]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    capsys.readouterr()
    assert (
        main(
            [
                "probe",
                str(run),
                "--split",
                "seen_student_unseen_assignment",
                "--by",
                "trajectory",
                "--folds",
                "3",
                "--limit",
                "60",
                "--resamples",
                "100",
            ]
        )
        == 0
    )
    out = capsys.readouterr()
    text = (run / "probes" / "seen_student_unseen_assignment.md").read_text(encoding="utf-8")
    for name in ("true student", "another student", "no student", "position", "words", "attempts_left (R2)"):
        assert name in text
    made = json.loads((run / "probes" / "seen_student_unseen_assignment.json").read_text(encoding="utf-8"))
    assert made["settings"]["prefixes"] > 20
    assert main(["probe", str(run), "--split", "unseen_student_seen_assignment"]) == 2
    assert "no student here has a vector" in capsys.readouterr().err
    assert out.err == ""


def test_prefixes_end_with_the_answers_and_are_averaged_without_the_student(tiny_model: Path) -> None:
    import torch

    from simstudent.dialogue.encode import Encoder
    from simstudent.dialogue.serialize import Dialogue, Turn
    from simstudent.evaluation.representations import begun, means
    from simstudent.training.models import load_model, load_tokenizer
    from simstudent.training.students import FIRST, Roster, Students, attach

    encoder = Encoder(load_tokenizer(str(tiny_model)), window=600, answer_tokens=20)
    t = trajectory(["x = 1", "x = 2", "x = 30"])
    turns = tuple(Turn(f"```python\n{s.code}\n```", f"{n} of 3 tests passed") for n, s in enumerate(t.submissions))
    (row,) = begun(encoder, [t], {t.key: Dialogue(t.key, "A system.", "Write.", turns)})
    assert row.numbers == (1, 2, 3)
    for end, turn in zip(row.ends, turns, strict=True):
        answer = encoder.answer(turn)
        assert row.row.ids[end - len(answer) : end] == answer
    model = load_model(str(tiny_model), dtype="float32")
    alone = means(model, [row], None)
    students = Students(Roster.of(["s1"]), torch.ones(1, 128), torch.zeros(128))
    detach = attach(model, students.vectors)
    before = means(model, [row], lambda student: FIRST + 1)
    detach()
    assert alone.shape == before.shape == (3, 128)
    with torch.inference_mode():
        ids = torch.tensor([row.row.ids[: row.ends[1]]])
        wanted = model.get_decoder()(input_ids=ids).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(alone[1], wanted.numpy(), atol=1e-4)
    assert np.abs(before - alone).max() > 1e-3


def test_seconds_left_are_not_known_without_times() -> None:
    t = trajectory(["a", "b", "c"])
    untimed = Trajectory("s1", "a1", (Submission("a"), *t.submissions[1:]), "unknown", "made up")
    assert math.isnan(targets_of(untimed, None)[0]["seconds_left"])
    assert targets_of(untimed, None)[1]["seconds_left"] == pytest.approx(math.log1p(10))
