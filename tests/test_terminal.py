"""What the commands share on the terminal."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import simstudent
from simstudent.cli import main


@pytest.mark.parametrize(
    ("given", "message"),
    [("0", "must be at least 1"), ("-3", "must be at least 1"), ("many", "'many' is no whole number")],
)
@pytest.mark.parametrize("command", [["report", "x", "--to", "y"], ["evaluate", "x"], ["behaviour", "x"]])
def test_numbers_of_things_are_at_least_one(
    command: list[str], given: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command, f"--resamples={given}"])
    assert message in capsys.readouterr().err


def test_commands_share_their_helpers() -> None:
    """No function of the command modules is there twice with the same body."""
    seen: dict[str, str] = {}
    for path in sorted(Path(simstudent.__file__).parent.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                body = ast.dump(ast.Module(node.body, []))
                assert seen.setdefault(body, path.name) == path.name, f"{node.name} of {path.name}"
