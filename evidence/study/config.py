"""What the study runs, and where its tables lie: `evidence/study/study.yaml`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from evidence.study_file import StudyFile
from lensllm.tuning.training_config import TrainingConfig

STUDY = Path(__file__).with_name("study.yaml")
"""The study that every claim about our own curves rests on; its paths are relative to the repository."""


class StudyConfig(StudyFile):
    """Tasks, models and sizes, with tables of probes and bounds."""

    design_tasks: list[str] = Field(description="Tasks that defaults may be chosen on.")
    report_tasks: list[str] = Field(description="Tasks that the chosen defaults are scored on, once.")
    sizes: list[int] = Field(
        min_length=1, description="Numbers of training examples; those a task has not are left out."
    )
    repeated_sizes: list[int] = Field([], description="Sizes measured once more with another subset and order.")
    num_train_epochs: int = Field(TrainingConfig.num_train_epochs, description="Passes over each subset.")
    probes_table: str = Field("", description="CSV table of all probes, made before the runs; none if empty.")
    bounds_table: str = Field("", description="CSV table of the bound's terms, made after the runs; none if empty.")
    bounded_models: list[str] = Field([], description="Candidates that the bound is computed for.")
    bounded_sizes: list[int] = Field([], description="Numbers of training examples that it is computed at.")

    def training_config(self) -> TrainingConfig:
        """How every run is trained and measured."""
        return TrainingConfig(max_test_examples=self.max_test_examples, num_train_epochs=self.num_train_epochs)
