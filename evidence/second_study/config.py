"""What the second study runs: `evidence/second_study/study.yaml`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from evidence.study_file import StudyFile
from lensllm.config import CandidateConfig, SelectConfig

STUDY = Path(__file__).with_name("study.yaml")


def task_name(source: str) -> str:
    """The name of a task in tables, from how the study names it.

    >>> task_name("evidence/second_study/tasks/kind"), task_name("mine/sums.jsonl")
    ('kind', 'sums')
    """
    return Path(source).name.split(".")[0]


class SecondStudy(StudyFile):
    """Tasks with their scores, models x methods, sizes that are measured first, afterwards and again."""

    design_tasks: dict[str, list[str]] = Field(description="Tasks that defaults may be chosen on, and their scores.")
    report_tasks: dict[str, list[str]] = Field(description="Tasks that the defaults are scored on, and their scores.")
    methods: list[dict[str, str | int]] = Field(min_length=1, description="Ways to tune each: keys of a candidate.")
    small_sizes: list[int] = Field(description="Numbers of training examples that are measured first on every task.")
    large_sizes: list[int] = Field([], description="Those measured afterwards; those a task has not are left out.")
    repeated_sizes: list[int] = Field([], description="Sizes measured again with other subsets and orders.")
    repeats: int = Field(2, ge=0, description="How often they are.")
    num_train_epochs: int = Field(SelectConfig.model_fields["num_train_epochs"].default, description="Epochs.")

    @property
    def tasks(self) -> dict[str, list[str]]:
        """All tasks, those of design first, and their scores."""
        return self.design_tasks | self.report_tasks

    def select_config(self, task: str) -> SelectConfig:
        """The settings of `select` for one task: models x methods, scores, training in float32."""
        candidates = [
            CandidateConfig.model_validate({"model": one, **how}) for one in self.models for how in self.methods
        ]
        return SelectConfig.of(
            task=task,
            candidates=candidates,
            score=self.tasks[task],
            max_test_examples=self.max_test_examples,
            num_train_epochs=self.num_train_epochs,
            dtype="float32",
        )
