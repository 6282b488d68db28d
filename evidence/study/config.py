"""What the study runs, and where its tables lie: `evidence/study/study.yaml`."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lensllm.errors import InputError
from lensllm.tuning.training_config import TrainingConfig

STUDY = Path(__file__).with_name("study.yaml")
"""The study that every claim about our own curves rests on; its paths are relative to the repository."""


class StudyConfig(BaseModel):
    """What a study runs; its YAML file holds these keys."""

    model_config = ConfigDict(extra="forbid")

    design_tasks: list[str] = Field(description="Tasks that defaults may be chosen on.")
    report_tasks: list[str] = Field(description="Tasks that the chosen defaults are scored on, once.")
    models: list[str] = Field(min_length=1, description="Candidates.")
    sizes: list[int] = Field(
        min_length=1, description="Numbers of training examples; those a task has not are left out."
    )
    repeated_sizes: list[int] = Field([], description="Sizes measured once more with another subset and order.")
    max_test_examples: int = Field(1000, description="Test examples measured a run.")
    num_train_epochs: int = Field(TrainingConfig.num_train_epochs, description="Passes over each subset.")
    workers: int = Field(2, ge=1, description="Worker processes of one thread.")
    output_dir: str = Field(description="Stores of the runs, one folder a task.")
    table: str = Field(description="CSV table of all runs, written after every run.")
    probes_table: str = Field("", description="CSV table of all probes, made before the runs; none if empty.")
    bounds_table: str = Field("", description="CSV table of the bound's terms, made after the runs; none if empty.")
    bounded_models: list[str] = Field([], description="Candidates that the bound is computed for.")
    bounded_sizes: list[int] = Field([], description="Numbers of training examples that it is computed at.")

    @classmethod
    def read(cls, path: str | Path) -> StudyConfig:
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

    def training_config(self) -> TrainingConfig:
        """How every run is trained and measured."""
        return TrainingConfig(max_test_examples=self.max_test_examples, num_train_epochs=self.num_train_epochs)
