"""Lets a candidate into a selection that runs, if nothing of what was measured would have to change for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lensllm.candidates import Candidate, admit_candidates, cross
from lensllm.config import SelectConfig, methods_of
from lensllm.errors import InputError
from lensllm.execution.machine import Machine
from lensllm.planning.check import Check
from lensllm.planning.selection_plan import plan_selection, room
from lensllm.scores.scoring import Scoring
from lensllm.search.cost import Budget
from lensllm.search.joining import Admitted
from lensllm.search.journal import Entrant
from lensllm.tasks import Task
from lensllm.tuning.fit import fit_all
from lensllm.tuning.quiet import quiet

AGAIN = "begin a selection with it among the models"


@dataclass(frozen=True)
class Admission:
    """The `lensllm.search.joining.Admit` of a selection.

    Attributes:
        config: of the selection.
        task: as all candidates are measured on it.
        scoring: what is scored; None for nothing.
        machine: what runs are planned for.
        workers: runs at once.
        planned: hears of the plan of who is let in, before it runs.
    """

    config: SelectConfig
    task: Task
    scoring: Scoring | None
    machine: Machine
    workers: int
    planned: Callable[[Check], None] = lambda plan: None

    def __call__(self, model: str, method: str, candidates: Sequence[Candidate]) -> Admitted:
        """Let a model in that is tuned by a method.

        Args:
            model: a folder, a zoo name or a hub id.
            method: one of `lensllm.config.methods_of`; empty for the default.
            candidates: that there are.

        Raises:
            InputError: if it cannot take part, is among them, cannot take all of the task's examples or does not fit.
        """
        candidate, chosen = self._candidate(model, method, candidates)
        notes = (*chosen, *self._checked(candidate))
        plan = plan_selection(
            [candidate], self.task, self.config.training_config(), Budget(), workers=1,
            gpus_per_run=self.config.gpus_per_run, folder=Path(self.config.output_dir), machine=self._room,
            scoring=self.scoring,
        )  # fmt: skip
        if reasons := {**plan.beyond, **dict(plan.refused)}:
            raise InputError(reasons[candidate.name])
        self.planned(plan)
        made = plan.candidates[0]
        entrant = Entrant.of(candidate, made.parameters, made.memory.peak)
        return Admitted(candidate, entrant, plan.at_once.get(candidate.name), notes)

    def _candidate(self, model: str, method: str, candidates: Sequence[Candidate]) -> tuple[Candidate, tuple[str, ...]]:
        """Named as it would have been among the others, and what was chosen for the user."""
        for_all = [one for one in self.config.chat_template if Path(one).is_file()]
        known = {one.model_name_or_path: one.model for one in candidates}
        found = admit_candidates([model], [] if model in known else for_all, known=known).admitted[0]
        lora = self.config.lora()
        ways = methods_of(lora)
        with quiet():
            alone = cross([(found, ways.get(method))], lora)
            chosen = alone.candidates[0].method
            asked = [(found, way) for way in dict.fromkeys([chosen, *(one.method for one in candidates)])]
            made = next(one for one in cross(asked, lora).candidates if one.method == chosen)
        same = [one for one in candidates if (one.fingerprint, one.method) == (made.fingerprint, made.method)]
        if same:
            raise InputError(f"it is among the candidates: {same[0].name}")
        if made.name in [one.name for one in candidates]:
            raise InputError(f"there is another candidate of the name {made.name}: rename the folder")
        return made, alone.notes

    def _checked(self, candidate: Candidate) -> tuple[str, ...]:
        """What is to be said of how it takes the examples."""
        tasks, notes = [self.task], list[str]()
        if self.scoring and self.scoring.kept:
            tasks.append(Task(self.scoring.kept.name, (), (), self.scoring.kept.test))
        for task in tasks:
            with quiet():
                fitted, refused = fit_all(task, [candidate], self.config.training_config())
            if refused:
                raise InputError(refused[candidate.name])
            if fitted.fingerprint != task.fingerprint:
                raise InputError(f"it cannot take all examples that the others are measured on: {AGAIN}")
            notes += [note for note in fitted.notes if note not in task.notes]
        return tuple(notes)

    @property
    def _room(self) -> Machine:
        """The machine with the memory that one of the workers has."""
        device = self.machine.device
        if device.kind != "cpu":
            return self.machine
        each = room(device, math.ceil(self.workers / self.machine.nodes), self.config.gpus_per_run)
        return replace(self.machine, device=replace(device, free=int(each)))
