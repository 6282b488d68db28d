"""All probes of one candidate: kernel, what is read from it, weight spectra, LogME; no training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from lensllm.candidates import Candidate, Qlora
from lensllm.candidates.load import load_model
from lensllm.errors import InputError
from lensllm.probes.flops import FlopCount, singular_flops, spectrum_flops
from lensllm.probes.kernel import Kernel, kernel
from lensllm.probes.kernel_curve import KernelCurve, kernel_curve
from lensllm.probes.log_me import log_me, prompt_features
from lensllm.probes.record import Probe
from lensllm.probes.spectrum import Spectrum, spectrum
from lensllm.probes.weight_spectrum import linear_weights, weight_spectrum
from lensllm.tasks.encoded import Encoded, collate

FEWEST = 8
TOKENS = 8
PROJECTION = 24
SUBSETS = 4
TIMES = (1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True)
class Measurement:
    """The record, and the kernel with its spectrum and curve that it summarises."""

    probe: Probe
    kernel: Kernel
    spectrum: Spectrum
    curve: KernelCurve


def measure(candidate: Candidate, examples: Sequence[Encoded], seed: int = 0) -> Measurement:
    """Probe a candidate: the kernel over what its method trains, before it is trained.

    Before training the product beside a layer is 0, as its B is, so A has no gradient, and the kernel of a LoRA is

        sum over layers and positions p, q of s^2 <g_p, g'_q> <A a_p, A a'_q>

    with layer inputs a, output gradients g and the scale s. For QLoRA both are those of the base in 4 bits.

    The kernel is the `token` one of at most 8 completion tokens an example, along one random direction, its wide
    layers projected to 24 x 24 dimensions (docs/kernel.md says what that changes); the kernel curve is averaged over
    four divisions of the examples into half to train on, a quarter to stop by and a quarter to score.

    Args:
        candidate: loaded here in float32 and with eager attention. The weights' spectra are of all its weights as they
            were before any quantisation, whatever its method.
        examples: the probe examples, encoded for it.
        seed: that adapters are drawn by.

    Raises:
        InputError: for fewer than 8 examples, a model that cannot be loaded or prepared, and as `kernel`.
    """
    if len(examples) < FEWEST:
        raise InputError(f"{len(examples)} probe examples are too few: the kernel curve needs {FEWEST} or more")
    started = time.perf_counter()
    model = load_model(candidate.unquantised, attn_implementation="eager")
    parameters = sum(p.numel() for p in model.parameters())
    alpha, rate = _heavy_tails(model)
    spectra = sum(singular_flops(tuple(weight.shape)) for _, weight in linear_weights(model))
    if isinstance(candidate.method, Qlora):
        del model
        model = load_model(candidate, attn_implementation="eager")
    model, trained = _prepared(candidate, model, seed)
    batches = [collate(examples)]
    n_bytes = [example.n_bytes for example in examples]
    with FlopCount() as count:
        measured = kernel(model, batches, tokens=TOKENS, projection=PROJECTION)
        curve = kernel_curve(measured, subsets=SUBSETS, n_bytes=n_bytes)
        labels = _nan_unless(lambda: log_me(*prompt_features(model, batches)))
    found = spectrum(measured)
    flops = count.total + spectrum_flops(len(measured.gram)) + spectra
    start, times = float(found.loss(0.0)), list(TIMES)
    probe = Probe(
        candidate=candidate.name,
        examples=len(examples),
        status="done",
        **_curve_fields(curve),
        rows=len(measured.gram),
        kernel_error=measured.standard_error,
        effective_rank=found.effective_rank,
        decay=found.decay,
        alignment=found.alignment,
        trace=found.trace / len(measured.gram),
        squared_residual=start,
        times=times,
        remaining=[float(loss) / start for loss in found.loss(times)],
        pl_alpha=alpha,
        e_tpl_lambda=rate,
        log_me=labels,
        flops=flops,
        seconds=time.perf_counter() - started,
        parameters=parameters,
        trained_parameters=trained,
    )
    return Measurement(probe, measured, found, curve)


def _prepared(candidate: Candidate, model: PreTrainedModel, seed: int) -> tuple[PreTrainedModel, int]:
    """The model with what is trained, and how many parameters that are.

    Every A beside a B that is 0 is then held still: its gradient is 0, and for DoRA it would be formed row by row.
    """
    model = candidate.method.prepare(model, seed)
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    for name, parameter in model.named_parameters():
        if ".lora_A." in name:
            parameter.requires_grad = False
    return model, sum(trained)


def _curve_fields(curve: KernelCurve) -> dict[str, Any]:
    """The kernel curve in nats a byte."""
    assert curve.losses_per_byte is not None
    errors = curve.standard_error * curve.losses_per_byte / curve.losses
    return {
        "zero_shot_probe_loss": float(curve.losses_per_byte[0]),
        "sizes": [int(d) for d in curve.sizes[1:]],
        "losses": [float(loss) for loss in curve.losses_per_byte[1:]],
        "standard_errors": [float(error) for error in errors[1:]],
    }


def _heavy_tails(model: nn.Module) -> tuple[float, float]:
    try:
        found = weight_spectrum(model)
    except InputError:
        return math.nan, math.nan
    return float(found.pl_alpha.mean()), float(found.e_tpl_lambda.mean())


def _nan_unless(probe: Callable[[], float]) -> float:
    try:
        return probe()
    except InputError:
        return math.nan
