"""Trajectories to read: one page with a student and the simulations side by side, of any number of rollouts.

An index of all starts is decoded when the page opens; programs come in packs of neighbouring trajectories (JSON,
deflated, base64) that are decoded when one of their starts is looked at. Within a pack each text is there once. Texts
reach the page as text nodes only (viewer.js), so that no program can become markup.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graders.compare import edit_similarity, trimmed
from simstudent.dialogue.printable import printable
from simstudent.html import document, text
from simstudent.report.gather import Part
from simstudent.report.page import asset
from simstudent.rollout.records import Rollout, Step

PACK = 150_000
"""Characters of a pack before it is compressed, about: a few milliseconds to decode."""
FLAGS = (
    ("solved", "solves the task"),
    ("gave up", "gives up"),
    ("failed", "engine or grader failed"),
    ("copies", "hands in its last program again"),
    ("syntax", "does not compile"),
    ("no program", "no program"),
    ("error", "exception, time-out or memory"),
    ("exact", "the student's very program"),
    ("cut", "cut off at the token limit"),
)
"""What a list of starts can be filtered by: short name, and words for people."""


def viewer(title: str, part: Part) -> str:
    """The page of a part's trajectories. It holds students' programs and needs nothing but itself."""
    index, packs = _packed(part)
    options = "".join(f"<option value={at}>{text(words)}</option>" for at, (_, words) in enumerate(FLAGS))
    data = "".join(
        f"<script type=text/plain id={name}>{_deflated(content)}</script>"
        for name, content in [("index", index), *((f"p{number}", pack) for number, pack in enumerate(packs))]
    )
    body = asset("viewer.html").replace("<!--flags-->", options).replace("<!--title-->", text(title))
    return document(title, body + data, style=asset("viewer.css"), script=asset("viewer.js"))


def _deflated(content: Mapping[str, Any]) -> str:
    raw = json.dumps(content, separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def _packed(part: Part) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The index, and the packs. Everything is a position in a list; viewer.js says what stands where."""
    methods = list(dict.fromkeys(r.method for r in part.rollouts))
    students, assignments = (sorted({getattr(r, name) for r in part.rollouts}) for name in ("student", "assignment"))
    number = {name: at for at, name in enumerate(methods)}
    who, what = ({name: at for at, name in enumerate(names)} for names in (students, assignments))
    apart = _Apart()
    packs: list[_Pack] = []
    cases: list[list[int]] = []
    rolls: list[list[int]] = []
    for (student, assignment), trajectory in _trajectories(part.rollouts):
        if not packs or packs[-1].size > PACK:
            packs.append(_Pack())
        real = _real([r for _, own in trajectory for r in own])
        for t, own in trajectory:
            place = packs[-1].add(own, number, real)
            truths, solved = max(r.truths for r in own), int(own[0].solved)
            for r in own:
                programs, grades = apart.of(r)
                rolls.append([len(cases), number[r.method], r.sample, programs, grades, _flags(r)])
            cases.append([who[student], what[assignment], t, truths, solved, len(packs) - 1, place])
    tasks = part.assignments
    index = {
        "methods": methods,
        "model": [int(_is_model(m)) for m in methods],
        "students": [printable(s) for s in students],
        "assignments": [printable(a) for a in assignments],
        "tasks": [
            [printable(str(tasks.get(a, {}).get("statement", ""))), tasks.get(a, {}).get("tests", [])]
            for a in assignments
        ],
        "cases": cases,
        "rolls": rolls,
    }
    return index, [pack.content() for pack in packs]


def _real(rollouts: Sequence[Rollout]) -> dict[int, Step]:
    """What any rollout of a trajectory shows of the student's own submissions, by their number."""
    found: dict[int, Step] = {}
    for r in rollouts:
        for s in r.steps:
            old = found.get(r.start + s.k)
            if old is None or (old.student_feedback is None and s.student_feedback is not None):
                found[r.start + s.k] = s
    return found


def _is_model(method: str) -> bool:
    """Whether to show a method when the page opens: one that writes programs of its own."""
    name = method.rpartition("/")[2]
    return not name.startswith(("constant-", "repeat-last", "reference", "oracle", "random", "nearest"))


def _trajectories(
    rollouts: Sequence[Rollout],
) -> Iterator[tuple[tuple[str, str], list[tuple[int, list[Rollout]]]]]:
    """By student and assignment the starts, with the rollouts from each."""
    found: dict[tuple[str, str], dict[int, list[Rollout]]] = {}
    for r in rollouts:
        found.setdefault((r.assignment, r.student), {}).setdefault(r.start, []).append(r)
    for (assignment, student), starts in sorted(found.items()):
        yield (student, assignment), sorted(starts.items())


class _Apart(dict[tuple[str, str], float]):
    """How far apart two programs are, 1 - their similarity, computed once a pair."""

    def __missing__(self, pair: tuple[str, str]) -> float:
        return self.setdefault(pair, 1 - edit_similarity(*pair))

    def of(self, r: Rollout) -> tuple[int, int]:
        """Means over the student's steps, in thousandths: of programs and of grades. What is not there counts as 1."""
        if not r.truths or r.error is not None:
            return -1, -1
        programs = grades = float(r.truths - len(r.steps))
        for s in r.steps:
            grades += abs(s.grade - s.student_grade)
            programs += 1.0 if s.code is None else self[s.code, s.student_code]
        return round(1000 * programs / r.truths), round(1000 * grades / r.truths)


def _flags(r: Rollout) -> int:
    last, copies = r.previous_code, False
    for s in r.steps:
        copies |= s.code is not None and last is not None and trimmed(s.code) == trimmed(last)
        last = last if s.code is None else s.code
    statuses = {s.status for s in r.steps}
    told = (
        r.stop == "solved",
        r.stop == "give_up",
        r.error is not None,
        copies,
        "syntax_error" in statuses,
        bool(statuses & {"no_code", "bad_diff"}),
        bool(statuses & {"runtime_error", "timeout", "memory"}) or any(set("ETM") & set(s.tests) for s in r.steps),
        any(s.code is not None and trimmed(s.code) == trimmed(s.student_code) for s in r.steps),
        any(s.truncated for s in r.steps),
    )
    return sum(1 << at for at, holds in enumerate(told) if holds)


class _Pack:
    """Starts of neighbouring trajectories and their texts, each once.

    A start: what is known of the student, by submission, [text, grade, tests, status, feedback]; and the rollouts,
    [method, sample, stop, error, steps], a step being [text, grade, tests, status, answer, reason, cut off, said,
    exception, feedback]. Texts are numbers, -1 for none.
    """

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.cases: list[Any] = []
        self.size = 0

    def text(self, words: str | None) -> int:
        if words is None:
            return -1
        if words not in self.texts:
            self.size += len(words)
            self.texts[words] = len(self.texts)
        return self.texts[words]

    def add(self, own: Sequence[Rollout], number: Mapping[str, int], known: Mapping[int, Step]) -> int:
        """Put the rollouts of one start in, beside what is known of the student. The start's place in the pack."""
        first = own[0]
        real: dict[int, list[Any]] = {}
        if first.previous_code is not None:
            real[first.start] = [self.text(first.previous_code), first.previous_grade, "", "", -1]
        for at in range(first.start, first.start + max(r.truths for r in own) + 1):
            if at in known:
                s = known[at]
                told = self.text(s.student_feedback)
                code = self.text(s.student_code)
                real[at] = [code, _grade(s.student_grade), s.student_tests, s.student_status, told]
        rolls = [[number[r.method], r.sample, r.stop, r.error, [self._step(s) for s in r.steps]] for r in own]
        self.cases.append([real, rolls])
        self.size += 120 * sum(len(r.steps) for r in own)
        return len(self.cases) - 1

    def _step(self, s: Step) -> list[Any]:
        return [
            *(self.text(s.code), _grade(s.grade), s.tests, s.status, self.text(s.reply), s.reason, int(s.truncated)),
            *([self.text(words) for words in s.said], s.exception or "", self.text(s.feedback)),
        ]

    def content(self) -> dict[str, Any]:
        return {"texts": [printable(t.replace("\r\n", "\n")) for t in self.texts], "cases": self.cases}


def _grade(grade: float) -> float:
    return round(grade, 4)
