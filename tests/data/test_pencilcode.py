"""Pencil Code: traces a row, states a row, the published models' rollouts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import simstudent.data.samples.pencilcode
from simstudent.data import importing
from simstudent.data.dataset import trajectories
from simstudent.data.load import Log, open_log
from simstudent.data.privacy import PrivacySection
from simstudent.data.records import Trajectory
from simstudent.data.sources.pencilcode import PencilCodeSource, TraceColumns
from simstudent.data.steps import drop_unchanged
from simstudent.data.trace_text import parse
from simstudent.errors import SimstudentError

SAMPLE = Path(simstudent.data.samples.pencilcode.__file__).parent
GENERATED = Path(__file__).parents[2].parent / "shared" / "data" / "pencilcode_generated"
ROW: dict[str, Any] = {
    "username": "u1",
    "title": "square",
    "programs": ["fd 100", "fd 100\r\nrt 90\n"],
    "timestamps": ["2019-09-02 09:00:00", "2019-09-02 09:00:31"],
}
EVENTS = TraceColumns(programs="program", times="timestamp", actions="action")
TEXT = "square<mask><mask><start>CODE 1 (2019-09-02 09:00:00):\nfd 100\nCODE 2 (2019-09-02 09:00:31):\nfd 100\nrt 90"


def source(**options: Any) -> PencilCodeSource:
    return PencilCodeSource(kind="pencilcode", **options)


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def opened(made: PencilCodeSource) -> tuple[Log, tuple[Trajectory, ...]]:
    log = open_log(made, PrivacySection(ids="keep"))
    return log, tuple(log.trajectories)


def test_a_row_is_a_trace(tmp_path: Path) -> None:
    log, (t,) = opened(source(files=jsonl(tmp_path, ROW)))
    assert (t.key, t.outcome) == ("u1/square", "unknown")
    assert [(s.code, s.time, s.kind, s.grade) for s in t.submissions] == [
        ("fd 100", "2019-09-02 09:00:00", "submission", None),
        ("fd 100\nrt 90", "2019-09-02 09:00:31", "submission", None),
    ]
    assignment = log.assignments["square"]
    assert (assignment.language, assignment.problem) == ("coffeescript", None)
    assert "'square'" in assignment.statement


def test_rows_of_a_student_and_title_are_one_trace_in_order_of_time(tmp_path: Path) -> None:
    later = {**ROW, "programs": ["c", "b"], "timestamps": ["2020-01-01 00:00:01", "2020-01-01 00:00:00"]}
    _, held = opened(source(files=jsonl(tmp_path, later, ROW, {**ROW, "username": "u2"})))
    assert [[s.code for s in t.submissions] for t in held] == [
        ["fd 100", "fd 100\nrt 90", "b", "c"],
        ["fd 100", "fd 100\nrt 90"],
    ]


def test_equal_neighbours_are_left_out_and_counted_unless_asked_for(tmp_path: Path) -> None:
    row = {**ROW, "programs": ["a", "a\n", "b", "a"], "timestamps": None}
    path = jsonl(tmp_path, row)
    log, (t,) = opened(source(files=path))
    assert [s.code for s in t.submissions] == ["a", "b", "a"]
    assert log.skips.notes["states equal to the one before left out"] == 1
    assert len(log.skips) == 0
    _, (t,) = opened(source(files=path, keep_unchanged=True))
    assert [s.code for s in t.submissions] == ["a", "a", "b", "a"]


def test_long_states_are_marked_and_titles_tell_the_language(tmp_path: Path) -> None:
    row = {**ROW, "title": "game.js", "programs": ["x" * 1018, "x" * 1019]}
    log, (t,) = opened(source(files=jsonl(tmp_path, row)))
    assert [s.more.get("possibly_cut") for s in t.submissions] == [None, True]
    assert log.skips.notes["states of 1,019 characters or more, possibly cut"] == 1
    assert log.assignments["game.js"].language == "javascript"


def test_actions_are_kept_and_what_was_run_stays_run(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "username,title,program,timestamp,action\n"
        "u,t,a,2020-01-01 00:00:00,save\nu,t,b,2020-01-01 00:00:02,Run\nu,t,c,2020-01-01 00:00:01,\n",
        encoding="utf-8",
    )
    _, (t,) = opened(source(files=path, columns=EVENTS))
    assert [(s.code, s.kind, s.more.get("action")) for s in t.submissions] == [
        ("a", "submission", "save"),
        ("c", "submission", None),
        ("b", "run", "run"),
    ]
    row = {**ROW, "programs": ["a", "a"], "did": ["save", "run"]}
    _, (t,) = opened(source(files=jsonl(tmp_path, row), columns=TraceColumns(actions="did")))
    assert [(s.kind, s.more["action"], s.time) for s in t.submissions] == [("run", "run", "2019-09-02 09:00:00")]


def test_the_forms_of_the_sample_agree() -> None:
    rows = opened(source(files=SAMPLE / "traces"))[1]
    events = opened(source(files=SAMPLE / "events.csv", columns=EVENTS))[1]
    assert len({t.student for t in rows}) == 30

    def states(held: tuple[Trajectory, ...]) -> dict[str, list[tuple[Any, ...]]]:
        kept = map(drop_unchanged, held)
        return {t.key: [(s.code, s.time) for s in t.submissions] for t in kept if t is not None}

    assert states(rows) == states(events)
    assert {s.more["split"] for t in rows for s in t.submissions} == {"train"}
    assert any(s.more.get("possibly_cut") for t in rows for s in t.submissions)
    log, written = opened(source(rollouts=SAMPLE / "rollouts.json"))
    assert log.skips.notes["traces whose end is not known (censored)"] == 1
    for t in written:
        told = states(rows)[f"{t.student.partition('~')[0]}/{t.assignment}"]
        got = states((t,))[t.key]
        censored = t.submissions[-1].more.get("censored", False)
        assert got == (told[: len(got)] if censored else told)


def test_an_import_streams_the_hub_or_a_compressed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    path = tmp_path / "log.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(json.dumps(ROW) + "\n")
    for made in (source(files=path), source(hub=str(SAMPLE / "traces"))):
        told = {t.key: t.submissions for t in opened(made)[1]}
        folder = importing.run(made, PrivacySection(ids="keep"), tmp_path / f"{made.hub is None}", workers=1).folder
        assert {t.key: t.submissions for t in trajectories(folder)} == told


def test_a_damaged_compressed_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.gz"
    whole = gzip.compress(b"".join(json.dumps({**ROW, "username": f"{n}"}).encode() + b"\n" for n in range(500)))
    path.write_bytes(whole[:-40])
    with pytest.raises(SimstudentError, match=r"log.jsonl.gz: the compressed file is damaged after line \d+"):
        opened(source(files=path))
    path.write_bytes(b"no gzip at all\n")
    with pytest.raises(SimstudentError, match="damaged after line 0"):
        opened(source(files=path))


BROKEN: list[tuple[Any, str]] = [
    ("{", "not valid JSON"),
    ({k: v for k, v in ROW.items() if k != "programs"}, "no column 'programs'; known: username"),
    ({**ROW, "username": " "}, "'username' is empty"),
    ({**ROW, "title": None}, "'title' is missing"),
    ({**ROW, "programs": []}, "'programs' is empty"),
    ({**ROW, "programs": None}, "'programs' is empty"),
    ({**ROW, "programs": ["a", None]}, "'programs' should hold texts, not NoneType"),
    ({**ROW, "programs": ["a", "b\x00"]}, "'programs' holds NUL bytes"),
    ({**ROW, "programs": ["a", "\ud800"]}, "'programs' holds half a character"),
    ({**ROW, "timestamps": ["2019-09-02 09:00:00"]}, "2 in 'programs', but 1 in 'timestamps'"),
    ({**ROW, "timestamps": ["then", "now"]}, "'timestamps' is not a time"),
    ({**ROW, "timestamps": ["2019-09-02 09:00:00", "2019-09-02T09:00:31Z"]}, "have a time zone and some have none"),
]


@pytest.mark.parametrize(("row", "reason"), BROKEN)
def test_a_broken_row_is_named_and_can_be_skipped(row: Any, reason: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path, ROW, row)
    with pytest.raises(SimstudentError) as caught:
        opened(source(files=path))
    assert "log.jsonl, line 2: " in str(caught.value)
    assert reason in str(caught.value)
    log, held = opened(source(files=path, on_bad_row="skip"))
    assert len(held) == len(log.skips) == 1


def rollouts(folder: Path, held: Any) -> Path:
    path = folder / "rollouts.json"
    path.write_text(held if isinstance(held, str) else json.dumps(held), encoding="utf-8")
    return path


def test_rollouts_are_traces_and_those_cut_are_censored(tmp_path: Path) -> None:
    whole, cut = TEXT + "<|endoftext|>", TEXT.replace("2019-09-02 09:00:31", "2018-01-01 00:00:00") + "\nCODE 3 (20"
    path = rollouts(tmp_path, [[whole, "u1", "square"], [cut, "u1", "square"]])
    log, (one, two) = opened(source(rollouts=path))
    assert [t.student for t in (one, two)] == ["u1~1", "u1~2"]
    assert [s.code for s in one.submissions] == [s.code for s in two.submissions] == ["fd 100", "fd 100\nrt 90"]
    assert [s.more.get("censored") for s in (*one.submissions, *two.submissions)] == [None, None, None, True]
    assert log.skips.notes["traces whose end is not known (censored)"] == 1
    log, held = opened(source(rollouts=path, samples="first"))
    assert [t.key for t in held] == ["u1/square"]
    assert log.skips.notes["further samples of the same student and title left out"] == 1


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ("[", "rollouts.json: not JSON text"),
        ({}, r"not a list of \[text, student, title\], but dict"),
        ([["a", "b"]], r"rollouts.json, item 1: not a list of \[text, student, title\]"),
        ([[TEXT[: TEXT.index("CODE 2")], "u", "t"]], "item 1: no state in it was finished"),
        ([[TEXT.replace("09-02", "99-99") + "<|endoftext|>", "u", "t"]], "item 1: 'timestamp' is not a time"),
    ],
)
def test_broken_rollouts_are_named(held: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SimstudentError, match=message):
        opened(source(rollouts=rollouts(tmp_path, held)))


def test_a_first_sample_is_only_known_where_one_process_reads_all(tmp_path: Path) -> None:
    for name in "ab":
        jsonl(tmp_path, ROW).rename(tmp_path / f"{name}.jsonl")
    with pytest.raises(SimstudentError, match=r"samples: the log is read in 2 parts"):
        opened(source(files=tmp_path, samples="first", columns=TraceColumns(sample="title")))


def test_a_block_begins_at_the_start_of_a_line_only() -> None:
    trace = parse(
        "t<start>CODE 1 (2019-09-02 09:00:00):\nwrite 'CODE 2 (2019-09-02 09:00:31):'\n  CODE 3\n<|endoftext|>"
    )
    assert trace.programs == ("write 'CODE 2 (2019-09-02 09:00:31):'\n  CODE 3",)
    assert (trace.title, trace.complete) == ("t", True)
    assert parse("") == parse("<start>")


@pytest.mark.parametrize("cut", range(1, 31))
def test_wherever_a_header_is_cut_the_state_before_it_is_whole(cut: int) -> None:
    header = "\nCODE 3 (2019-09-02 09:00:59):\n"
    trace = parse(TEXT + header[:cut])
    whole = cut > len("\nCODE ")  # less could be the student's own
    assert (len(trace.programs), trace.complete) == (2 if whole else 1, False)


@pytest.mark.skipif(not GENERATED.exists(), reason="pencilcode_generated is not here")
def test_the_published_parser_cases() -> None:
    cases = json.loads((GENERATED / "expected_metrics.json").read_bytes())["parser_cases"]
    assert len(cases) == 8
    for case in cases:
        trace, told = parse(case["text"]), case["expected_by_their_parser"]
        assert [p.removesuffix("\n") for p in told["programs"]] == list(trace.programs), case["name"]
        assert (told["timestamps"], told["numbers"]) == (list(trace.timestamps), list(trace.numbers)), case["name"]
        assert (told["eos"], told["title"]) == (trace.complete, trace.title), case["name"]


@pytest.mark.skipif(not GENERATED.exists(), reason="pencilcode_generated is not here")
@pytest.mark.parametrize(("samples", "traces", "students"), [("all", 2040, 2035), ("first", 1467, 1370)])
def test_the_generated_traces_are_all_read(samples: str, traces: int, students: int) -> None:
    columns = TraceColumns(student="student", sample="origin_row")
    log, held = opened(source(files=GENERATED / "traces.jsonl.gz", columns=columns, samples=samples))
    assert (len(held), len({t.student for t in held})) == (traces, students)
    assert len(log.assignments) == 51
