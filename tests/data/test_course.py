"""The made-up course: what is packaged is what the generator writes, and what its README says."""

from __future__ import annotations

from simstudent.data import course


def test_every_trajectory_says_where_it_comes_from() -> None:
    corpus = course.load()
    assert {t.source for t in corpus.trajectories} == {"made-up course"}
    assert all(student.startswith("made-up-") for student in corpus.students)
