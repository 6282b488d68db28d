"""The YAML file of a study: what the first and the second have in common, and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lensllm.errors import InputError


class StudyFile(BaseModel):
    """What a study runs; its YAML file holds these keys. Paths are relative to the repository."""

    model_config = ConfigDict(extra="forbid")

    models: list[str] = Field(min_length=1, description="Models that are tuned.")
    max_test_examples: int = Field(1000, description="Test examples measured a run.")
    workers: int = Field(2, ge=1, description="Worker processes of one thread.")
    output_dir: str = Field(description="Stores of the runs, one folder a task.")
    table: str = Field(description="CSV table of all runs, written after every run.")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a YAML file.

        Raises:
            InputError: if it is missing, not YAML, or has other keys.
        """
        try:
            return cls(**yaml.safe_load(Path(path).read_text()))
        except OSError as error:
            raise InputError(f"no such study: {path}") from error
        except (yaml.YAMLError, ValidationError, TypeError) as error:
            raise InputError(f"{path} is not a study: {' '.join(str(error).split())}") from error
