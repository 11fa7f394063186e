"""Whose programs training has too, range by range, beside the definition."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simstudent.data.copies import Programs

TOP = 2**64 - 1
HASHES = st.sampled_from([0, 1, 2**56 - 1, 2**56, 2**63, TOP])
TRACE = st.tuples(st.booleans(), st.sampled_from([3, TOP]), st.sets(HASHES, min_size=1))


@settings(max_examples=50)
@given(st.lists(TRACE, min_size=1, max_size=12), st.integers(1, 5))
def test_copies_are_those_of_the_definition(traces: list[tuple[bool, int, set[int]]], at_once: int) -> None:
    pairs = [(n, program) for n, (_, _, held) in enumerate(traces) for program in held]
    with tempfile.TemporaryDirectory() as folder:
        programs = Programs(Path(folder))
        for first in range(0, len(pairs), at_once):
            programs.add(pairs[first : first + at_once])
        training = np.array([there for there, _, _ in traces])
        anyone, own = programs.copied(training, np.array([student for _, student, _ in traces], np.uint64))
    known = {program for there, _, held in traces if there for program in held}
    theirs = {(student, program) for there, student, held in traces if there for program in held}
    for n, (there, student, held) in enumerate(traces):
        assert anyone[n] == (not there and bool(held & known))
        assert own[n] == (not there and any((student, program) in theirs for program in held))
