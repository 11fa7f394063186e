"""``python -m graders``: what it writes, how it exits, and that bad input is told from bad programs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graders import Problem
from graders.__main__ import main

GOOD, BAD, BROKEN = "def f(a, b):\n    return a + b\n", "def f(a, b):\n    return 7\n", "def f(a, b:\n"


@pytest.fixture
def folder(tmp_path: Path, add: Problem, product: Problem) -> Path:
    (tmp_path / "add.json").write_text(json.dumps(add.to_dict()))
    (tmp_path / "all.json").write_text(json.dumps([add.to_dict(), product.to_dict()]))
    (tmp_path / "all.jsonl").write_text("".join(f"{json.dumps(p.to_dict())}\n\n" for p in (add, product)))
    for name, code in (("good", GOOD), ("bad", BAD), ("broken", BROKEN), ("empty", "")):
        (tmp_path / f"{name}.py").write_text(code)
    return tmp_path


def rows(folder: Path, *lines: object) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("good", "graded PP score 1\n2 of 2 tests passed. Grade: 100/100.\n"),
        ("bad", "graded PW score 0.5\nf(0, 1): returned 7, expected 1\n1 of 2 tests passed. Grade: 50/100.\n"),
        ("empty", "no_code -- score 0\nThere is no code to grade. Grade: 0/100.\n"),
    ],
)
def test_one_program_as_text(folder: Path, capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    assert main([str(folder / "add.json"), str(folder / f"{name}.py")]) == 0
    assert capsys.readouterr().out == said


def test_one_program_as_json_from_standard_input(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BROKEN.encode())))
    assert main([str(folder / "add.json"), "-", "--format", "json"]) == 0
    assert written(capsys)[0]["status"] == "syntax_error"


@pytest.mark.parametrize("known", ["all.json", "all.jsonl"])
def test_rows_come_out_in_order_and_keep_their_ids(
    folder: Path, capsys: pytest.CaptureFixture[str], add: Problem, known: str
) -> None:
    path = rows(
        folder,
        {"id": 7, "problem_id": "add", "code": GOOD},
        "",
        {"id": "x", "problem": add.to_dict() | {"id": "inline"}, "code": BAD},
        {"problem_id": "product", "code": "print(int(input()) * int(input()))"},
        {"problem_id": "add", "code": None},
        {"problem_id": "add", "code": "x = '\ud800'"},
    )
    assert main(["--jsonl", path, "--problems", str(folder / known), "--workers", "1"]) == 0
    found = written(capsys)
    assert [r.get("id") for r in found] == [7, "x", None, None, None]
    assert [r["problem_id"] for r in found] == ["add", "inline", "product", "add", "add"]
    assert [r["score"] for r in found] == [1.0, 0.5, 1.0, 0.0, 0.0]
    assert found[3]["status"] == "no_code"
    assert list(found[0]) == ["id", "problem_id", "score", "status", "tests", "message", "cpu_seconds"]


FAULTS: list[tuple[object, str]] = [
    ("{", "Expecting property name"),
    ("[" * 100_000, "nested too deep"),
    (b"\xff".decode("latin-1"), "Expecting value"),
    ("[1]", "not a JSON object"),
    ({"problem_id": "add"}, "'code' must be a text"),
    ({"problem_id": "add", "code": 1}, "'code' must be a text"),
    ({"problem_id": "add", "code": "", "Code": ""}, "unknown keys ['Code']"),
    ({"code": ""}, "either 'problem' or 'problem_id'"),
    ({"problem_id": "addd", "code": ""}, "no problem 'addd' among the 2 known"),
    ({"problem_id": [], "code": ""}, "no problem [] among"),
    ({"problem": 3, "code": ""}, "a problem is a JSON object"),
    ({"problem": {"id": "p", "tests": 3}, "code": ""}, "problem 'p': 'tests' must be a list of objects"),
    ({"problem": {"id": "p", "tests": [3]}, "code": ""}, "problem 'p', test 1: a test is an object of texts"),
    ({"problem": {"id": "p", "tests": [{"stdin": "", "stdout": 1}]}, "code": ""}, "an object of texts"),
    ({"problem": {"id": "p", "tests": [{"stdin": ""}]}, "code": ""}, "'stdout'"),
    ({"problem": {"id": "p", "tests": []}, "code": ""}, "no tests"),
    ({"problem": {"id": "p", "tests": [], "cpu_seconds": "1"}, "code": ""}, "'cpu_seconds' must be a number"),
    ({"problem": {"id": "p", "tests": [], "cpu_seconds": float("nan")}, "code": ""}, "'cpu_seconds' must be at least"),
    ({"problem": {"id": "p", "tests": [], "memory_mb": True}, "code": ""}, "'memory_mb' must be a whole number"),
    ({"problem": {"id": "p", "language": "cobol", "tests": [{"stdin": "", "stdout": ""}]}, "code": ""}, "cobol"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS)
def test_a_broken_row_stops_after_the_rows_before_it(
    folder: Path, capsys: pytest.CaptureFixture[str], fault: object, said: str
) -> None:
    good = {"problem_id": "add", "code": GOOD}
    path = rows(folder, good, fault, good)
    assert main(["--jsonl", path, "--problems", str(folder / "all.json"), "--workers", "1"]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err.startswith(f"error: {path}:2: ")
    assert said in err


def test_rows_of_checks_and_scripts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = (
        "import autograder\ndef test_passed():\n return 100 * autograder.equals(autograder.run_script('s.py')[0], 7)\n"
    )
    problems = [
        Problem("c", entry="f", checker="def check(candidate):\n assert candidate(3, 4) == 7\n").to_dict(),
        Problem("s", autograder=script).to_dict(),
    ]
    (folder / "more.json").write_text(json.dumps(problems))
    path = rows(folder, {"problem_id": "c", "code": GOOD}, {"problem_id": "s", "code": "print(7)"},
                {"problem": problems[0], "code": BAD})  # fmt: skip
    assert main(["--jsonl", path, "--problems", str(folder / "more.json"), "--workers", "1"]) == 0
    assert [row["score"] for row in written(capsys)] == [1.0, 1.0, 1.0]


def test_broken_rows_can_be_skipped_and_keep_their_places(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"problem_id": "add", "code": GOOD}
    faults = [fault for fault, _ in FAULTS]
    path = rows(folder, {"id": 1}, good, *faults, good, "{")
    arguments = ["--jsonl", path, "--problems", str(folder / "all.json"), "--on-bad-row", "skip", "--workers", "1"]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert ["error" in row for row in found] == [True, False, *[True] * len(faults), False, True]
    assert found[0]["id"] == 1
    assert [row["line"] for row in found if "error" in row][:3] == [1, 3, 4]
    assert err.count("skipped: ") == len(faults) + 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add.json", "nowhere.py"], "nowhere.py: No such file"),
        (["nowhere.json", "good.py"], "nowhere.json: No such file"),
        (["good.py", "good.py"], "good.py: not JSON"),
        (["all.json", "good.py"], "all.json: a problem is a JSON object"),
        (["add.json", "good.py", "--cache", "good.py"], "good.py: cannot be used as a cache of grades"),
        (["--jsonl", "all.jsonl", "--problems", "twice.jsonl"], "twice.jsonl:2: there is a problem 'add' already"),
        (["--jsonl", "all.jsonl", "--problems", "good.py"], "good.py:1: not JSON"),
        (["add.json", "latin.py"], "latin.py: not UTF-8"),
        (["add.json", "."], "Is a directory"),
    ],
)
def test_bad_input_is_told_without_a_traceback(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "twice.jsonl").write_text(2 * ((folder / "add.json").read_text() + "\n"))
    (folder / "latin.py").write_bytes(b"x = '\xe9'")
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err[:7]) == ("", "error: ")
    assert said in err


@pytest.mark.parametrize("arguments", [[], ["p.json"], ["p.json", "x.py", "--jsonl", "r"], ["--workers", "0"]])
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


def test_a_cache_is_used_and_left_in_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder / "add.json"), str(folder / "good.py"), "--format", "json", "--cache", str(folder / "c")]
    assert main(arguments) == main(arguments) == 0
    first, second = written(capsys)
    assert first == second  # with the same cpu_seconds: it was not run again


def test_as_a_command(folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "graders", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, cwd=folder)

    assert run("--isolation").stdout.startswith("isolation level ")
    assert "exit status: 0" in run("--help").stdout
    done = run("--jsonl", "--problems", "all.json", stdin=json.dumps({"problem_id": "add", "code": GOOD}))
    assert (done.returncode, json.loads(done.stdout)["score"], done.stderr) == (0, 1.0, "")
    refused = run("add.json", "good.py", "--min-isolation", "4")
    assert refused.returncode in (0, 2)
    assert "Traceback" not in refused.stderr
