"""``simstudent doctor``: what this machine has, what is missing, and which recipes that stops."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import graders
from graders import pencilcode
from graders.sandbox import WorkerLostError
from simstudent import __version__
from simstudent.cache import cache_folder
from simstudent.errors import SimstudentError
from simstudent.training import unsloth

_REQUIREMENT = re.compile(
    r"""^(?P<name>[\w.-]+)(?:\[[^]]*\])?(?P<versions>[^;]*)(?:;.*extra\s*==\s*['"](?P<extra>[\w-]+))?"""
)
_NOT_FOR_USERS = ("dev",)


def report(recipes: Iterable[Path]) -> Iterator[str]:
    """The lines of the report, as they become known. Nothing heavier than torch is imported, and that only when it is
    installed; no network is used."""
    yield f"simstudent {__version__}, Python {platform.python_version()} ({sys.executable}), {platform.platform()}"
    yield ""
    yield from _isolation()
    yield _pencilcode()
    yield ""
    yield from _gpu()
    yield ""
    yield from _extras()
    yield ""
    yield from _recipes(recipes)
    yield ""
    yield _cache()


def _isolation() -> Iterator[str]:
    try:
        found = graders.isolation()
    except (WorkerLostError, OSError) as error:
        yield f"Graders: no program can be run here: {error}"
        return
    yield f"Graders: {found}"
    least = 2 if sys.platform == "linux" else 1
    if found.level < least:
        yield f"  below level {least}, which grading requires unless allow_unsafe is given"


def _pencilcode() -> str:
    reason = pencilcode.missing()
    return f"Pencil Code: {'not ready: ' + reason if reason else f'ready ({pencilcode.compiler_path().stem})'}"


def _gpu() -> Iterator[str]:
    if importlib.util.find_spec("torch") is None:
        yield "GPU: torch is not installed, so nothing can be trained or generated here (extra 'train')"
        return
    try:
        import torch
    except Exception as error:  # a torch that does not load is what this command is there to find
        yield f"GPU: torch is installed but does not load: {type(error).__name__}: {error}"
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not torch.cuda.is_available():
        yield f"GPU: none that torch {torch.__version__} can use; {cores} CPU cores"
        return
    yield f"GPU: torch {torch.__version__}, CUDA {torch.version.cuda}; {cores} CPU cores"
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        bf16 = "bf16" if device.major >= 8 else "no bf16"
        yield f"  {number}: {device.name}, {device.total_memory / 2**30:.0f} GiB, {bf16}"


def _extras() -> Iterator[str]:
    """Each extra's packages and their versions, by the metadata of the installed simstudent."""
    try:
        requirements = importlib.metadata.requires("simstudent") or []
    except importlib.metadata.PackageNotFoundError:
        yield 'Packages: simstudent itself is not installed; in a clone: pip install -e ".[train]"'
        return
    groups: dict[str, list[tuple[str, str]]] = {}
    for line in requirements:
        match = _REQUIREMENT.match(line)
        if match is not None and match["extra"] not in _NOT_FOR_USERS:
            groups.setdefault(match["extra"] or "", []).append((match["name"], match["versions"].strip(" ()")))
    yield "Packages:"
    for extra, packages in groups.items():
        words = [_package(name, versions) for name, versions in packages]
        lacking = sum(word.endswith("missing") for word in words)
        state = "ok" if not lacking else "not installed" if lacking == len(words) else "incomplete"
        if any("wants" in word for word in words):
            state += ", other versions than tested"
        yield f"  {extra or 'always needed'}: {state} ({', '.join(words)})"
    if "unsloth" in groups:
        reason = unsloth.missing()
        yield f"  backend: unsloth is {'ready' if reason is None else f'not ready: {reason}; {unsloth.INSTALL}'}"


def _package(name: str, wanted: str) -> str:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} missing"
    return f"{name} {version}" if _fits(version, wanted) else f"{name} {version}, wants {wanted}"


def _fits(version: str, wanted: str) -> bool:
    """Whether a version is one of those wanted; True where that cannot be told."""
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
    except ImportError:
        return True
    try:
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def _recipes(paths: Iterable[Path]) -> Iterator[str]:
    from simstudent.recipe import load_recipe
    from simstudent.validate import notes

    found = sorted(paths)
    yield "Recipes:" if found else "Recipes: none in the folder recipes; name some: simstudent doctor my.yaml"
    for path in found:
        try:
            needs = notes(load_recipe(path))
        except SimstudentError as error:
            needs = [line.strip() for line in str(error).split("\n")]
        yield f"  {path}: {'ready' if not needs else 'needs attention'}"
        yield from (f"    {need}" for need in needs)


def _cache() -> str:
    """The cache folder and how much it holds."""
    folder = cache_folder()
    if not folder.is_dir():
        return f"Cache: {folder} (not made yet; SIMSTUDENT_CACHE names another)"
    size = count = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                size, count = size + path.stat().st_size, count + 1
        except OSError:  # removed meanwhile
            continue
    return f"Cache: {folder}, {count} file{'s' * (count != 1)}, {size / 2**20:.1f} MiB (SIMSTUDENT_CACHE names another)"
