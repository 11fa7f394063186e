"""What may be imported by whom: graders stand alone, the command line answers without loading libraries."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "vllm", "numpy", "pyarrow", "pydantic", "rich", "codebleu"}


def modules_after(code: str) -> set[str]:
    """Top-level modules loaded by ``code`` in a fresh interpreter."""
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in run.stdout.split("\n")[-2].split()}


def test_graders_need_only_the_standard_library() -> None:
    loaded = modules_after("import graders, graders.feedback, graders.compare, graders.codebleu")
    assert loaded - set(sys.stdlib_module_names) == {"graders"}


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_after("from simstudent.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass")
    assert not loaded & HEAVY


def test_validating_a_recipe_without_trainer_keys_does_not_load_torch() -> None:
    assert "torch" not in modules_after("from simstudent.cli import main\nmain(['validate', 'recipes/demo.yaml'])")


def test_graders_know_nothing_of_simstudent() -> None:
    code = "import pkgutil, importlib, graders\nfor m in pkgutil.iter_modules(graders.__path__, 'graders.'):\n"
    code += "    m.name in ('graders.worker', 'graders.__main__') or importlib.import_module(m.name)"
    assert "simstudent" not in modules_after(code)
