"""Training runs one after another: SFT first, then DPO or DAPO from its adapter, each in a run folder of its own.

A run's manifest says its ``stage`` and, in ``from``, the run that it started from; so any run leads to all adapters
before it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.data import report
from simstudent.errors import SimstudentError
from simstudent.runs import (
    create_run,
    differences,
    has_adapter,
    newest_run,
    read_json,
    read_lines,
    read_manifest,
    read_recipe,
    stage_of,
    trained,
    whole_model,
    write_json,
    write_lines,
)
from simstudent.training.checks import STAGES, Stage
from simstudent.training.plot import draw_losses
from simstudent.training.ranks import is_main
from simstudent.training.sharded import fsdp, whole_weights

if TYPE_CHECKING:
    from simstudent.data.load import Data
    from simstudent.dialogue.template import ChatTemplate
    from simstudent.recipe import Recipe


def unfinished_run(recipe: Recipe, stage: Stage, root: Path) -> Path:
    """The newest unfinished run of this recipe and stage.

    Raises SimstudentError when there is none, or when what decides about the stage has changed in the recipe.
    """
    run = newest_run(root, name=recipe.name, finished=False, stage=stage)
    if run is None:
        raise SimstudentError(f"nothing to resume: no unfinished {stage} run of '{recipe.name}' in {root}")
    others = ("rollout.", *(f"{other}." for other in STAGES if other != stage))
    changed = differences(read_recipe(run).to_dict(), recipe.to_dict())
    changed = [c for c in changed if not c.startswith(others)]
    if changed:
        raise SimstudentError(
            f"{run} cannot be resumed, the recipe has changed since (undo this, or start anew without --resume):\n  "
            + "\n  ".join(changed)
        )
    return run


def identity(data: Data, template: ChatTemplate) -> dict[str, str]:
    """What must be the same in runs that go on from each other."""
    return {"data_hash": data.hash, "template_hash": template.hash}


def check_data(run: Path, data: Data) -> None:
    """Raises SimstudentError when a run was trained on other data, or another split, than what is held out now."""
    theirs = read_manifest(run).get("data_hash")
    if theirs != data.hash:
        raise SimstudentError(
            f"{run} was trained on other data or another split ({theirs}) than is held out here ({data.hash}): "
            "what is held out now may be in its training"
        )


def begin(
    recipe: Recipe,
    stage: Stage,
    data: Data,
    template: ChatTemplate,
    facts: Mapping[str, Any],
    *,
    root: Path,
    unfinished: Path | None,
    start: Path | None = None,
) -> Path:
    """The run folder to train in: a new one, or the unfinished one if its data and template are still the same."""
    facts = {"stage": stage, **identity(data, template), **facts} | ({} if start is None else {"from": start.name})
    if unfinished is None:
        run = create_run(root, recipe, facts)
        write_json(run / "template.json", template.to_dict())
        for name in ("attrition.csv", "data.md"):
            report.write(run / name, {recipe.name: (data.attrition, data.division)})
        return run
    manifest = read_manifest(unfinished)
    changed = differences({k: manifest.get(k) for k in facts}, facts)
    if changed:
        raise SimstudentError(
            f"{unfinished} cannot be resumed, data or template have changed since (start anew without --resume):\n  "
            + "\n  ".join(changed)
        )
    return unfinished


def sft_run(recipe: Recipe, root: Path, named: Path | None, facts: Mapping[str, Any]) -> Path:
    """The SFT run that a later stage starts from: the one ``named``, or the newest that fits the recipe.

    It fits when model, dialogue, students' vectors, data and template (``facts``: see `identity`) are the same. Raises
    SimstudentError naming what differs.
    """
    if named is not None:
        if not has_adapter(named):
            raise SimstudentError(f"{named} holds no trained adapter; name a finished run of simstudent sft")
        changed = _unlike(named, recipe, facts)
        if changed:
            raise SimstudentError(f"{named} does not fit this recipe:\n  " + "\n  ".join(changed))
        return named
    runs = sorted(root.glob("*/manifest.json"), key=lambda p: (read_manifest(p.parent)["started"], p.parent.name))
    fitting = [p.parent for p in runs if has_adapter(p.parent) and stage_of(p.parent) == "sft"]
    for run in reversed(fitting):
        if not _unlike(run, recipe, facts):
            return run
    why = "there is none yet" if not fitting else "none of those there has this recipe's model, data and dialogue"
    raise SimstudentError(
        f"no SFT run to start from in {root.absolute()}: {why}. Train one (simstudent sft RECIPE), or name it (--from)"
    )


def _unlike(run: Path, recipe: Recipe, facts: Mapping[str, Any]) -> list[str]:
    manifest = read_manifest(run)
    decide = ("model", "dialogue", "students")
    theirs, ours = read_recipe(run).to_dict(), recipe.to_dict()
    old = {name: theirs[name] for name in decide} | {name: manifest.get(name) for name in facts}
    return differences(old, {name: ours[name] for name in decide} | dict(facts))


def adapters(run: Path) -> dict[str, Path]:
    """The adapters that led to a run, by stage, its own last.

    Raises SimstudentError when an earlier run is gone, or when the run trained a whole model.
    """
    if (whole := whole_model(run)) is not None:
        raise SimstudentError(
            f"{run} trained all weights, not an adapter: make it the recipe's model (model.id: {whole}) and roll it "
            "out as the method base; trace models are sampled by simstudent behaviour"
        )
    found = {stage_of(run): run / "adapter"} if trained(run) else {}
    before = read_manifest(run).get("from")
    while before is not None:
        earlier = run.parent / before
        if not trained(earlier):
            raise SimstudentError(f"{run} started from {earlier}, which is not there (or not trained) any more")
        found = {stage_of(earlier): earlier / "adapter", **found}
        before = read_manifest(earlier).get("from")
    return found


WHOLE = ("scheduler.pt", "trainer_state.json")
"""What a checkpoint folder holds once it is complete, beside these; trainer_state.json comes last."""
WEIGHTS = ("adapter_config.json", "config.json")
OPTIMISER = {"optimizer.pt": "one process or DDP", "optimizer.bin": "FSDP2", "latest": "DeepSpeed"}
"""The file that tells of the optimiser's state, and how the run was launched that can read it."""


def last_checkpoint(folder: Path, also: tuple[str, ...] = ()) -> Path | None:
    """The newest complete checkpoint; a half-written one (the process was killed) is removed.

    ``also``: files that it must hold besides the trainer's.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    for checkpoint in reversed(found):
        whole = all((checkpoint / name).is_file() for name in (*WHOLE, *also))
        whole = whole and all(any((checkpoint / name).is_file() for name in names) for names in (WEIGHTS, OPTIMISER))
        if whole and _readable(checkpoint / "trainer_state.json"):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def _readable(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def forget_after(metrics: Path, checkpoint: Path | None) -> None:
    """Drop the logged lines of steps that will be trained again."""
    step = 0 if checkpoint is None else int(checkpoint.name.split("-")[1])
    kept = [line for line in read_lines(metrics) if line["step"] <= step]
    write_lines(metrics, kept)


def prepared(run: Path, also: tuple[str, ...] = ()) -> Path | None:
    """The checkpoint to go on from (see `last_checkpoint`); what was logged after it is forgotten."""
    checkpoint = last_checkpoint(run / "checkpoints", also)
    if checkpoint is not None:
        written = next(launch for name, launch in OPTIMISER.items() if (checkpoint / name).is_file())
        if written != ("FSDP2" if fsdp() else "one process or DDP"):
            fix = "start anew" if written == "DeepSpeed" else "resume as the run was launched (accelerate launch)"
            raise SimstudentError(f"{checkpoint} was written under {written} and cannot be resumed here: {fix}")
    if checkpoint is not None and (checkpoint / "ref").is_dir():
        # Beside a reference adapter, transformers loads adapters of subfolders only, not the trained one above them,
        # and would go on from the SFT policy.
        own = checkpoint / "default"
        own.mkdir(exist_ok=True)
        for path in checkpoint.glob("adapter_*"):
            shutil.copyfile(path, own / path.name)
    forget_after(run / "metrics.jsonl", checkpoint)
    return checkpoint


def finish(
    trainer: Any,
    run: Path,
    say: Callable[[str], None],
    facts: Callable[[], dict[str, Any]],
    max_minutes: float | None,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Keep the adapter, or the model where all weights were trained, whole or not at all; or say that time ran out.

    ``beside`` writes what belongs to it into its folder.
    """
    name = "adapter" if hasattr(trainer.accelerator.unwrap_model(trainer.model), "peft_config") else "model"
    if trainer.state.global_step < trainer.state.max_steps and not _stopped_early(trainer):
        say(f"Stopped at step {trainer.state.global_step} after {max_minutes:g} minutes; --resume goes on from there")
        return
    weights = whole_weights(trainer, adapter=name == "adapter")
    if is_main():
        partial = run / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        _save(trainer, weights, partial)
        if beside is not None:
            beside(partial)
        write_json(partial / "training.json", facts())
        partial.replace(run / name)
        draw_losses(run, say)
    trainer.accelerator.wait_for_everyone()
    say(f"{name.capitalize()}: {run / name}")


def _save(trainer: Any, weights: dict[str, Any] | None, folder: Path) -> None:
    """The adapter or, in bfloat16, the model. ``weights``: see `whole_weights`."""
    import torch

    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "peft_config"):
        model.save_pretrained(str(folder), selected_adapters=["default"], state_dict=weights)
        return
    if weights is None:
        model.to(torch.bfloat16).save_pretrained(str(folder))
    else:
        tied = getattr(model, "all_tied_weights_keys", {})  # one weight under two names is kept under one
        held = {name: w.to(torch.bfloat16) for name, w in weights.items() if name not in tied}
        model.save_pretrained(str(folder), state_dict=held)
        # It says the dtype of the model at hand, whose pieces are float32.
        write_json(folder / "config.json", read_json(folder / "config.json") | {"dtype": "bfloat16"})
    trainer.processing_class.save_pretrained(str(folder))


def _stopped_early(trainer: Any) -> bool:
    """Whether patience ended the training: no time limit did."""
    return not any(getattr(c, "ran_out", False) for c in trainer.callback_handler.callbacks)
