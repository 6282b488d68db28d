"""The record of what was measured on one candidate before any training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lensllm.records import Record

PROBE_VERSION = 1
"""Raised whenever a change of the code changes what a probe measures, so that old records are not mistaken for new."""
EXAMPLES = 64
"""Probe examples unless told otherwise."""
NAN = math.nan


@dataclass(frozen=True)
class Probe(Record):
    """One candidate probed on the first examples of a task's nested subsets.

    Attributes:
        examples: number of probe examples N.
        status: done or failed; a failed probe holds no numbers.
        zero_shot_probe_loss: loss of the probe examples before any training, nats a byte.
        sizes: d of the kernel curve, ascending, without 0.
        losses: the kernel curve at these d, nats a byte.
        standard_errors: of the same, over random divisions of the probes.
        rows: completion tokens in the kernel, n.
        kernel_error: standard error of the kernel, relative (`Kernel.standard_error`); NaN where one draw cannot tell.
        effective_rank, decay, alignment: of the kernel's spectrum (`lensllm.probes.spectrum`).
        trace: mean squared gradient norm of a row, the kernel's trace over n.
        squared_residual: F(Theta, 0) = |f_0(X) - y|^2.
        times: training times t, in units of 1 / (eta largest eigenvalue).
        remaining: F(Theta, t) / F(Theta, 0) at these times.
        pl_alpha, e_tpl_lambda: heavy-tail exponents of the weights, mean over the layers; NaN for models too small.
        log_me: log evidence of the labels, nats; NaN where completions are not one of a few labels.
        flops: of everything above, as `lensllm.probes.flops` counts them.
        seconds: wall-clock time of the same, the model's loading included.
        parameters: of the model.
        trained_parameters: those that the kernel is over: the model's, or its adapters'. 0 in records from before.
    """

    kind = "probe"

    zero_shot_probe_loss: float = NAN
    sizes: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    standard_errors: list[float] = field(default_factory=list)
    rows: int = 0
    kernel_error: float = NAN
    effective_rank: float = NAN
    decay: float = NAN
    alignment: float = NAN
    trace: float = NAN
    squared_residual: float = NAN
    times: list[float] = field(default_factory=list)
    remaining: list[float] = field(default_factory=list)
    pl_alpha: float = NAN
    e_tpl_lambda: float = NAN
    log_me: float = NAN
    parameters: int = 0
    trained_parameters: int = 0

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """As `Record.from_dict`; version 0.1 called the probe loss `zero_shot`."""
        known = dict(fields)
        if "zero_shot" in known:
            known["zero_shot_probe_loss"] = known.pop("zero_shot")
        return super().from_dict(known)

    def features(self) -> dict[str, float]:
        """The probe as features x_i of a candidate, by the column names that selectors look for.

        `kernel_8` is the kernel curve at d = 8, `kernel_8_se` its standard error, `remaining_10` F(10) / F(0).
        """
        named = {"zero_shot_probe_loss": self.zero_shot_probe_loss}
        for d, loss, spread in zip(self.sizes, self.losses, self.standard_errors, strict=True):
            named |= {f"kernel_{d}": loss, f"kernel_{d}_se": spread}
        named |= {f"remaining_{t:g}": share for t, share in zip(self.times, self.remaining, strict=True)}
        alone = ("effective_rank", "decay", "alignment", "trace", "squared_residual")
        return named | {name: getattr(self, name) for name in (*alone, "pl_alpha", "e_tpl_lambda", "log_me")}
