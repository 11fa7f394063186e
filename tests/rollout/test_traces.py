"""From a log to a table of behaviour, on a tiny random model; prompts of students with a vector; what is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import simstudent.data.samples.pencilcode
from simstudent.cli import main
from simstudent.data.records import Assignment, Submission
from simstudent.dialogue.encode import Encoder
from simstudent.dialogue.traces import block_header, trace_template
from simstudent.errors import SimstudentError
from simstudent.recipe import load_recipe
from simstudent.rollout.behaviour import run_behaviour
from simstudent.rollout.engine import Completion, EngineError, Sampling
from simstudent.rollout.folder import unfinished
from simstudent.rollout.traces import TraceStart, read_traces, sample_all, sample_trace
from simstudent.runs import read_lines, trained
from simstudent.training.sft import run_sft
from simstudent.training.stages import adapters

SAMPLE = Path(simstudent.data.samples.pencilcode.__file__).parent
RECIPE = """\
name: {name}
model: {{id: {model}}}
data:
  source: {{kind: pencilcode, files: {files}}}
  privacy: {{ids: keep}}
  select: [drop_unchanged]
  split: {{by: cells, unseen_students: 0.2, unseen_assignments: 0.2}}
  variant: {variant}
dialogue: {{format: trace, feedback: none, window: 512, overflow: cut, answer_tokens: 64}}
students: {{kind: {students}}}
sft: {{lora: {lora}, limit: 6, batch_size: 2, micro_batch_size: 2, evaluations: 1, learning_rate: 1e-3}}
rollout: {{temperature: 1.0, top_p: 0.9, samples: 2, limit: 4}}
"""


def train(folder: Path, model: Path, name: str, **options: str) -> Path:
    values = {"variant": "trace", "students": "none", "lora": "{r: 4}"} | options
    path = folder / f"{name}.yaml"
    text = RECIPE.format(name=name, model=model, files=SAMPLE / "traces", **values)
    path.write_text(text, encoding="utf-8")
    run = run_sft(load_recipe(path), root=folder / "runs", say=lambda text: None)
    assert run is not None
    return run


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    pytest.importorskip("trl")
    folder = tmp_path_factory.mktemp("traces")
    whole = train(folder, tiny_model, "whole", lora="null")
    return [whole, train(folder, tiny_model, "adapter", variant="last", students="table")]


@pytest.mark.slow
def test_all_weights_or_an_adapter_are_kept(runs: list[Path]) -> None:
    whole, adapter = runs
    assert (whole / "model" / "config.json").is_file()
    assert (whole / "model" / "tokenizer.json").is_file()
    assert not (whole / "adapter").exists()
    assert trained(whole)
    with pytest.raises(SimstudentError, match="trained all weights"):
        adapters(whole)
    assert (adapter / "adapter" / "students.json").is_file()


@pytest.mark.slow
def test_from_runs_to_figures_and_again_from_the_files_alone(
    runs: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = run_behaviour(runs, {}, say=lambda text: None)
    assert sorted(p.stem for p in folder.glob("*.jsonl")) == [
        "adapter",
        "students",
        "training-mean",
        "training-trace",
        "whole",
    ]
    counts = {p.stem: len(list(read_lines(p))) for p in folder.glob("*.jsonl")}
    assert counts == {"whole": 8, "adapter": 8, "students": 4, "training-mean": 8, "training-trace": 4}
    written = (folder / "whole.jsonl").read_bytes()
    # Half of a file is missing: what is there stays, the rest comes again (its text up to numerics in bfloat16).
    (folder / "whole.jsonl").write_bytes(b"".join(written.splitlines(keepends=True)[:3]))
    assert run_behaviour(runs, {}, resume=True, say=lambda text: None) == folder
    again = (folder / "whole.jsonl").read_bytes()
    assert again.splitlines()[:3] == written.splitlines()[:3]
    keys = [sorted(line["key"] for line in map(json.loads, text.splitlines())) for text in (written, again)]
    assert keys[0] == keys[1]
    with pytest.raises(SimstudentError, match="settings differ"):
        run_behaviour(runs, {"rollout.samples": 3}, resume=True, say=lambda text: None)
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    assert main(["behaviour", str(moved), "--resamples", "100"]) == 0
    assert "| training-trace | all | 4 |" in capsys.readouterr().out
    assert {"behaviour.md", "behaviour.csv", "behaviour.json"} <= {p.name for p in moved.iterdir()}


@pytest.mark.slow
def test_runs_that_cannot_be_compared_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SimstudentError, match="no finished training"):
        run_behaviour([tmp_path], {})
    with pytest.raises(SimstudentError, match="one temperature above 0"):
        run_behaviour(runs[:1], {"rollout.temperature": 0, "rollout.samples": 1})
    other = tmp_path / "other"
    shutil.copytree(runs[0], other, ignore=shutil.ignore_patterns("behaviour"))
    text = (other / "manifest.json").read_text(encoding="utf-8")
    hash = text.split('"data_hash": "')[1][:16]
    (other / "manifest.json").write_text(text.replace(hash, "0" * 16), encoding="utf-8")
    with pytest.raises(SimstudentError, match="other data or another split"):
        run_behaviour([runs[0], other], {})


class Parrot:
    """An engine that writes one block and stops, or fails; it keeps what it was asked."""

    def __init__(self, encoder: Encoder, text: str | None) -> None:
        self.encoder, self.text, self.asked = encoder, text, list[tuple[tuple[int, ...], Sampling, int]]()

    async def generate(self, ids: Any, sampling: Sampling, *, seed: int, adapter: str | None) -> Completion:
        self.asked.append((tuple(ids), sampling, seed))
        if self.text is None:
            raise EngineError("broken")
        return Completion(tuple(self.encoder.tokenizer(self.text)["input_ids"]), truncated=False)


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    return Encoder(tokenizer, window=300, answer_tokens=32, template=trace_template(tokenizer))


def test_a_trace_goes_on_from_a_student_s_states(encoder: Encoder) -> None:
    states = (Submission("fd 1", "2021-03-04T10:00:00"),)
    start = TraceStart("s1", Assignment("star", ""), states, block_header(2, "2021-03-04T10:00:05"))
    engine = Parrot(encoder, "fd 1\nrt 2\n")
    options: dict[str, Any] = {"adapter": None, "seed": 1, "temperature": 1.0, "top_p": 0.9}
    found = asyncio.run(sample_trace(start, engine, encoder, token=lambda student: 7, **options))
    (asked, sampling, _) = engine.asked[0]
    assert asked[0] == 7
    assert encoder.decode(asked[1:]) == "star\nCODE 1 (2021-03-04 10:00:00):\nfd 1\nCODE 2 (2021-03-04 10:00:05):\n"
    assert sampling.max_tokens == encoder.window - len(asked) + 1
    assert sampling.stop_ids == encoder.stop_ids
    assert found.read().trace.programs == ("fd 1", "fd 1\nrt 2")
    assert (found.read().trace.title, found.complete, found.key) == ("star", True, "s1/star/1/0")
    other = asyncio.run(sample_trace(TraceStart("s1", Assignment("star", ""), sample=1), engine, encoder, **options))
    assert engine.asked[1][2] != engine.asked[0][2]
    assert other.key == "s1/star/0/1"


def test_an_engine_that_fails_is_no_trace(encoder: Encoder, tmp_path: Path) -> None:
    starts = [TraceStart(f"s{n}", Assignment("star", "")) for n in range(3)]
    path = tmp_path / "m.jsonl"
    options: dict[str, Any] = {"adapter": None, "seed": 1, "temperature": 1.0, "top_p": 0.9, "concurrency": 2}
    said: list[str] = []
    asyncio.run(sample_all(path, starts[:2], [Parrot(encoder, None)], encoder, said.append, **options))
    assert "2 FAILED" in said[-1]
    assert read_traces(path) == []
    assert unfinished(path, starts) == starts
    asyncio.run(sample_all(path, starts, [Parrot(encoder, "x")], encoder, said.append, **options))
    assert len(read_traces(path)) == 3
    assert unfinished(path, starts) == []


def test_a_state_that_repeats_the_one_before_is_left_out() -> None:
    from simstudent.rollout.traces import written

    times = [f"CODE {n} (2021-03-04 10:00:0{n}):\n" for n in (1, 2, 3)]
    found = written(TraceStart("s", Assignment("t", "")), f"{times[0]}a\n{times[1]}a\n{times[2]}b\n", True).read().trace
    assert (found.programs, found.numbers) == (("a", "b"), (1, 3))
