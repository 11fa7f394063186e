"""Shared between tests: the tiny model is made once a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Llama model and a tokenizer; see ``tests.tiny``."""
    return tiny.save_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: Path) -> Path:
    """A folder with a random LoRA adapter for ``tiny_model``."""
    return tiny.save_adapter(tiny_model.parent / "adapter", tiny_model)
