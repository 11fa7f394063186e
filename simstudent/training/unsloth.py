"""unsloth behind SFT and DPO (``sft.backend: unsloth``): its kernels, under the same rows, labels, trainer and adapter.

unsloth changes transformers, peft and TRL as it is imported, so it is imported before training begins and never
otherwise. It lags behind TRL and datasets: it lives in an environment of its own (locks/unsloth.txt). Without a GPU it
trains through transformers' own code.

Its attention takes the borders of packed rows from ``packed_seq_lengths``, or off position ids where a batch is one
row; of several packed rows in a batch it would let one trajectory see another. So a batch is always one row here
(packing.py).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.cache import cache_folder
from simstudent.errors import SimstudentError

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

INSTALL = 'pip install -c locks/unsloth.txt -e ".[train,unsloth]" in an environment of its own (docs/training.md)'


def missing() -> str | None:
    """Why unsloth cannot be used here: not installed, or beside versions that it does not work with; None if it can."""
    try:
        version, wanted = importlib.metadata.version("unsloth"), importlib.metadata.requires("unsloth") or []
    except importlib.metadata.PackageNotFoundError:
        return "unsloth is not installed"
    clashes = [clash for line in wanted if (clash := _clash(line)) is not None]
    return f"unsloth {version} does not fit what else is installed: {'; '.join(clashes)}" if clashes else None


def _clash(line: str) -> str | None:
    """What is wrong with one requirement; one that is not installed at all is for the import to miss."""
    from packaging.requirements import Requirement

    wanted = Requirement(line)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return None
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if wanted.specifier.contains(version, prereleases=True):
        return None
    return f"{wanted.name} {version} is installed, and it needs {wanted.specifier}"


def begin(recipe: Recipe, backend: str) -> None:
    """Import unsloth if ``backend`` says so, before TRL is; nothing of it leaves this machine but what is asked for.

    Raises SimstudentError where it is not installed, does not fit the other packages or fails.
    """
    if backend != "unsloth":
        return
    for what, there in (
        ("students' vectors", recipe.students.kind != "none"),
        ("all weights", recipe.sft.lora is None),
    ):
        if there:
            raise SimstudentError(f"{what} are not trained through unsloth. Fix: backend: plain")
    reason = missing()
    if reason is not None:
        raise SimstudentError(f"{reason}. Fix: {INSTALL}, or backend: plain")
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")  # else it tells its makers of each loaded model
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache_folder() / "unsloth"))  # else in the current folder
    with _explained("it does not load"), _silent():
        import unsloth  # noqa: F401


def load_base(recipe: Recipe, path: str, *, quantization: str, device: str) -> Any:
    """The recipe's base model through unsloth; ``path`` as ``resolve_model`` gives it."""
    import torch
    import unsloth

    with _explained(f"it cannot load '{recipe.model.id}'"), _silent():
        model, _ = unsloth.FastLanguageModel.from_pretrained(
            path,
            revision=recipe.model.revision,
            max_seq_length=recipe.dialogue.window,
            dtype=torch.bfloat16,
            load_in_4bit=quantization == "nf4",
            load_in_16bit=quantization == "none",
            device_map={"": device},
            use_exact_model_name=True,  # these weights, not a copy that its makers quantised
            fix_tokenizer=False,  # the tokenizer is ours
        )
    return model


def add_adapter(recipe: Recipe, model: Any, *, checkpointing: bool, adapter: Path | None) -> Any:
    """The base with a fresh adapter as the recipe describes it, or with the trained one in the folder ``adapter``."""
    import unsloth

    from simstudent.training.policy import lora_config

    if adapter is None:
        config = lora_config(recipe)
    else:
        from peft import LoraConfig

        config = LoraConfig.from_pretrained(str(adapter))
    target = config.target_modules
    with _explained("it cannot add the adapter"), _silent():
        model = unsloth.FastLanguageModel.get_peft_model(
            model,
            r=config.r,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=target if isinstance(target, str) else sorted(target),
            use_gradient_checkpointing="unsloth" if checkpointing else False,
            random_state=recipe.seed,
            max_seq_length=recipe.dialogue.window,
        )
    if adapter is not None:
        _fill(model, adapter)
    return model


def _fill(model: Any, adapter: Path) -> None:
    """Put a trained adapter's weights in; every one must find its place."""
    from peft import set_peft_model_state_dict
    from peft.utils import load_peft_weights

    weights = load_peft_weights(str(adapter))
    left = set_peft_model_state_dict(model, weights)
    lacking = [name for name in left.missing_keys if "lora_" in name]
    if left.unexpected_keys or lacking:
        raise SimstudentError(f"unsloth's model does not take the adapter {adapter}: {left.unexpected_keys or lacking}")


def check_rows(trainer: Any, rows: Sequence[dict[str, list[int]]]) -> None:
    """Raise SimstudentError if the trainer would not learn exactly these ids and labels, in our collator's batches."""
    held = trainer.train_dataset
    for name in ("input_ids", "labels"):
        if name not in held.column_names or list(held[name]) != [row[name] for row in rows]:
            raise SimstudentError(f"unsloth has changed the {name} of the training rows. Fix: backend: plain")
    try:
        batch = trainer.data_collator([dict(row) for row in rows[:2]])
    except (KeyError, TypeError, ValueError) as error:
        raise SimstudentError("unsloth has put a collator of its own in place of ours. Fix: backend: plain") from error
    for name in ("input_ids", "labels"):
        if batch[name].flatten().tolist() != [i for row in rows[:2] for i in row[name]]:
            raise SimstudentError(f"unsloth has changed the {name} of a batch. Fix: backend: plain")


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without its banners; what goes wrong is an exception."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (ImportError, NotImplementedError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SimstudentError(f"unsloth: {what}: {reason}. Fix: {INSTALL}, or backend: plain") from error
