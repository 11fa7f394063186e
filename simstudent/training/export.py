"""``simstudent export RUN --to FOLDER``: the trained student as one ordinary model that any tool loads.

The adapter is merged into the base in bfloat16, never into the 4-bit weights that it may have been trained over
(those are rounded already). What was written is then loaded again and compared with base and adapter on real
dialogues: a merge rounds every weight to 8 significant bits, which can swallow an adapter's small changes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simstudent.data.records import Trajectory
from simstudent.data.split import Side, position
from simstudent.dialogue.encode import IGNORED, Encoder, Ids, make_encoder
from simstudent.dialogue.serialize import Dialogue, system_prompt
from simstudent.dialogue.template import ChatTemplate, jinja
from simstudent.errors import SimstudentError
from simstudent.runs import read_recipe, stage_of, trained, versions, whole_model, write_json
from simstudent.training.card import card, provenance
from simstudent.training.stages import adapters

if TYPE_CHECKING:
    from simstudent.recipe import Recipe

LEAST_AGREEMENT = 0.97
"""Share of positions at which merged model and base with adapter must have the same most likely token."""
MOST_DIVERGENCE = 0.01
"""Mean Kullback-Leibler divergence of the merged model from base with adapter, in nats per token, at most.

Where these come from: docs/training.md, Export."""
DIALOGUES = 16
"""Dialogues that are compared, at most."""
POSITIONS = 64
"""Trained positions of each that are compared, at most: each has as many logits as the vocabulary has tokens."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near the merged model is to base with adapter, on ``positions`` trained tokens of ``dialogues``.

    ``divergence``: mean KL(adapter || merged), nats per token; ``effect``: mean KL(adapter || base), all that the
    adapter does. ``same_ids``: dialogues of which the exported chat template gives exactly the ids of training.
    """

    dialogues: int
    positions: int
    largest_difference: float
    same_top_token: float
    divergence: float
    effect: float
    same_ids: int

    @property
    def enough(self) -> bool:
        """Whether it is within the tolerance."""
        return self.same_top_token >= LEAST_AGREEMENT and self.divergence <= MOST_DIVERGENCE

    @property
    def text(self) -> str:
        """For a person."""
        return (
            f"Merged model against base with adapter, on {self.positions:,} trained tokens of {self.dialogues} "
            f"dialogues: same most likely token {100 * self.same_top_token:.2f} % (at least {100 * LEAST_AGREEMENT:g} "
            f"%), mean KL divergence {self.divergence:.2g} nats (at most {MOST_DIVERGENCE:g}; the adapter's own "
            f"effect: {self.effect:.2g}), largest difference of a logit {self.largest_difference:.2g}"
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """A dialogue that is compared: its messages, its ids, and the positions whose next token is trained."""

    messages: list[dict[str, str]]
    ids: Ids
    positions: tuple[int, ...]


def export(run: Path, to: Path, *, say: Callable[[str], None] = print, check: Recipe | None = None) -> Agreement:
    """Merge a run's adapter into its base and write model, tokenizer, chat template and model card to ``to``.

    ``check``: the recipe whose validation students the merge is compared on; default: the run's own. The folder appears
    whole or not at all. Raises SimstudentError when ``to`` is taken, when the run has no adapter of its own, when the
    data cannot be read, and when the merged model is further from base with adapter than the tolerance.
    """
    recipe = _exportable(run, to)
    from simstudent.training.models import load_tokenizer

    saved = json.loads((run / "template.json").read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(recipe.model.id, recipe.model.revision)
    encoder = make_encoder(recipe, tokenizer, ChatTemplate.from_dict(saved))
    probes = _probes(encoder, _dialogues(check or recipe, say))
    partial = to.with_name(to.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        same = _save_tokenizer(encoder, system_prompt(recipe.dialogue), probes, partial)
        say(f"Merging {run / 'adapter'} ({stage_of(run)}) into {recipe.model.id} in bfloat16")
        found = _merged(recipe, run / "adapter", encoder.stop_ids, probes, partial, same)
        say(found.text)
        if not found.enough:
            raise SimstudentError(
                f"not exported: merging would change this model more than that. {run / 'adapter'} is whole; "
                "transformers and vLLM load it beside the base model"
            )
        _say_template(found, say)
        facts = provenance(run) | {"merge": asdict(found), "exported_with": versions()}
        write_json(partial / "simstudent.json", facts)
        (partial / "README.md").write_text(card(run, found.text), encoding="utf-8")
        partial.replace(to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"Model: {to}\nRead {to / 'README.md'} before you pass it on: it can reproduce what students wrote")
    return found


def _exportable(run: Path, to: Path) -> Recipe:
    """The run's recipe, once it is sure that there is something to merge and room for it."""
    recipe = read_recipe(run)
    if (whole := whole_model(run)) is not None:
        raise SimstudentError(f"{run} trained all weights: {whole} is a whole model already, there is nothing to merge")
    if not trained(run):
        raise SimstudentError(f"{run} holds no trained adapter; go on with it (--resume), or name a finished run")
    if recipe.students.kind != "none":
        raise SimstudentError(f"{run} has students' vectors, which no other tool reads; it cannot be merged")
    if recipe.dialogue.format == "trace":
        raise SimstudentError(
            f"{run} was trained on traces, which no chat template can tell of; it cannot be exported as a chat model"
        )
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise SimstudentError(f"--to {to}: it is there already; name a new folder")
    adapters(run)  # the runs before it, which the model card tells of
    return recipe


def _dialogues(recipe: Recipe, say: Callable[[str], None]) -> list[Dialogue]:
    """A few dialogues of validation students, drawn by a seeded hash."""
    from simstudent.training.examples import examples

    def choose(side: Side, held: tuple[Trajectory, ...]) -> tuple[Trajectory, ...]:
        drawn = sorted(held, key=lambda t: position(recipe.seed, "export", t.key))
        return tuple(drawn[:DIALOGUES]) if side == "validation" else ()

    real = recipe.model_copy(update={"data": recipe.data.model_copy(update={"variant": "trace"})})
    try:
        held = examples(real, lambda text: None, choose).sides["validation"]
    except SimstudentError as error:
        raise SimstudentError(
            f"the merge is checked on dialogues of the run's data, and they cannot be had: {error}\n"
            "Where the logs may not be, check it on others: --check recipes/demo.yaml"
        ) from None
    say(f"Checking on {len(held.dialogues)} dialogues of validation students ({recipe.name})")
    return list(held.dialogues.values())


def _probes(encoder: Encoder, dialogues: Iterable[Dialogue]) -> list[Probe]:
    """The dialogues that fit the window as a whole, each as one row; without any, the first row of each."""
    found: list[Probe] = []
    cut: list[Probe] = []
    for d in dialogues:
        rows = encoder.rows(d).rows
        for row in rows[:1]:
            at = [n - 1 for n, label in enumerate(row.labels) if label != IGNORED]
            step = -(-len(at) // POSITIONS)
            probe = Probe(d.messages(), row.ids, tuple(at[::step]))
            (found if len(rows) == 1 and row.first == 0 and len(row.targets) == len(d.turns) else cut).append(probe)
    if not found + cut:
        raise SimstudentError("no dialogue to check the merge on fits the window")
    return found or cut


def _save_tokenizer(encoder: Encoder, system: str, probes: Sequence[Probe], folder: Path) -> int:
    """Write the tokenizer with the training's template; of how many dialogues it then gives the very ids.

    Raises SimstudentError when the text is another one: the model would be asked what it was not trained on.
    """
    from transformers import AutoTokenizer

    encoder.tokenizer.chat_template = jinja(encoder.template, system)
    encoder.tokenizer.eos_token = encoder.template.end
    encoder.tokenizer.save_pretrained(folder)
    loaded = AutoTokenizer.from_pretrained(folder)
    same = 0
    for probe in probes:
        ids = tuple(loaded.apply_chat_template(probe.messages, return_dict=False))[: len(probe.ids)]
        same += ids == probe.ids
        whole = len(probe.positions) and probe.ids[-1] == encoder.end_id
        if ids != probe.ids and whole and encoder.decode(ids).strip() != encoder.decode(probe.ids).strip():
            raise SimstudentError("the chat template cannot be exported: it renders another text than training had")
    return same


def _say_template(found: Agreement, say: Callable[[str], None]) -> None:
    line = f"Chat template: the ids of training in {found.same_ids} of {found.dialogues} dialogues"
    if found.same_ids < found.dialogues:
        line += (
            ". WARNING: in the others the text is the same and some tokens are not (special tokens within a "
            "program, or pieces that this tokenizer joins); for rollouts with exact ids use simstudent itself"
        )
    say(line)


def _merged(
    recipe: Recipe, adapter: Path, stop_ids: Sequence[int], probes: Sequence[Probe], folder: Path, same_ids: int
) -> Agreement:
    """Merge, save, load again, compare."""
    from simstudent.training.models import best_device, free_device, load_model, with_adapter

    device = best_device()
    base = load_model(recipe.model.id, revision=recipe.model.revision, device=device)
    tuned = with_adapter(base, adapter)
    wanted = [logits.cpu() for logits in _logits(tuned, probes)]
    with tuned.disable_adapter():
        effect = sum(_divergence(a.to(b), b) for a, b in zip(wanted, _logits(tuned, probes), strict=True))
    merged = tuned.merge_and_unload(safe_merge=True)
    merged.generation_config.eos_token_id = list(stop_ids)
    merged.config.eos_token_id = list(stop_ids)
    merged.save_pretrained(folder)
    del base, tuned, merged
    free_device()
    largest = alike = divergence = 0.0
    for a, b in zip(wanted, _logits(load_model(str(folder), device=device), probes), strict=True):
        a = a.to(b)
        largest = max(largest, float((a - b).abs().max()))
        alike += float((a.argmax(-1) == b.argmax(-1)).sum())
        divergence += _divergence(a, b)
    count = sum(len(p.positions) for p in probes)
    return Agreement(len(probes), count, largest, alike / count, divergence / count, effect / count, same_ids)


def _logits(model: Any, probes: Sequence[Probe]) -> Iterator[Any]:
    """The logits (positions, vocabulary) of each dialogue, in float32."""
    import torch

    for probe in probes:
        with torch.inference_mode():
            ids = torch.tensor([probe.ids], device=model.device)
            yield model(input_ids=ids).logits[0, list(probe.positions)].float()


def _divergence(a: Any, b: Any) -> float:
    """Sum over the positions of KL(a || b), of logits."""
    a, b = a.log_softmax(-1), b.log_softmax(-1)
    return float((a.exp() * (a - b)).sum())
