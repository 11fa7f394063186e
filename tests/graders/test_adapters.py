"""The adapters: what each reward pays, and that the real libraries, where installed, take them as they are."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from graders import Grade, Pool, Problem, ProblemError
from graders.adapters import lm_eval as harness
from graders.adapters import trl as adapter
from graders.adapters.rewards import Columns, answer_text, problem_of
from graders.adapters.verifiers import rubric_function, score_answer

FULL = "def f(a, b):\n    return a + b"
HALF = "def f(a, b):\n    return 7"
ALSO_HALF = "def f(a, b):\n    return 1"
NONE = "def f(a, b):\n    return 0.5"
BROKEN = "def f(a, b:"


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


class Failing:
    """A pool whose every grade is a failure of ours."""

    def grade_many(self, items: list[Any]) -> Iterator[Grade]:
        return (Grade(0.0, "grader_error") for _ in items)

    async def grade_async(self, code: str | None, problem: Problem) -> Grade:
        return Grade(0.0, "grader_error")


def both(reward: adapter.Reward, completions: list[Any], **columns: Any) -> list[float | None]:
    """The reward, and the same from its coroutine."""
    found = reward(completions, **columns)
    assert asyncio.run(reward.asynchronous()(completions=completions, prompts=[""] * len(found), **columns)) == found
    return found


TIERS: list[tuple[str, str, float]] = [
    (fenced(HALF), HALF, 2.0),
    (fenced("# mine\n" + HALF.replace("7", "(7)")), HALF, 2.0),
    (fenced(BROKEN), BROKEN, 2.0),  # the student's own broken program
    (fenced(ALSO_HALF), HALF, 1.0),
    (fenced(NONE), BROKEN, 1.0),  # both 0
    (fenced("def f("), BROKEN, 1.0),  # the grade comes before the compiler
    (fenced("def f("), HALF, -1.0),
    (fenced(FULL), HALF, 0.0),
    (FULL, HALF, -1.0),
    (FULL, BROKEN, -1.0),  # prose is never paid, whatever the next grade
    (f"```python\n{FULL}", FULL, -1.0),  # cut off
    (fenced(" "), BROKEN, -1.0),
    ("", HALF, -1.0),
]


@pytest.mark.parametrize("known", [True, False])
def test_the_tiers(pool: Pool, add: Problem, known: bool) -> None:
    answers, following, paid = zip(*TIERS, strict=True)
    columns: dict[str, Any] = {"problem": [add] * len(TIERS), "next_code": list(following)}
    if known:
        columns["next_grade"] = [pool.grade(code, add).score for code in following]
    assert both(adapter.tiered_reward(pool), list(answers), **columns) == list(paid)
    conversations = [[{"role": "assistant", "content": answer}] for answer in answers]
    assert both(adapter.tiered_reward(pool), conversations, **columns) == list(paid)


def test_renaming_counts_as_equal_only_when_asked(pool: Pool, add: Problem) -> None:
    answers = [fenced(HALF.replace("a,", "x,")), ""]
    columns: dict[str, Any] = {"problem": [add] * 2, "next_code": [HALF] * 2}
    assert both(adapter.tiered_reward(pool), answers, **columns) == [1.0, -1.0]
    answers[1] = fenced("def g(a, b):\n    return 7")  # the tested function is missing
    assert both(adapter.tiered_reward(pool, rename=True), answers, **columns) == [2.0, 0.0]
    assert both(adapter.ast_match_reward(rename=True), answers, **columns) == [1.0, 0.0]


def test_the_parts(pool: Pool, add: Problem) -> None:
    answers = [fenced(HALF), fenced(ALSO_HALF), fenced(FULL), fenced(BROKEN), HALF]
    columns: dict[str, Any] = {"problem": [add] * 5, "next_code": [HALF] * 5}
    assert both(adapter.grade_match_reward(pool), answers, **columns) == [1, 1, 0, 0, 0]
    assert both(adapter.ast_match_reward(), answers, **columns) == [1, 0, 0, 0, 0]
    assert both(adapter.compile_reward(), answers, **columns) == [0, 0, 0, -1, -1]
    assert both(adapter.score_reward(pool), answers, **columns) == [0.5, 0.5, 1, 0, 0]


def test_what_cannot_be_scored_is_none(pool: Pool, add: Problem) -> None:
    answers = [fenced(FULL)]
    failing: Any = Failing()
    tiered = adapter.tiered_reward(pool)
    assert both(tiered, answers) == [None]
    assert both(tiered, answers, problem=[add]) == [None]
    assert both(tiered, answers, problem=[add], next_grade=[1.0]) == [None]
    assert both(tiered, answers, next_code=[HALF]) == [None]
    assert both(tiered, answers, problem=[None], next_code=[None], next_grade=[None]) == [None]
    assert both(adapter.tiered_reward(failing), answers, problem=[add], next_code=[HALF]) == [None]
    for reward in (adapter.grade_match_reward, adapter.score_reward):
        assert both(reward(pool), answers) == [None]
        assert both(reward(failing), answers, problem=[add], next_code=[HALF]) == [None]
    assert both(adapter.grade_match_reward(failing), answers, problem=[add], next_grade=[1.0]) == [None]
    assert both(adapter.grade_match_reward(pool), answers, problem=[add], next_grade=[float("nan")]) == [None]
    assert both(adapter.ast_match_reward(), answers) == [None]


def test_a_wrong_column_is_an_error_and_not_a_reward(pool: Pool, add: Problem) -> None:
    reward = adapter.tiered_reward(pool)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"problem": [add, add], "next_code": [HALF]}, "'problem' must be a list"),
        ({"problem": [add], "next_code": HALF}, "'next_code' must be a list"),
        ({"problem": [add], "next_code": [3]}, "'next_code' must hold texts"),
        ({"problem": [add], "next_code": [HALF], "next_grade": ["1"]}, "'next_grade' must hold numbers"),
        ({"problem": [add], "next_code": [HALF], "next_grade": [50]}, r"'next_grade' must hold scores in \[0, 1\]"),
        ({"problem": ["nowhere"], "next_code": [HALF]}, "neither the id of a known problem nor JSON"),
        ({"problem": ["[]"], "next_code": [HALF]}, "not a problem"),
        ({"problem": [3], "next_code": [HALF]}, "not a problem"),
        ({"problem": [{"id": "p"}], "next_code": [HALF]}, "missing keys"),
    ]
    for columns, said in wrong:
        with pytest.raises((ValueError, TypeError), match=said):
            reward([fenced(FULL)], **columns)


def test_problems_in_every_form(add: Problem, product: Problem) -> None:
    raw = add.to_dict()
    arrow = raw | {"tests": [t | {"stdin": None, "stdout": None} for t in raw["tests"]], "solution": None}
    for form in (add, raw, arrow, json.dumps(raw)):
        assert problem_of(form, {}) == add
    assert problem_of(product.to_dict() | {"entry": None}, {}) == product
    assert problem_of("add", {"add": add}) is add
    assert problem_of(None, {}) is None


def test_other_columns_and_problems_by_id(pool: Pool, add: Problem) -> None:
    columns = Columns(problem="task", next_code="then", next_grade="points")
    reward = adapter.tiered_reward(pool, problems={"add": add}, columns=columns)
    assert both(reward, [fenced(ALSO_HALF)], task=["add"], then=[HALF], points=[0.5], problem=3) == [1.0]


def test_answers_in_every_form() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert answer_text([{"role": "assistant", "content": parts}]) == "ab"
    calls = [{"role": "assistant", "content": "x"}, {"role": "tool", "content": "y"}]
    assert answer_text(calls) == "x"
    assert answer_text([{"role": "assistant", "content": None}]) == answer_text([]) == ""
    assert answer_text([SimpleNamespace(role="assistant", content="z")]) == "z"
    with pytest.raises(TypeError):
        answer_text(3)


def test_a_reward_without_a_pool_can_be_pickled(add: Problem) -> None:
    reward = pickle.loads(pickle.dumps(adapter.score_reward()))
    assert reward([fenced(HALF)], problem=[add]) == [0.5]
    assert reward.__name__ == reward.asynchronous().__name__ == "score_reward"


def test_importing_an_adapter_imports_no_tool() -> None:
    names = ("trl", "verifiers", "inspect_ai", "lm_eval")
    code = "".join(f"import graders.adapters.{name}\n" for name in names)
    code += f"import sys; assert not set(sys.modules) & {set(names) | {'torch', 'simstudent'}}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_trl_s_trainer_takes_them(pool: Pool, add: Problem) -> None:
    """The trainer's own code computes the rewards; only generation and the model are left out."""
    pytest.importorskip("trl")
    torch = pytest.importorskip("torch")
    from trl import GRPOTrainer
    from trl.trainer.utils import get_callable_name, is_async_callable

    tiered = adapter.tiered_reward(pool)
    functions = [tiered, tiered.asynchronous(), adapter.compile_reward()]
    assert [is_async_callable(f) for f in functions] == [False, True, False]
    loop = asyncio.new_event_loop()
    import threading

    threading.Thread(target=loop.run_forever, daemon=True).start()
    trainer: Any = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu", gather=lambda x: x, is_main_process=True),
        reward_funcs=functions,
        reward_processing_classes=[None] * 3,
        reward_func_names=[get_callable_name(f) for f in functions],
        state=SimpleNamespace(global_step=0),
        environments=None,
        async_loop=loop,
        args=SimpleNamespace(report_to=[]),
        _log_completion_extra=lambda *_: None,
        _log_metric=lambda *_: None,
    )
    assert trainer.reward_func_names == ["tiered_reward", "tiered_reward", "compile_reward"]
    inputs = [{"prompt": "p", "problem": json.dumps(add.to_dict()), "next_code": n} for n in (HALF, HALF, None)]
    answers = [fenced(HALF), fenced(BROKEN), fenced(FULL)]
    calculate = GRPOTrainer._calculate_rewards
    calculate = getattr(calculate, "__wrapped__", calculate)
    found = calculate(trainer, inputs, ["p"] * 3, answers, [[1]] * 3)
    loop.call_soon_threadsafe(loop.stop)
    nan = float("nan")
    expected = torch.tensor([[2.0, 2.0, 0.0], [-1.0, -1.0, -1.0], [nan, nan, 0.0]])
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_step_of_trl_s_trainer(pool: Pool, add: Problem, tmp_path: Any, asynchronous: bool) -> None:
    """A tiny model that knows nothing: its answers hold no program, which is the lowest tier, or None."""
    pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from tests.tiny import save_model

    save_model(tmp_path / "model")
    prompt = [{"role": "user", "content": "Add two numbers."}]
    problem = json.dumps(add.to_dict())
    data = Dataset.from_list([{"prompt": prompt, "problem": problem, "next_code": HALF}] * 4)
    config = GRPOConfig(
        str(tmp_path / "run"), max_steps=1, per_device_train_batch_size=4, num_generations=4, max_completion_length=8,
        report_to=[], use_cpu=True, bf16=False, logging_steps=1, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    reward = adapter.tiered_reward(pool)
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(tmp_path / "model"),
        reward_funcs=[reward.asynchronous() if asynchronous else reward],
        args=config,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(tmp_path / "model"),
    )
    trainer.train()
    assert trainer.state.log_history[0]["rewards/tiered_reward/mean"] == -1.0


FIELDS = {"next_code": HALF, "next_grade": 0.5}


def test_a_rubric_function(pool: Pool, add: Problem) -> None:
    graded = rubric_function(adapter.tiered_reward(pool))
    completion = [{"role": "assistant", "content": fenced(ALSO_HALF)}]
    info = FIELDS | {"problem": add.to_dict()}
    assert graded.__name__ == "tiered_reward"
    assert asyncio.run(graded(completion=completion, info=info, answer="", prompt=[])) == 1.0
    assert asyncio.run(graded(completion=completion, info=json.dumps(info))) == 1.0
    assert asyncio.run(graded(completion=completion, problem=add, **FIELDS)) == 1.0
    assert math.isnan(asyncio.run(graded(completion=completion, info={})))
    state: dict[str, Any] = {}
    assert math.isnan(asyncio.run(graded(completion=completion, info={"problem": 3}, state=state)))
    assert "not a problem" in state["graders_error"]


def test_a_rubric_of_verifiers(pool: Pool, add: Problem) -> None:
    vf = pytest.importorskip("verifiers")
    if not hasattr(vf, "Rubric"):
        pytest.skip("verifiers 0.4 has no Rubric")
    rubric = vf.Rubric(funcs=[rubric_function(adapter.tiered_reward(pool))])
    completion = [{"role": "assistant", "content": fenced(ALSO_HALF)}]

    def score(info: Mapping[str, Any]) -> Any:
        state = vf.State(prompt=[], completion=completion, answer="", info=info, timing=vf.types.RolloutTiming())
        asyncio.run(rubric.score_rollout(state))
        return state

    state = score(FIELDS | {"problem": add.to_dict()})
    assert (state["reward"], state["metrics"]) == (1.0, {"tiered_reward": 1.0})
    assert math.isnan(score({})["reward"])


def test_a_task_of_verifiers(pool: Pool, add: Problem) -> None:
    pytest.importorskip("verifiers")
    vf = pytest.importorskip("verifiers.v1")
    if not hasattr(vf, "TaskData"):
        pytest.skip("verifiers 0.1 has no such tasks")
    tiered = adapter.tiered_reward(pool)
    data = type("Data", (vf.TaskData,), {"__annotations__": {"problem": dict, "next_code": str | None}})

    class Task(vf.Task):  # type: ignore[misc]
        @vf.reward  # type: ignore[untyped-decorator]
        async def tiered(self, trace: Any) -> float:
            value = await score_answer(tiered, trace.last_reply, self.data.model_dump())
            if value is None:
                raise ValueError("this answer cannot be scored")
            return value

    def score(next_code: str | None) -> Any:
        task = Task(data(problem=add.to_dict(), next_code=next_code))
        rewards: dict[str, Any] = {}
        trace = SimpleNamespace(
            last_reply=fenced(ALSO_HALF),
            rewards=rewards,
            metrics={},
            record_reward=lambda name, value, weight: rewards.update({name: value * weight}),
        )
        try:
            asyncio.run(task.score(trace))
        except vf.TaskError:
            rewards["error"] = True
        return rewards

    assert score(HALF) == {"tiered": 1.0}
    assert score(None) == {"tiered": None, "error": True}


def test_a_scorer_of_inspect_ai(pool: Pool, add: Problem, tmp_path: Any) -> None:
    inspect_ai = pytest.importorskip("inspect_ai")
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from graders.adapters.inspect_ai import grade_scorer

    answers = [fenced(FULL), fenced(HALF), "no code"]
    outputs = [ModelOutput.from_content("mockllm", answer) for answer in answers]
    for output in outputs:
        output.usage = ModelUsage()  # else the tokens are counted, by a vocabulary from the network
    model = get_model("mockllm/model", custom_outputs=outputs)
    samples = [Sample(input="add", metadata={"problem": add.to_dict()}) for _ in range(2)] + [Sample("add", id="add")]

    def run(pool: Any) -> Any:
        task = inspect_ai.Task(dataset=samples, scorer=grade_scorer(pool, problems={"add": add}))
        (log,) = inspect_ai.eval(task, model=model, log_dir=str(tmp_path), display="none", max_samples=1)
        assert log.status == "success", log.error
        return log

    log = run(pool)
    scores = [sample.scores["grade_scorer"] for sample in log.samples]
    assert [s.value for s in scores] == [1.0, 0.5, 0.0]
    assert scores[1].metadata == {"status": "graded", "outcomes": "PW"}
    assert "returned 7, expected 1" in scores[1].explanation
    assert log.results.scores[0].metrics["mean"].value == 0.5


def test_an_unscored_sample_of_inspect_ai(add: Problem) -> None:
    pytest.importorskip("inspect_ai")
    from graders.adapters.inspect_ai import grade_scorer

    state: Any = SimpleNamespace(
        metadata={"problem": add}, sample_id=1, output=SimpleNamespace(completion=fenced(FULL))
    )
    failing: Any = Failing()
    score: Any = asyncio.run(grade_scorer(failing)(state, None))  # type: ignore[arg-type]
    assert math.isnan(score.value)
    assert score.reason == "scoring_failed"
    state.metadata = {}
    with pytest.raises(ProblemError, match="no 'problem' in its metadata"):
        asyncio.run(grade_scorer(failing)(state, None))  # type: ignore[arg-type]


def test_the_metrics_of_a_document(pool: Pool, add: Problem) -> None:
    doc = {"problem": json.dumps(add.to_dict())}
    failing: Any = Failing()
    assert harness.process_results(doc, [fenced(FULL)], pool=pool) == {"score": 1.0, "solved": 1.0, "compiles": 1.0}
    several = [[fenced(HALF), fenced(BROKEN)]]
    assert harness.process_results(doc, several, pool=pool) == {"score": 0.25, "solved": 0.0, "compiles": 0.5}
    assert all(map(math.isnan, harness.process_results(doc, [fenced(FULL)], pool=failing).values()))
    with pytest.raises(ProblemError, match="no 'problem'"):
        harness.process_results({}, [""], pool=pool)
    assert harness.mean_of_scored([1.0, math.nan, 0.0]) == 0.5
    assert math.isnan(harness.mean_of_scored([math.nan]))


YAML = """\
task: graders_demo
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "{{statement}}"
doc_to_target: ""
generation_kwargs: {until: ["<end>"]}
process_results: !function graders_task.process_results
metric_list:
  - {metric: score, aggregation: !function graders_task.mean_of_scored, higher_is_better: true}
  - {metric: compiles, aggregation: !function graders_task.mean_of_scored, higher_is_better: true}
"""


def test_a_task_of_lm_eval(add: Problem, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Model(LM):  # type: ignore[misc]
        def loglikelihood(self, requests: Any) -> Any: ...
        def loglikelihood_rolling(self, requests: Any) -> Any: ...
        def generate_until(self, requests: Any) -> list[str]:
            return [fenced(HALF) if "half" in r.args[0] else BROKEN for r in requests]

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    data = tmp_path / "data.jsonl"
    documents = [{"statement": text, "problem": json.dumps(add.to_dict())} for text in ("half", "none")]
    data.write_text("".join(json.dumps(d) + "\n" for d in documents))
    (tmp_path / "demo.yaml").write_text(YAML.replace("DATA", str(data)))
    (tmp_path / "graders_task.py").write_text(
        "from graders.adapters.lm_eval import mean_of_scored as mean_of_scored, process_results as process_results\n"
    )
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = lm_eval.simple_evaluate(Model(), tasks=["graders_demo"], task_manager=manager, bootstrap_iters=0)
    figures = found["results"]["graders_demo"]
    assert (figures["score,none"], figures["compiles,none"]) == (0.25, 0.5)
