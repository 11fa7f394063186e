"""Rollouts over a Ray cluster: as many shards as actors, each an engine and a grader pool of its own; then the merge.

Run folder, data and model are found at the same paths on all nodes (a shared file system), and each shard writes its
own folder there. An actor that dies takes nothing with it but the rollouts under way: another goes on with its shard.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError, missing_extra
from simstudent.recipe import Recipe, recipe_from_dict
from simstudent.rollout.merge import merge
from simstudent.rollout.methods import BASE
from simstudent.rollout.opening import encoder_of
from simstudent.rollout.run import run_rollouts
from simstudent.runs import create_run

ATTEMPTS = 3
"""How many actors a shard may use up: what kills three of them would kill the fourth."""


class Worker:
    """What runs on a node: one shard at a time. Ray makes an actor of it."""

    def roll_out(
        self, raw: dict[str, Any], run: str, shard: tuple[int, int], more: dict[str, str], resume: bool
    ) -> str:
        """Roll out a shard, or with ``resume`` go on with what there is of it, and return its folder."""
        begun = any(Path(run).glob(f"rollouts/*-shard{shard[0]}of{shard[1]}-*/settings.json"))
        adapters = {name: Path(path) for name, path in more.items()}
        root = Path(run).parent
        return str(
            run_rollouts(
                recipe_from_dict(raw), Path(run), root=root, more=adapters, resume=resume and begun, shard=shard
            )
        )


def run_on_ray(
    recipe: Recipe,
    run: Path | None,
    *,
    root: Path,
    actors: int | None = None,
    address: str | None = None,
    more: Mapping[str, Path] | None = None,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """``run_rollouts`` over a Ray cluster; returns the merged folder.

    ``address``: of a running cluster; by default RAY_ADDRESS, one that was started on this machine, or a new one on
    this machine alone. ``actors``: by default one for every ``rollout.gpus`` GPUs of the cluster. Raises
    SimstudentError when a shard fails for a reason that the user can mend, or uses up ATTEMPTS actors.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray", "ray") from error
    if run is None:
        run = create_run(root, recipe, {"trained": False})
        if recipe.rollout.engine != "openai" and {*BASE} & {*recipe.rollout.methods}:
            encoder_of(recipe, run)  # settles the template once, for all shards
    ray.init(address=address, ignore_reinit_error=True, logging_level="ERROR", log_to_driver=True)
    try:
        folders = _all_shards(recipe, run.resolve(), actors, more or {}, resume, say)
    finally:
        ray.shutdown()
    to = folders[0].with_name(re.sub(r"-shard\d+of\d+", "", folders[0].name))
    merge(folders, to, partial=True, say=say)
    return to


def _all_shards(
    recipe: Recipe, run: Path, actors: int | None, more: Mapping[str, Path], resume: bool, say: Callable[[str], None]
) -> list[Path]:
    """The folders of all shards, in order, once the last is done."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    here = ray.cluster_resources()
    each = _gpus_each(recipe) if here.get("GPU") else 0
    count = actors or max(1, int(here.get("GPU", 0)) // max(1, each))
    # No more than the largest node that can hold an actor has: a wish beyond it would wait for ever.
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("GPU", 0) >= each]
    cpus = max(1, min(int(here.get("CPU", 1)) // count, max((int(n.get("CPU", 1)) for n in nodes), default=1)))
    raw = _recipe_for_an_actor(recipe, each, cpus).to_dict()
    kind = ray.remote(Worker).options(num_gpus=each, num_cpus=cpus)
    adapters = {name: str(path.resolve()) for name, path in more.items()}
    say(f"{count} actors over {len(ray.nodes())} node(s), {each} GPUs and {cpus} CPUs each")
    under_way: dict[Any, tuple[int, Any]] = {}
    used = dict.fromkeys(range(1, count + 1), 0)

    def begin(number: int, again: bool) -> None:
        used[number] += 1
        actor = kind.remote()
        under_way[actor.roll_out.remote(raw, str(run), (number, count), adapters, again)] = number, actor

    for number in used:
        begin(number, resume)
    folders: dict[int, Path] = {}
    while under_way:
        (done, *_), _ = ray.wait(list(under_way), num_returns=1)
        number, actor = under_way.pop(done)
        try:
            folders[number] = Path(ray.get(done))
            say(f"Shard {number}/{count} is done")
        except RayTaskError as error:
            if isinstance(error.cause, SimstudentError):
                raise SimstudentError(f"shard {number}/{count}: {error.cause}") from None
            raise
        except RayActorError as error:
            if used[number] == ATTEMPTS:
                raise SimstudentError(
                    f"shard {number}/{count} lost {ATTEMPTS} actors, the last so: {error}. What is done is kept "
                    "(--resume)"
                ) from None
            say(f"Shard {number}/{count}: its actor died; another goes on with it")
            begin(number, True)
        finally:
            ray.kill(actor)
    return [folders[number] for number in sorted(folders)]


def _gpus_each(recipe: Recipe) -> int:
    r = recipe.rollout
    return 0 if r.engine == "openai" else r.gpus if isinstance(r.gpus, int) else 1


def _recipe_for_an_actor(recipe: Recipe, gpus: int, cpus: int) -> Recipe:
    """With the GPUs and graders that an actor has; neither changes any result."""
    rollout = recipe.rollout.model_copy(update={"gpus": max(1, gpus)})
    grader = recipe.grader.model_copy(update={"workers": recipe.grader.workers or cpus})
    return recipe.model_copy(update={"rollout": rollout, "grader": grader})
