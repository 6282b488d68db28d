"""Trackers hear of a job through transformers' own callbacks: one tracked run a job, whatever it trains in it."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from lensllm.errors import InputError

Tracker = Literal["trackio", "wandb", "mlflow", "tensorboard"]
NO_NAME = re.compile(r"[^\w.\- ]+")
"""What is not in the name of a run or a number, so that it can be a folder's name and MLflow takes it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracking:
    """Which trackers hear of the runs of a selection.

    Attributes:
        report_to: their names, as `TrainingArguments.report_to` has them.
        group: the selection: W&B's group, the project of trackio, the experiment of MLflow.
        folder: where those that write files put them, unless their own environment says otherwise.
    """

    report_to: tuple[Tracker, ...]
    group: str
    folder: str

    def check_installed(self) -> None:
        """Refuse to begin without a tracker's package.

        Raises:
            InputError: naming it.
        """
        from transformers.integrations import integration_utils

        for name in self.report_to:
            if not getattr(integration_utils, f"is_{name}_available")():
                raise InputError(f"report_to names {name}, which is not installed: pip install {name}, or leave it out")

    def environment(self, run: str, tags: Mapping[str, str]) -> dict[str, str]:
        """What the trackers are told by the environment, where it does not say so already."""
        ours = {
            "WANDB_PROJECT": "lensllm",
            "WANDB_RUN_GROUP": self.group,
            "MLFLOW_EXPERIMENT_NAME": self.group,
            "MLFLOW_TAGS": json.dumps({"lensllm.selection": self.group, **tags}),
            "TENSORBOARD_LOGGING_DIR": str(Path(self.folder, "tensorboard", run)),
        }
        if "MLFLOW_TRACKING_URI" not in os.environ:
            ours |= {"MLFLOW_TRACKING_URI": Path(self.folder, "mlruns").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
        return {name: value for name, value in ours.items() if name not in os.environ}


class TrackedRun:
    """One run as its trackers see it. What they do wrong is told once and changes nothing.

    Args:
        tracking: the trackers.
        name: of the run.
        tags: texts about it, for those that take none in their logs.
    """

    def __init__(self, tracking: Tracking, name: str, tags: Mapping[str, str] | None = None) -> None:
        self._tracking, self._name = tracking, plain(name)
        self._environment = tracking.environment(self._name, tags or {})
        self._trackers: dict[str, Any] = {}
        self._begun, self._before, self._step = False, 0, 0

    def begin(self, args: Any, state: Any, control: Any, model: Any) -> None:
        """A training begins: the first opens the run, later ones go on in it."""
        from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

        self._before = self._step
        if self._begun:
            return
        self._begun = True
        self._said = self._named(args), control
        for name in self._tracking.report_to:
            with self._told(name):
                self._trackers[name] = INTEGRATION_TO_CALLBACK[name]()
        self._each(lambda tracker: tracker.on_train_begin(self._said[0], state, control, model=model))

    def log(self, state: Any, logs: Mapping[str, Any]) -> None:
        """Numbers of a step, counted on over all trainings of the job."""
        state = copy(state)
        state.global_step = self._step = self._before + state.global_step
        self._each(lambda tracker: tracker.on_log(*self._argued(state), logs=dict(logs)))

    def end(self, logs: Mapping[str, Any], model: Any = None) -> None:
        """Log what came of it and close the run.

        Args:
            logs: numbers, and texts for those that take them.
            model: that was measured; None where there is none.
        """
        from transformers import TrainerControl, TrainerState, TrainingArguments

        state = TrainerState()
        if not self._begun:
            with TemporaryDirectory() as unused:
                args = TrainingArguments(output_dir=unused, report_to=[])
            self.begin(args, state, TrainerControl(), model)
        self._before = 0
        state.global_step = self._step
        self.log(state, logs)
        self._each(lambda tracker: tracker.on_train_end(*self._argued(state), model=model))
        if "wandb" in self._trackers:
            with self._told("wandb"):
                sys.modules["wandb"].finish()

    def _named(self, args: Any) -> Any:
        named = copy(args)
        named.run_name, named.project = self._name, self._tracking.group
        return named

    def _argued(self, state: Any) -> tuple[Any, Any, Any]:
        return self._said[0], state, self._said[1]

    def _each(self, tell: Callable[[Any], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            with self._told(name):
                tell(tracker)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """What a tracker prints is no result; one that fails hears no more of this run."""
        before = {key: os.environ.get(key) for key in self._environment}
        os.environ.update(self._environment)
        try:
            with redirect_stdout(sys.stderr):
                yield
        except Exception as error:
            self._trackers.pop(name, None)
            first = " ".join(str(error).split())[:200]
            logger.warning("%s does not take %s (%s: %s)", name, self._name, type(error).__name__, first)
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)


def plain(name: str) -> str:
    """A name that every tracker takes: letters, digits, `_`, `.`, `-` and spaces.

    >>> plain("org/model lora r16-400")
    'org_model lora r16-400'
    """
    return NO_NAME.sub("_", name)


def track_decision(tracking: Tracking, sentence: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """A summary run, `decision`: the sentence, and forecast, interval and P(best) of each candidate.

    Args:
        tracking: the trackers.
        sentence: the answer.
        rows: candidate -> name of a number -> number.
    """
    numbers = {f"{plain(candidate)}/{name}": value for candidate, row in rows.items() for name, value in row.items()}
    TrackedRun(tracking, "decision", {"lensllm.decision": sentence}).end({**numbers, "decision": sentence})
