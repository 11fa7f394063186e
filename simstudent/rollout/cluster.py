"""Rollouts over a Ray cluster: as many shards as actors, each an engine and a grader pool of its own; then the merge.

Run folder, data and model are found at the same paths on all nodes (a shared file system), and each shard writes its
own folder there. An actor that dies takes nothing with it but the rollouts under way: another goes on with its shard.
In the end all shards are joined in one folder and theirs removed, so that nothing depends on how many there were.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from simstudent.errors import SimstudentError, missing_extra
from simstudent.recipe import Recipe, recipe_from_dict
from simstudent.rollout.folder import made_together, newest_begun
from simstudent.rollout.merge import merge
from simstudent.rollout.methods import BASE
from simstudent.rollout.opening import encoder_of
from simstudent.rollout.run import run_rollouts
from simstudent.runs import create_run, now

ATTEMPTS = 3
"""How many actors a shard may use up: what kills three of them would kill the fourth."""


class Worker:
    """What runs on a node: one shard at a time. Ray makes an actor of it."""

    def roll_out(self, raw: dict[str, Any], run: str, shard: tuple[int, int], more: dict[str, str], begun: str) -> str:
        """Roll out what is not done yet of a shard, and return its folder."""
        adapters = {name: Path(path) for name, path in more.items()}
        recipe, root = recipe_from_dict(raw), Path(run).parent
        return str(run_rollouts(recipe, Path(run), root=root, more=adapters, shard=shard, begun=begun))


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
    this machine alone. ``actors``: by default one for every ``rollout.gpus`` GPUs of the cluster. ``resume`` goes on
    with the newest rollouts of the run, whoever made them: finished ones are kept, failed and missing ones are divided
    among the actors. Raises SimstudentError when a shard fails for a reason that the user can mend, or uses up ATTEMPTS
    actors.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray", "ray") from error
    if run is None and resume:
        raise SimstudentError("nothing to resume without a run folder: name it with --run")
    if run is None:
        run = create_run(root, recipe, {"trained": False})
        if recipe.rollout.engine != "openai" and {*BASE} & {*recipe.rollout.methods}:
            encoder_of(recipe, run)  # settles the template once, for all shards
    begun = newest_begun(run) if resume else now()
    ray.init(address=address, ignore_reinit_error=True, logging_level="ERROR", log_to_driver=True)
    try:
        folder = _all_shards(recipe, run.resolve(), actors, more or {}, begun, say)
    finally:
        ray.shutdown()
    to = folder.with_name(re.sub(r"-actor\d+of\d+", "", folder.name))
    folders = made_together(run, begun)
    merge(folders, to, partial=True, say=say)
    for folder in folders:
        if folder.name != to.name:
            shutil.rmtree(folder)
    return to


def _all_shards(
    recipe: Recipe, run: Path, actors: int | None, more: Mapping[str, Path], begun: str, say: Callable[[str], None]
) -> Path:
    """The folder of some shard, once all are done."""
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

    def begin(number: int) -> None:
        used[number] += 1
        actor = kind.remote()
        under_way[actor.roll_out.remote(raw, str(run), (number, count), adapters, begun)] = number, actor

    for number in used:
        begin(number)
    while under_way:
        (done, *_), _ = ray.wait(list(under_way), num_returns=1)
        number, actor = under_way.pop(done)
        try:
            folder = Path(ray.get(done))
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
            begin(number)
        finally:
            ray.kill(actor)
    return folder


def _gpus_each(recipe: Recipe) -> int:
    r = recipe.rollout
    return 0 if r.engine == "openai" else r.gpus if isinstance(r.gpus, int) else 1


def _recipe_for_an_actor(recipe: Recipe, gpus: int, cpus: int) -> Recipe:
    """With the GPUs and graders that an actor has; neither changes any result."""
    rollout = recipe.rollout.model_copy(update={"gpus": max(1, gpus)})
    grader = recipe.grader.model_copy(update={"workers": recipe.grader.workers or cpus})
    return recipe.model_copy(update={"rollout": rollout, "grader": grader})
