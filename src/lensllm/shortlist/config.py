"""What `find` can be told: the keys are the flags, beside those on how a task is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from pydantic import ConfigDict, Field, field_validator

from lensllm.config import MethodName, SelectConfig, TaskConfig
from lensllm.errors import InputError
from lensllm.text import shortened
from lensllm.tuning.training_config import TrainingConfig

NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e\d{1,2})?)\s*([a-z]*)", re.IGNORECASE)
PARAMETERS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
BYTES = {"": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
LARGEST = 1e18


def parameters_of(text: str) -> float:
    """A number of parameters as people write it.

    Raises:
        InputError: if it is none, or 0.

    >>> parameters_of("3B"), parameters_of("1.5m"), parameters_of("1e9")
    (3000000000.0, 1500000.0, 1000000000.0)
    """
    return _count(text, "max_parameters", PARAMETERS, "3B, 500M or 1e9")


def bytes_of(text: str) -> float:
    """The same of bytes, in powers of ten as downloads are told.

    Raises:
        InputError: if it is none, or 0.

    >>> bytes_of("50GB")
    50000000000.0
    """
    return _count(text, "max_download", BYTES, "50GB or 800MB")


def _count(text: str, name: str, units: Mapping[str, float], such: str) -> float:
    found = NUMBER.fullmatch(text.strip())
    value = float(found[1]) * units.get(found[2].lower(), math.nan) if found else math.nan
    if not 0 < value < LARGEST:
        raise InputError(f"{name} is {shortened(text)!r}: expected a number above 0 such as {such}")
    return value


class FindConfig(TaskConfig):
    """A task, and which models of the hub are looked for."""

    model_config = ConfigDict(title="Models")

    max_parameters: str = Field("", description="The largest model: 3B, 500M, 1e9; by default what fits this machine.")
    license: list[str] = Field([], description="Licences that will do, as on model pages: apache-2.0, mit.")
    language: list[str] = Field([], description="Languages of which a model must name one, as on model pages: it, en.")
    pipeline_tag: str = Field("text-generation", description="What the models are for, as on model pages.")
    gated: bool = Field(False, description="Also models that one has to ask for; you have to be let in already.")
    max_age_days: int | None = Field(None, ge=1, le=100_000, description="Days since a model came to the hub.")
    min_downloads: int = Field(0, ge=0, description="Downloads of the last month, as the hub counts them.")
    min_context: int = Field(0, ge=0, description="Tokens that a model must be able to read at once.")
    limit: int = Field(200, ge=1, le=10_000, description="Models to list, those with the most downloads first.")
    keep: int = Field(12, ge=1, le=1000, description="Places of the shortlist.")
    methods: list[MethodName] = Field(
        [], description="Ways to tune, of which one must fit this machine; by default as select chooses."
    )
    measure: bool = Field(
        True, description="Download what fits and measure its loss; without, nothing but small files is fetched."
    )
    max_download: str = Field(
        "", description="Weights to download, 50GB say; by default nine tenths of what the disk has free."
    )
    max_test_examples: int = Field(50, ge=10, le=1_000_000, description="Test examples that the loss is measured on.")
    output_dir: str = Field("out/find", description="Where the shortlist and its reasons go; run again to resume.")

    @field_validator("max_parameters")
    @classmethod
    def _is_of_parameters(cls, value: str) -> str:
        if value:
            parameters_of(value)
        return value

    @field_validator("max_download")
    @classmethod
    def _is_of_bytes(cls, value: str) -> str:
        if value:
            bytes_of(value)
        return value

    @property
    def most_parameters(self) -> float:
        """Of the largest model; infinite where nothing is said."""
        return parameters_of(self.max_parameters) if self.max_parameters else math.inf

    @property
    def most_bytes(self) -> float:
        """That may be downloaded; infinite where nothing is said."""
        return bytes_of(self.max_download) if self.max_download else math.inf

    def selection(self) -> SelectConfig:
        """The selection whose runs of the models as they came are those made here."""
        shared = {name: getattr(self, name) for name in (*TaskConfig.model_fields, "methods", "max_test_examples")}
        return SelectConfig(**shared)

    def training_config(self) -> TrainingConfig:
        """As that selection's."""
        return self.selection().training_config()
