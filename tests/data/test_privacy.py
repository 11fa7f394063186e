"""Pseudonyms and scrubbing. All names and addresses here are made up."""

from __future__ import annotations

import importlib.util
import json
import stat
import time
from collections import Counter
from pathlib import Path

import pytest

from simstudent.cli import main
from simstudent.data import dataset, importing
from simstudent.data.pieces import Piece
from simstudent.data.privacy import SCRUBS, PrivacySection, pseudonym, scrub, veil
from simstudent.data.records import Submission, Talk
from simstudent.data.sources.table import TableSource

ALL = ("emails", "urls", "names")


def cleaned(text: str) -> tuple[str, dict[str, int]]:
    counts: Counter[str] = Counter()
    return scrub(text, ALL, counts), {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize(
    ("text", "expected", "counts"),
    [
        ("# ann.lee+x@uni.example.edu wrote it", "# <email> wrote it", {"emails": 1}),
        ("x = 'jörg@köln.de'", "x = '<email>'", {"emails": 1}),
        ("# see https://ann:pw@x.org/a", "# see https://x.org/a", {"urls": 1}),
        ("img 'http://ann.pencilcode.net/img/a.png'", "img 'http://<user>.pencilcode.net/img/a.png'", {"urls": 1}),
        ("http://x.edu/~ann/hw.py", "http://x.edu/~<user>/hw.py", {"urls": 1}),
        ("https://github.com/annlee/repo", "https://github.com/<user>/repo", {"urls": 1}),
        ("#Name: Ann Lee", "#Name: <name>", {"names": 1}),
        ("  # Author : Ann", "  # Author : <name>", {"names": 1}),
        ("// Student ID: 123", "// Student ID: <name>", {"names": 1}),
        ("/* by: Ann */ x", "/* by: <name>*/ x", {"names": 1}),
        ('"""Name: Ann"""\nname: int = 1', '"""Name: <name>"""\nname: int = 1', {"names": 1}),
        ("'''\nTeammate: Ann\n'''\nby: Ann", "'''\nTeammate: <name>\n'''\nby: Ann", {"names": 1}),
        ("<!-- Created by: Ann -->", "<!-- Created by: <name>-->", {"names": 1}),
        # Code stays code.
        ("name: str = 'x'", "name: str = 'x'", {}),
        ("d = {'name': 1}", "d = {'name': 1}", {}),
        ("@decorator\ndef f(x): return a@b.T", "@decorator\ndef f(x): return a@b.T", {}),
        ("a @ b.transpose(1); a@b.transpose(1)", "a @ b.transpose(1); a@b.transpose(1)", {}),
        ("# number: how many", "# number: how many", {}),
        ("x = 'https://docs.python.org/3/library'", "x = 'https://docs.python.org/3/library'", {}),
    ],
)
def test_what_identifies_is_removed_and_counted(text: str, expected: str, counts: dict[str, int]) -> None:
    assert cleaned(text) == (expected, counts)
    assert cleaned(expected) == (expected, counts if "names" in counts else {})  # a second time changes nothing
    assert scrub(text, (), Counter()) == text


@pytest.mark.parametrize("unit", ["a", "name: x\n", "#name: x\n", "http://", "a.b@", " ", "\n", '"""', "# by "])
def test_scrubbing_takes_time_in_proportion(unit: str) -> None:
    started = time.process_time()
    cleaned(unit * (300_000 // len(unit)) + "@:")
    assert time.process_time() - started < 2


def test_every_text_of_a_piece_is_scrubbed() -> None:
    mail = "ann@x.org"
    more = {"a": mail, "b": [mail, {"c": mail}], "n": 1}
    piece = Piece("s", "a", (Submission(mail, feedback=mail, talk=(Talk("tutor", mail),), more=more),), "place")
    cover = veil(PrivacySection(ids="keep", scrub=ALL))  # type: ignore[arg-type]
    (made,) = cover(piece).submissions
    assert mail not in json.dumps(made.to_dict())
    assert cover.counts["emails"] == 6
    assert (made.more["n"], set(SCRUBS)) == (1, set(ALL))


def test_pseudonyms_are_stable_with_a_key_and_different_with_another() -> None:
    one, other = b"k" * 16, b"l" * 16
    names = [f"student-{n}" for n in range(1000)]
    made = [pseudonym(one, name) for name in names]
    assert made == [pseudonym(one, name) for name in names]
    assert len({*made, *(pseudonym(other, name) for name in names)}) == 2000
    assert made[0] == "s" + made[0][1:17]
    assert not any(name in text for name, text in zip(names, made, strict=True))


def test_a_column_that_repeats_the_id_holds_the_pseudonym(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 16)
    cover = veil(PrivacySection(key_file=tmp_path / "key"))
    made = cover(Piece("jdoe", "a", (Submission("x", more={"user": "jdoe", "n": 1}),), "place"))
    assert made.submissions[0].more == {"user": made.student, "n": 1}


def test_the_key_is_made_once_where_only_its_owner_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    said: list[str] = []
    first = veil(PrivacySection(), said.append)
    again = veil(PrivacySection(), said.append)
    path = tmp_path / "simstudent" / "pseudonyms.key"
    assert first.secret == again.secret
    assert len(said) == 1
    assert str(path) in said[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_written_or_printed_holds_an_id_or_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "0123456789abcdef-made-up"
    (tmp_path / "key").write_text(secret)
    rows = [
        {
            "student": "jdoe42",
            "assignment": "a",
            "code": f"x = {n}",
            "time": f"2025-01-0{n}",
            "grade": n / 4,
            "who": "jdoe42",
        }
        for n in range(1, 5)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"time": "time", "grade": "grade", "more": ["who"]}
    raw = {"kind": "table", "submissions": str(tmp_path / "log.jsonl"), "columns": columns}
    said: list[str] = []
    privacy = PrivacySection(key_file=tmp_path / "key")
    folder = tmp_path / "made"
    made = importing.run(TableSource.model_validate(raw), privacy, folder, say=said.append)
    (t,) = dataset.trajectories(folder)
    assert t.student == pseudonym(secret.encode(), "jdoe42")
    page = tmp_path / "page.html"
    drawn = importlib.util.find_spec("matplotlib") is not None
    for command in (["inspect", str(folder), *(["--html", str(page)] if drawn else [])], ["validate", str(folder)],
                    ["regrade", str(folder), "--to", str(tmp_path / "again")]):  # fmt: skip
        assert main(["data", *command]) == 0
    out = capsys.readouterr()
    texts = [*said, json.dumps(dict(made.facts)), out.out, out.err, page.read_text() if drawn else ""]
    texts += [
        p.read_bytes().decode("latin-1") for f in (folder, tmp_path / "again") for p in f.rglob("*") if p.is_file()
    ]
    for text in texts:
        assert "jdoe42" not in text
        assert secret not in text
    assert not drawn or t.student in page.read_text()
