"""The compiler of Pencil Code's language: brought from npm by one command, checked, and kept in the cache folder.

``python -m graders.pencilcode install``. Two npm packages, MIT licence, by exact version and SHA-512. Node runs nothing
of them: the files that make the compiler become one script, which V8 runs in a locked-in process.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from graders.cache import cache_folder

COMMAND = "python -m graders.pencilcode install"
ENGINE = "mini-racer>=0.14.1,<0.15"


class NotInstalledError(RuntimeError):
    """The engine or the compiler is missing; the message says how to get it."""


class InstallError(RuntimeError):
    """The compiler could not be brought here; the message says why."""


class _Package(NamedTuple):
    name: str
    version: str
    integrity: str  # as npm states it
    folder: str
    files: tuple[str, ...]

    @property
    def tarball(self) -> str:
        """The name that ``npm pack`` gives its file."""
        return f"{self.name}-{self.version}.tgz"


PACKAGES = (
    _Package(
        "iced-coffee-script",
        "108.0.14",
        "sha512-e0CNmz51UGWRa2glPnUMnJM7oKQE81cxeC0WAgCjJDRImv3FDHldZr/Ngkbrgdbf1drGGzYWp+PWeJwXIfHwDw==",
        "package/lib/coffee-script",
        ("helpers", "rewriter", "lexer", "parser", "scope", "nodes", "sourcemap", "iced", "coffee-script"),
    ),
    _Package(
        "iced-runtime",
        "1.0.4",
        "sha512-rgiJXNF6ZgF2Clh/TKUlBDW3q51YPDJUXmxGQXx1b8tbZpVpTn+1RX9q1sjNkujXIIaVxZByQzPHHORg7KV51g==",
        "package/lib",
        ("const", "runtime", "library", "main"),
    ),
)


def compiler_path() -> Path:
    """Where the compiler is kept: a folder named after its version in SIMSTUDENT_CACHE or ~/.cache/simstudent."""
    return cache_folder() / "pencilcode" / f"{PACKAGES[0].name}-{PACKAGES[0].version}.js"


def missing() -> str:
    """What is not here and how to get it; empty when Pencil Code programs can be run."""
    import importlib.util

    words = []
    if importlib.util.find_spec("py_mini_racer") is None:
        words.append(f"the JavaScript engine is not installed: pip install \"{ENGINE}\" (extra 'pencilcode')")
    if not compiler_path().is_file():
        words.append(f"the compiler is not installed at {compiler_path()}: {COMMAND}")
    return "; ".join(words)


def require() -> None:
    """Raises NotInstalledError, which names the step, unless engine and compiler are here."""
    if reason := missing():
        raise NotInstalledError(f"Pencil Code programs cannot be run: {reason}")


def engine_and_compiler() -> list[str]:
    """The folder that holds py_mini_racer and the compiler's file: what a worker is told. Raises NotInstalledError."""
    import importlib.util

    require()
    spec = importlib.util.find_spec("py_mini_racer")
    assert spec is not None
    assert spec.origin is not None
    return [str(Path(spec.origin).parents[1]), str(compiler_path())]


def install(source: Path | None = None) -> Path:
    """Fetch the packages with npm, or take their tarballs from ``source``, check them, keep the compiler.

    A folder ``source`` is for machines without npm or network: run ``npm pack NAME@VERSION`` for each elsewhere.
    Raises InstallError, leaving whatever was there before.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = source if source is not None else _pack(Path(scratch))
        modules: dict[str, str] = {}
        for package in PACKAGES:
            modules |= _modules(package, folder)
    target = compiler_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(_bundle(modules), encoding="utf-8")
    partial.replace(target)
    return target


def _pack(folder: Path) -> Path:
    npm = shutil.which("npm")
    wanted = [f"{package.name}@{package.version}" for package in PACKAGES]
    if npm is None:
        words = " ".join(wanted)
        raise InstallError(f"npm is not installed here; run 'npm pack {words}' elsewhere, then {COMMAND} --from FOLDER")
    command = [npm, "pack", "--ignore-scripts", "--loglevel=error", *wanted]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"npm pack did not work: {error}") from None
    if done.returncode:
        raise InstallError(f"npm pack did not work: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return folder


def _modules(package: _Package, folder: Path) -> dict[str, str]:
    """The source files of a package's modules by name. Raises InstallError when they are not what was published."""
    path = folder / package.tarball
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InstallError(f"{path}: {error.strerror}") from None
    found = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != package.integrity:
        raise InstallError(f"{path}: not what was published: {found}, expected {package.integrity}")
    with tarfile.open(path) as archive:
        texts = {}
        for name in package.files:
            member = archive.extractfile(f"{package.folder}/{name}.js")
            assert member is not None  # by the hash
            texts[name] = member.read().decode("utf-8")
    return texts


def _bundle(modules: dict[str, str]) -> str:
    """One script whose value is the compiler: ``(source) => JavaScript``; it throws a SyntaxError."""
    bodies = ",\n".join(
        f"{json.dumps(name)}: function (exports, module, require) {{\n{text}\n}}" for name, text in modules.items()
    )
    return f"""(function () {{
var bodies = {{
{bodies}
}};
var loaded = {{fs: {{}}, vm: {{}}, path: {{}}}};
function require(name) {{
  name = name === "iced-runtime" ? "main" : name.replace("./", "");
  if (!loaded[name]) {{
    var module = {{exports: {{}}}};
    loaded[name] = module.exports;
    bodies[name].call(module.exports, module.exports, module, require);
    loaded[name] = module.exports;
  }}
  return loaded[name];
}}
var compiler = require("coffee-script");
return function (source) {{ return compiler.compile(source, {{bare: true, runtime: "none"}}); }};
}})()
"""
