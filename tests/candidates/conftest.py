from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def copied(model_folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """`copied("gpt", "name")`: a model folder that a test may break."""

    def copied(model: str, name: str = "") -> Path:
        return shutil.copytree(model_folders[model], tmp_path / (name or model))

    return copied


@pytest.fixture
def copied_wide(wide_model_folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """The same for models whose matrices 4 bits can hold."""

    def copied(model: str, name: str = "") -> Path:
        return shutil.copytree(wide_model_folders[model], tmp_path / (name or model))

    return copied


@pytest.fixture
def copy(copied: Callable[..., Path]) -> Path:
    return copied("gpt")
