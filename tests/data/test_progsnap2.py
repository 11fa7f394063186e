"""ProgSnap2: the three ways to keep code, what events mean, and what damaged datasets say. The samples are made up."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from simstudent.data.load import open_log
from simstudent.data.privacy import PrivacySection
from simstudent.data.records import Corpus, Talk
from simstudent.data.rows import Skips
from simstudent.data.sources.progsnap2 import Events, ProgSnap2Source
from simstudent.data.steps import drop_unchanged
from simstudent.errors import SimstudentError

SAMPLES = Path(__file__).parent / "samples"
TABLE = SAMPLES / "progsnap2_table"
ITAP = Path(__file__).parents[3] / "shared" / "data" / "itap_csedm2019"


def source(folder: Path, **options: Any) -> ProgSnap2Source:
    return ProgSnap2Source(kind="progsnap2", folder=str(folder), **options)


def read(folder: Path, **options: Any) -> tuple[Corpus, Skips]:
    log = open_log(source(folder, **options), PrivacySection(ids="keep"))
    return Corpus(log.assignments, tuple(log.trajectories)), log.skips


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sample with a table of code states, to be damaged."""
    return Path(shutil.copytree(TABLE, tmp_path / "set"))


def edit(path: Path, old: str, new: str, count: int = -1) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


@pytest.mark.parametrize("layout", ["table", "directory", "column"])
def test_events_become_states_of_programs(layout: str) -> None:
    corpus, skips = read(SAMPLES / f"progsnap2_{layout}")
    ann, ben = corpus.trajectories
    assert (ann.key, ben.key) == ("ann/double", "ben/total")
    assert [(s.kind, s.grade) for s in ann.submissions] == [
        ("run", None),
        ("submission", 0.5),
        ("submission", 0.0),  # at the same minute as the one before: only Order tells
        ("hint", None),
        ("submission", 1.0),
    ]
    assert [s.code.count("n + n") for s in ann.submissions] == [0, 0, 1, 1, 1]
    assert ann.outcome == "solved"
    assert ann.submissions[1].time == "2025-09-01T09:02:00-05:00"
    assert not len(skips)
    assert skips.notes == Counter({next(iter(skips.notes)): 1})  # Session.Start


def test_child_events_are_the_outcome_of_their_parent() -> None:
    corpus, _ = read(TABLE)
    ann, ben = corpus.trajectories
    assert ann.submissions[2].feedback == "line 1: expected ':'"
    assert [o["EventType"] for o in ann.submissions[2].more["outcome"]] == ["Compile", "Compile.Error"]
    assert ann.submissions[3].talk == (Talk("tutor", "What ends the line that begins a function?"),)
    assert [s.grade for s in ben.submissions] == [0.25, 0.5]  # the mean over the tests of one submission
    assert [s.kind for s in ben.submissions] == ["submission", "submission"]  # a graded run is one


def test_unknown_columns_and_link_tables_are_kept_and_persons_are_not() -> None:
    corpus, _ = read(TABLE, statement="Prompt", person_columns=("Experience",))
    first = corpus.trajectories[0].submissions[0]
    assert first.more["X-Keystrokes"] == "41"
    assert (first.more["TermID"], first.more["Week"], first.more["Experience"]) == ("F2025", "1", "none")
    assert "ann" not in str(first.more).lower()
    assert corpus.assignments["double"].statement == "Write double(n), which returns twice n."
    assert first.more["CodeStateID"] == "c1"
    assert "Experience" not in read(TABLE)[0].trajectories[0].submissions[0].more


def test_an_id_within_another_cell_is_left_out(copy: Path) -> None:
    edit(copy / "MainTable.csv", ",c1,", ",ann/1,")
    edit(copy / "CodeStates" / "CodeStates.csv", "c1,", "ann/1,")
    edit(copy / "MainTable.csv", ",41\n", ",planned_annex\n")
    first = read(copy)[0].trajectories[0].submissions[0]
    assert "n * n" in first.code
    assert "CodeStateID" not in first.more
    assert first.more["X-Keystrokes"] == "planned_annex"


def test_event_types_are_the_recipes_choice() -> None:
    corpus, skips = read(TABLE, events=Events(submissions=("Submit",), runs=(), hints=()))
    assert [len(t.submissions) for t in corpus.trajectories] == [3, 1]
    assert "X-HintRequest" in str(skips.notes)
    with pytest.raises(SimstudentError, match=r"no event of data.source.events. Types of events in it: Submit \(4\)"):
        read(TABLE, events=Events(submissions=("Hand.In",), runs=(), hints=()))


def test_times_order_events_where_order_cannot_be_trusted(copy: Path) -> None:
    edit(copy / "DatasetMetadata.csv", "Consistent,TRUE", "Consistent,FALSE")
    edit(
        copy / "MainTable.csv",
        "Submit,e9,9,ann,,MadeUp 1.0; Python,c3,2025-09-01T09:04",
        "Submit,e9,9,ann,,M,c3,2025-09-01T08:04",
    )
    assert read(copy)[0].trajectories[0].submissions[0].grade == 1.0
    edit(copy / "DatasetMetadata.csv", "Consistent,FALSE", "Consistent,TRUE")
    assert read(copy)[0].trajectories[0].submissions[-1].grade == 1.0
    edit(copy / "DatasetMetadata.csv", "Columns,SubjectID", "Columns,SubjectID;SessionID")
    assert read(copy)[0].trajectories[0].submissions[0].grade == 1.0  # Order counts within a session only


def test_a_backslash_at_the_end_goes_on_demand_and_is_told(copy: Path) -> None:
    edit(copy / "CodeStates" / "CodeStates.csv", "return n * n\n", "return n * n\\")
    assert read(copy)[0].trajectories[0].submissions[0].code.endswith("n\\")
    corpus, skips = read(copy, strip_trailing_backslash=True)
    assert corpus.trajectories[0].submissions[0].code.endswith("n * n")
    assert skips.notes["programs that ended in a stray backslash, which was removed"] == 2


def test_a_bom_and_empty_cells_written_as_na_are_read(copy: Path) -> None:
    main = copy / "MainTable.csv"
    main.write_text(
        "\ufeff" + main.read_text(encoding="utf-8").replace(",e9,9,ann,,", ",e9,9,ann,NA,"), encoding="utf-8"
    )
    assert len(read(copy)[0].trajectories) == 2


DAMAGE: list[tuple[str, str, str, str]] = [
    ("MainTable.csv", ",c3,", ",c99,", "code state 'c99' is not in CodeStates.csv"),
    ("MainTable.csv", "Submit,e9,", "Submit,e3,", "event 'e3' stands twice"),
    ("MainTable.csv", "Submit,e9,9,", "Submit,e9,nine,", "'Order' should be a number, but is text like 'aaaa'"),
    ("MainTable.csv", "Submit,e9,9,", "Submit,e9,,", "'Order' should be a number, but is text like ''"),
    ("MainTable.csv", "Submit,e9,9,ann,", "Submit,e9,9,,", "'SubjectID' is missing"),
    ("MainTable.csv", "2025-09-01T09:04:00,-0500,double,week1", "2025-09-01T09:04:00,-0500,,", "is empty"),
    ("MainTable.csv", "2025-09-01T09:04:00,", "yesterday,", "'ServerTimestamp' is not a time"),
    ("MainTable.csv", "2025-09-01T09:04:00,-0500", "2025-09-01T09:04:00,here", "'ServerTimezone' is no time zone"),
    ("MainTable.csv", "-0500,double,week1,F2025,,1,", "-0500,double,week1,F2025,,7,", "outside 0 to 1"),
]


@pytest.mark.parametrize(("file", "old", "new", "reason"), DAMAGE)
def test_a_damaged_event_stops_or_is_counted(file: str, old: str, new: str, reason: str, copy: Path) -> None:
    edit(copy / file, old, new)
    with pytest.raises(SimstudentError) as caught:
        read(copy)
    assert "MainTable.csv, line " in str(caught.value)
    assert reason in str(caught.value)
    corpus, skips = read(copy, on_bad_row="skip")
    assert len(skips) == 1
    assert sum(len(t.submissions) for t in corpus.trajectories) == 6


WHOLE: list[tuple[str, str, str, str]] = [
    (
        "DatasetMetadata.csv",
        "Representation,Table",
        "Representation,Git",
        "Git, which is not read. Export every commit",
    ),
    ("DatasetMetadata.csv", "Representation,Table", "Representation,Sqlite", "'Sqlite', which is not read"),
    ("DatasetMetadata.csv", "Representation,Table", "Representation,Directory", "has no folder in CodeStates"),
    ("DatasetMetadata.csv", "Columns,SubjectID", "Columns,", "EventOrderScopeColumns names no column"),
    ("DatasetMetadata.csv", "Property,Value", "Key,Value", "has the columns Property and Value"),
    ("MainTable.csv", "EventType,", "Event,", "no column 'EventType'"),
    ("MainTable.csv", "SubjectID,", "Subject,", "no column 'SubjectID'"),
    ("MainTable.csv", "Order,", "Sequence,", "no column 'Order', which the metadata say"),
    ("MainTable.csv", "ProblemID,AssignmentID,", "Problem,Assignment,", "none of the columns ProblemID, AssignmentID"),
    ("CodeStates/CodeStates.csv", "c2,", "c1,", "code state 'c1' stands twice"),
    ("CodeStates/CodeStates.csv", "CodeStateID,", "State,", "no column 'CodeStateID'"),
    ("LinkTables/LinkProblem.csv", "ProblemID,", "Problem,", "belongs to no event"),
    ("LinkTables/LinkProblem.csv", "total,", "double,", "ProblemID double stands twice"),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), WHOLE)
def test_a_damaged_dataset_says_what_is_wrong(file: str, old: str, new: str, message: str, copy: Path) -> None:
    edit(copy / file, old, new, 1)
    with pytest.raises(SimstudentError) as caught:
        read(copy)
    assert message in str(caught.value)


def test_missing_parts_are_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(SimstudentError, match=r"MainTable.csv does not exist; a ProgSnap2 dataset is a folder"):
        read(tmp_path / "none")
    (copy / "DatasetMetadata.csv").unlink()
    with pytest.raises(SimstudentError, match=r"set data\.source\.order to order or time"):
        read(copy)
    assert read(copy, order="order")[0] == read(TABLE)[0]
    shutil.rmtree(copy / "CodeStates")
    with pytest.raises(SimstudentError, match="no code states"):
        read(copy, order="order")
    (copy / "MainTable.csv").write_bytes("EventType,SubjectID,ProblemID,é\n".encode("latin-1"))
    with pytest.raises(SimstudentError, match="not UTF-8"):
        read(copy)
    (copy / "MainTable.csv").write_bytes(b"")
    with pytest.raises(SimstudentError, match="the file is empty"):
        read(copy)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLES / "progsnap2_directory", tmp_path / "set"))


def test_a_code_state_outside_its_folder_is_not_read(folders: Path) -> None:
    (folders / "secret").mkdir()
    (folders / "secret" / "main.py").write_text("secret")
    edit(folders / "MainTable.csv", ",c3,", ",../secret,")
    corpus, skips = read(folders, on_bad_row="skip")
    assert "code state '../secret' lies outside CodeStates" in skips.examples[0]
    assert "secret" not in str(corpus)
    edit(folders / "MainTable.csv", ",../secret,", ",c3,")
    shutil.rmtree(folders / "CodeStates" / "c3")
    (folders / "CodeStates" / "c3").symlink_to(folders / "secret")
    assert "lies outside" in read(folders, on_bad_row="skip")[1].examples[0]


def test_files_of_a_code_state(folders: Path) -> None:
    state = folders / "CodeStates" / "c3"
    (state / "main.py").write_bytes("# é".encode("latin-1"))
    with pytest.raises(SimstudentError, match=r"code state 'c3': not UTF-8 text \(byte 2\)"):
        read(folders)
    (state / "main.py").write_bytes(b"\xef\xbb\xbfx = 1\r\n")
    assert read(folders)[0].trajectories[0].submissions[-1].code == "x = 1\n"
    (state / "other.py").write_text("y = 2\n")
    with pytest.raises(
        SimstudentError, match=r"holds 2 files \(main.py, other.py\), and no CodeStateSection names one"
    ):
        read(folders)
    edit(folders / "MainTable.csv", "X-Keystrokes", "CodeStateSection")
    edit(folders / "MainTable.csv", ",58\n", ",other.py\n")
    edit(folders / "MainTable.csv", ",41\n", ",main.py\n")
    edit(folders / "MainTable.csv", ",57\n", ",\n")
    assert read(folders)[0].trajectories[0].submissions[-1].code == "y = 2\n"
    edit(folders / "MainTable.csv", ",other.py\n", ",../c1/main.py\n")
    with pytest.raises(SimstudentError, match=r"code state 'c3' has no file '../c1/main.py'"):
        read(folders)


def test_folds_of_a_challenge(copy: Path) -> None:
    for fold, subject in (("Fold0", "ann"), ("Fold1", "ben")):
        (copy / "CV" / fold).mkdir(parents=True)
        (copy / "CV" / fold / "Test.csv").write_text(f"SubjectID,ProblemID\n{subject},double\n")
    corpus, _ = read(copy, folds=str(copy / "CV"))
    assert [t.submissions[0].more["Fold"] for t in corpus.trajectories] == ["Fold0", "Fold1"]
    (copy / "CV" / "Fold1" / "Test.csv").write_text("SubjectID,ProblemID\n")
    assert read(copy, folds=str(copy / "CV"))[0].trajectories[1].submissions[0].more["Fold"] == "none"
    (copy / "CV" / "Fold1" / "Test.csv").write_text("SubjectID,ProblemID\nann,double\n")
    with pytest.raises(SimstudentError, match="also in another fold's test"):
        read(copy, folds=str(copy / "CV"))


@pytest.mark.skipif(not ITAP.exists(), reason="the ITAP data are not here")
def test_the_real_dataset_has_its_known_counts() -> None:
    corpus, skips = read(ITAP, folds=str(ITAP / "CV"), strip_trailing_backslash=True)
    kinds = Counter(s.kind for t in corpus.trajectories for s in t.submissions)
    assert (len(corpus.students), len(corpus.assignments), sum(kinds.values())) == (89, 38, 3108)
    assert kinds == {"submission": 2801, "hint": 307}
    assert len(corpus.trajectories) == 896
    grades = Counter(s.grade for t in corpus.trajectories for s in t.submissions)
    assert grades == {1.0: 763, 0.0: 2312, None: 33}
    assert sum(s.more.get("verdict", False) for t in corpus.trajectories for s in t.submissions) == 763 + 2312
    assert skips.notes["programs that ended in a stray backslash, which was removed"] == 409
    assert all(
        t.submissions == tuple(sorted(t.submissions, key=lambda s: int(s.more["Order"]))) for t in corpus.trajectories
    )


def test_requests_for_hints_are_no_repetitions() -> None:
    corpus, _ = read(TABLE)
    kept = drop_unchanged(corpus.trajectories[0])
    assert kept is not None
    assert [(s.kind, s.more["EventID"]) for s in kept.submissions] == [
        ("run", "e2"),
        ("submission", "e4"),  # e3 hands in what was run before
        ("hint", "e7"),
        ("submission", "e9"),
    ]
