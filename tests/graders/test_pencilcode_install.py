"""The compiler's way here: refused unless it is what was published, and named when it is missing. Offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from graders import Problem, grade, pencilcode
from graders.pencilcode.__main__ import main
from graders.pencilcode.install import PACKAGES, InstallError, NotInstalledError


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder without a compiler."""
    monkeypatch.setenv("SIMSTUDENT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_missing_compiler_names_the_step_and_is_no_grade(elsewhere: Path) -> None:
    assert "python -m graders.pencilcode install" in pencilcode.missing()
    with pytest.raises(NotInstalledError, match=r"python -m graders\.pencilcode install"):
        pencilcode.run("fd 100")
    with pytest.raises(NotInstalledError, match=r"python -m graders\.pencilcode install"):
        grade("fd 100", Problem("free", language="pencilcode"))


def test_what_was_not_published_is_refused_and_changes_nothing(elsewhere: Path) -> None:
    kept = pencilcode.compiler_path()
    kept.parent.mkdir(parents=True)
    kept.write_text("before")
    (elsewhere / PACKAGES[0].tarball).write_bytes(b"something else")
    with pytest.raises(InstallError, match="not what was published: sha512-"):
        pencilcode.install(elsewhere)
    with pytest.raises(InstallError, match="No such file"):
        pencilcode.install(elsewhere / "nowhere")
    assert kept.read_text() == "before"
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_without_npm_there_is_another_way(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(elsewhere))
    assert main(["install"]) == 2
    assert "--from FOLDER" in capsys.readouterr().err
    assert main(["run", "no-such-file.coffee"]) == 2
    assert "no-such-file.coffee" in capsys.readouterr().err
