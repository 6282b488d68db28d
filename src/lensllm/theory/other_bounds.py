"""Two bounds that know nothing of the curvature, for comparison: by counting parameters, and by distance alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from lensllm.tasks.encoded import Encoded
from lensllm.theory.bound import DELTA, example_losses

BITS = 16
SCALES = tuple(2.0**-j for j in range(2, 10))
DRAWS = 2
NOISED_EXAMPLES = 100


def parameter_counting(train_loss: float, largest_loss: float, examples: int, parameters: int) -> float:
    """Lhat + C sqrt((16 P ln 2 + ln(1 / delta)) / (2 n)): Hoeffding's inequality for all models of P 16-bit numbers.

    The zoo's weights are stored with 16 bits; delta = 0.01 as in the other bounds.
    """
    bits = BITS * parameters * math.log(2) + math.log(1 / DELTA)
    return train_loss + largest_loss * math.sqrt(bits / (2 * examples))


def distance_from_initialization(
    tuned: PreTrainedModel, train: Sequence[Encoded], distance: float, largest_loss: float, seed: int = 0
) -> float:
    """PAC-Bayes with one normal of width sigma around the pre-trained and around the tuned weights, lowest over sigma.

    (1 + eps) Lhat(w + sigma z) + C (1 + eps)^2 / (2 eps n) (|v|^2 / (2 sigma^2) + ln(J / delta)), eps at its best
    value as in `Bound.epsilon`, for the model with noise z (McAllester 2013, in Catoni's form). sigma is 2^-2, ...,
    2^-9 times the root mean square of the tuned weights, J = 8 of them, and Lhat the mean over 2 draws of z on the
    first 100 training examples, losses clipped at C.
    """
    weights = list(tuned.parameters())
    total = sum(p.numel() for p in weights)
    rms = math.sqrt(sum(float(p.detach().double().square().sum()) for p in weights) / total)
    generator = torch.Generator().manual_seed(seed)
    few = train[:NOISED_EXAMPLES]
    values = []
    for scale in SCALES:
        sigma = scale * rms
        noisy = []
        for _ in range(DRAWS):
            noise = [sigma * torch.randn(p.shape, generator=generator).to(p.device) for p in weights]
            with torch.no_grad():
                before = [p.clone() for p in weights]
                for p, z in zip(weights, noise, strict=True):
                    p.add_(z)
                losses = example_losses(tuned, few)
                for p, old in zip(weights, before, strict=True):
                    p.copy_(old)
            noisy.append(np.minimum(np.nan_to_num(losses, nan=largest_loss), largest_loss).mean())
        divergence = distance**2 / (2 * sigma**2) + math.log(len(SCALES) / DELTA)
        spread = largest_loss * divergence / (2 * len(train))
        loss = float(np.mean(noisy))
        epsilon = math.sqrt(spread / (loss + spread))
        values.append((1 + epsilon) * loss + (1 + epsilon) ** 2 / epsilon * spread)
    return min(values)
