"""Tables of the Hugging Face hub, streamed: one unit a shard, so that several processes share the reading and an import
that was interrupted goes on with the shards it lacks. Nothing is downloaded as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simstudent.data.rows import Place, Unit
from simstudent.errors import SimstudentError


def units(hub: str, config: str | None, splits: Sequence[str] | None, revision: str | None = None) -> list[Unit]:
    """A unit for every shard of the splits (default: all). Its path is the split's name, its start the shard's number.

    Raises SimstudentError, saying what to do, when the table cannot be had.
    """
    found = []
    for split in splits or _splits(hub, config, revision):
        shards = _open(hub, config, split, revision).num_shards
        found += [Unit(Path(split), shard, shard + 1) for shard in range(shards)]
    return found


def rows(
    unit: Unit, hub: str, config: str | None, revision: str | None = None
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """(place, row) for every row of a shard. The row has its split's name as ``split``, where it has no such column."""
    split = unit.path.name
    table = _open(hub, config, split, revision)
    where = f"{hub}, {split}"
    if table.num_shards > 1:
        table = table.shard(table.num_shards, unit.start)
        where += f", shard {unit.start + 1}"
    number = 0
    stream = iter(table)
    while True:
        with _explained(hub, config, split):
            row = next(stream, None)
        if row is None:
            return
        number += 1
        yield f"{where}, row {number}", {"split": split, **row}


def split_of(path: Path) -> str:
    """The split of a file that is named as the hub's files are (``train-00000-of-00001.parquet``), else empty."""
    found = re.match(r"(.+)-\d{5}-of-\d{5}\b", path.name)
    return found[1] if found else ""


def _splits(hub: str, config: str | None, revision: str | None) -> list[str]:
    datasets = _datasets(hub)
    with _explained(hub, config, ""):
        return list(datasets.get_dataset_split_names(hub, config, revision=revision))


def _open(hub: str, config: str | None, split: str, revision: str | None) -> Any:
    """A split as a stream (`datasets.IterableDataset`)."""
    datasets = _datasets(hub)
    with _explained(hub, config, split):
        return datasets.load_dataset(hub, config, split=split, revision=revision, streaming=True)


def _datasets(hub: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise SimstudentError(
            f'data.source.hub: reading {hub} needs the package datasets: pip install "simstudent[train]", '
            "or pip install datasets"
        ) from None
    return datasets


@contextmanager
def _explained(hub: str, config: str | None, split: str) -> Iterator[None]:
    """What keeps a table from being read, as a SimstudentError that says what to do."""
    try:
        yield
    except Exception as error:  # of datasets, the hub's client or the network below it: none of it is ours
        raise SimstudentError(f"data.source.hub: {_what_to_do(hub, config, split, error)}") from error


def _what_to_do(hub: str, config: str | None, split: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    status = getattr(getattr(error, "response", None), "status_code", None)
    if "gated" in text.lower() or status in (401, 403):
        return (
            f"{hub} is gated, and this machine may not read it. Agree to its terms on "
            f"https://huggingface.co/datasets/{hub}, wait until access is granted, and log in here with the same "
            "account: hf auth login"
        )
    if "BuilderConfig" in text or "Config name" in text:
        return f"{hub} has no config {config!r}; set data.source.config ({text})"
    if "Bad split" in text or "Unknown split" in text:
        return f"{hub} has no split {split!r}; set data.source.splits ({text})"
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.startswith("httpx"):
        return (
            f"{hub} cannot be reached ({text:.200}). Connect this machine (and unset HF_HUB_OFFLINE), or download the "
            "table's files elsewhere and name them in data.source.files"
        )
    return f"{hub} cannot be read ({type(error).__name__}: {text:.300}); is that the right name and revision?"
