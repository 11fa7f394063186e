"""The report: what is put together, what the pages hold, and what they must never hold."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from simstudent.cli import main
from simstudent.errors import SimstudentError
from simstudent.report import charts
from simstudent.report.fragments import fill
from simstudent.report.gather import gather
from simstudent.report.viewer import viewer
from simstudent.report.write import write_report
from tests.report.made import HOSTILE, folder


def test_a_run_under_way_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    rolled = folder(tmp_path / "run" / "rollouts" / "x")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 10, "steps": 40, "seconds": 2.5}\n{"step": 20, "st')
    whole = (rolled / "sft.jsonl").read_bytes()
    (rolled / "sft.jsonl").write_bytes(whole + whole[:50])
    said: list[str] = []
    write_report([str(tmp_path / "run")], tmp_path / "out", resamples=50, trajectories=False, say=said.append)
    for name in ("metrics.jsonl", "sft.jsonl"):
        assert sum(f"{name}: the last line is only half written" in line for line in said) == 1
        assert f"{name}: the last line is only half written" in (tmp_path / "out" / "report.html").read_text()
    assert "step 10, steps 40, seconds 2.5" in (tmp_path / "out" / "report.md").read_text()
    assert (rolled / "sft.jsonl").read_bytes() == whole + whole[:50]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one folder, without the figures."""
    root = tmp_path_factory.mktemp("report")
    folder(root / "rolled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "available", lambda: False)
        write_report([f"mine={root / 'rolled'}"], root / "out", resamples=50, say=lambda text: None)
    return root / "out"


def decoded(html: str, name: str) -> Any:
    match = re.search(rf"<script type=text/plain id={name}>([^<]*)</script>", html)
    assert match is not None
    return json.loads(zlib.decompress(base64.b64decode(match[1])))


def test_the_report_holds_the_answer_the_tables_and_no_program(made: Path) -> None:
    html = (made / "report.html").read_text()
    for words in ("Does it beat copying?", "Table 2", "noise floor", "What was run", "By assignment", "In plain words"):
        assert words in html
    assert "matplotlib is not installed" in html  # tables only, and it says so
    assert "total +=" not in html
    assert "<script" not in html
    assert not re.search(r"(src|href)=.?(https?:|//)", html)
    assert "total +=" not in (made / "report.md").read_text()
    assert (made / "table2.csv").read_text().startswith("method,Cov,GP,CB,")


def test_programs_are_never_markup(made: Path) -> None:
    html = (made / "trajectories.html").read_text()
    assert "alert(" not in html
    assert "x.example" not in html
    pack = decoded(html, "p0")
    assert HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}") in pack["texts"]
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(script) == 1
    assert "innerHTML" not in script[0]
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(", script[0])


def test_the_index_and_the_packs_belong_together(tmp_path: Path) -> None:
    (part,) = gather([str(folder(tmp_path / "r"))])
    html = viewer("t", part)
    index, pack = decoded(html, "index"), decoded(html, "p0")
    assert len(index["rolls"]) == len(part.rollouts)
    for student, assignment, t, truths, _, number, place in index["cases"]:
        real, rolls = decoded(html, f"p{number}")["cases"][place]
        whose = (index["students"][student], index["assignments"][assignment], t)
        own = [r for r in part.rollouts if (r.student, r.assignment, r.start) == whose]
        assert truths == own[0].truths
        assert sorted((index["methods"][r[0]], len(r[4])) for r in rolls) == sorted(
            (r.method, len(r.steps)) for r in own
        )
        for r in own:
            for s in r.steps:
                assert pack["texts"][real[str(t + s.k)][0]] == s.student_code
    copies = {r[1] for r in index["rolls"] if r[5] >> 3 & 1}
    assert index["methods"].index("repeat-last") in copies


def test_ids_that_are_no_pseudonyms_become_numbers(tmp_path: Path) -> None:
    path = folder(tmp_path / "r")
    raw = {r.student for r in gather([str(path)], keep_ids=True)[0].rollouts}
    shown = {r.student for r in gather([str(path)])[0].rollouts}
    assert len(raw) == len(shown) == 6
    assert shown == {f"student {n}" for n in range(1, 7)}
    html = viewer("t", gather([str(path)])[0])
    assert not any(student in decoded(html, "index")["students"] for student in raw)


def test_pseudonyms_stay(tmp_path: Path) -> None:
    path = folder(tmp_path / "r", methods=("repeat-last",))
    file = path / "repeat-last.jsonl"
    lines = [json.loads(line) | {"student": "s0123456789abcdef"} for line in file.read_text().splitlines()[:1]]
    file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert {r.student for r in gather([str(path)])[0].rollouts} == {"s0123456789abcdef"}


def test_equal_methods_are_there_once_and_others_under_their_label(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
    lines = [json.loads(line) for line in (two / "sft.jsonl").read_text().splitlines()]
    lines[0]["steps"][0]["grade"] = 0.75
    (two / "sft.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (part,) = gather([f"a={one}", f"b={two}"])
    assert {r.method for r in part.rollouts} == {"a/sft", "b/sft", "repeat-last"}
    assert len(part.rollouts) == 3 * len(lines)


def test_other_data_is_another_part(tmp_path: Path) -> None:
    parts = gather([str(folder(tmp_path / "one")), str(folder(tmp_path / "two", data="d2"))])
    assert [p.title for p in parts] == ["one", "two"]
    settings = tmp_path / "two" / "settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"data_hash": "d1", "mode": "free"}))
    assert len(gather([str(tmp_path / "one"), str(tmp_path / "two")])) == 1  # an older folder tells no mode


def test_a_run_folder_stands_for_its_rollouts(tmp_path: Path) -> None:
    folder(tmp_path / "run" / "rollouts" / "greedy")
    (tmp_path / "run" / "manifest.json").write_text('{"started": "2026-11-25", "versions": {"torch": "2"}}')
    (part,) = gather([str(tmp_path / "run")])
    assert (part.title, part.sources[0].manifest["started"]) == ("run", "2026-11-25")


@pytest.mark.parametrize(
    ("given", "message"),
    [(["nowhere"], "no such folder"), (["empty"], "no rollouts in"), (["r", "x=r", "x=r"], "two folders are called x")],
)
def test_what_cannot_be_reported_is_named(
    given: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    folder(tmp_path / "r")
    with pytest.raises(SimstudentError, match=message):
        gather(given)


@pytest.mark.slow
def test_figures_are_drawn_alike_twice_and_take_on_the_pages_colours(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = str(folder(tmp_path / "r"))
    for name in ("a", "b"):
        write_report([path], tmp_path / name, resamples=50, trajectories=False, say=lambda text: None)
    drawn = sorted(p.name for p in (tmp_path / "a" / "figures").iterdir())
    assert drawn == sorted(
        f"{n}.{form}" for n in ("skill", "figure1", "figure2", "survival", "realism") for form in ("svg", "png")
    )
    assert all(
        (tmp_path / "a" / "figures" / n).read_bytes() == (tmp_path / "b" / "figures" / n).read_bytes() for n in drawn
    )
    html = (tmp_path / "a" / "report.html").read_text()
    assert html == (tmp_path / "b" / "report.html").read_text()
    assert html.count('<svg role="img"') == 5
    assert "#000000" not in html
    ids = re.findall(r'<[^>]* id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert not (tmp_path / "a" / "trajectories.html").exists()


def test_tables_are_written_between_markers_and_words_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, results = folder(tmp_path / "r"), tmp_path / "results.md"
    before = "# Mine\n\n<!-- report a headline methods=sft -->\nold\n<!-- /report -->\n\nWords | kept.\n"
    before += "<!-- report later table2 -->\nkept\n<!-- /report -->\n"
    results.write_text(before)
    assert main(["report", f"a={path}", "--results", str(results), "--resamples", "50"]) == 0
    text = results.read_text()
    assert "old" not in text
    assert "\n| sft |" in text
    assert "\n| the students |" in text
    assert "\n| repeat-last |" not in text
    assert text.startswith("# Mine\n\n<!-- report a headline methods=sft -->\n\n| method |")
    assert text.endswith("<!-- /report -->\n\nWords | kept.\n<!-- report later table2 -->\nkept\n<!-- /report -->\n")
    assert "1 tables written, 1 left" in capsys.readouterr().out
    assert main(["report", f"a={path}", "--results", str(results), "--resamples", "50"]) == 0
    assert results.read_text() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- report a headline -->\n", "line 1: this marker is not closed"),
        ("x\n<!-- /report -->\n", "line 2: .* closes nothing"),
        ("<!-- report a -->\n<!-- /report -->\n", "line 1: write"),
        ("<!-- report a nothing -->\n<!-- /report -->\n", "no table 'nothing'; there are: headline"),
        ("<!-- report a headline methods=dpo -->\n<!-- /report -->\n", "no method 'dpo' in this table; there are: sft"),
    ],
)
def test_a_wrong_marker_is_named_and_nothing_is_written(text: str, message: str, tmp_path: Path) -> None:
    from simstudent.evaluation.numbers import section

    path = tmp_path / "results.md"
    path.write_text(text)
    with pytest.raises(SimstudentError, match=message):
        fill(path, {"a": [section("headline", "Headline", ["method", "GP"], [["sft", ".5"]])]})
    assert path.read_text() == text


def test_it_wants_to_know_where_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "x"]) == 2
    assert "--to FOLDER" in capsys.readouterr().err
