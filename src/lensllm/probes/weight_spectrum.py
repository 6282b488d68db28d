"""Heavy-tail exponents of the weight spectra: model quality without data (Yang et al. 2023, arXiv 2202.02842).

The eigenvalues x of W^T W of a layer (squared singular values) are fitted above some x_min by a power law x^-alpha, or
by a power law that ends exponentially, x^-alpha exp(-lambda x). Heavier tails (smaller numbers) go with better models.
Layers count equally.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lensllm.errors import InputError

Floats = NDArray[np.float64]

LEAST_EIGENVALUES = 20
SMALLEST = 1e-5
BINS = 100


@dataclass(frozen=True)
class WeightSpectrum:
    """Fits of every linear layer.

    Attributes:
        layers: their names, L of them.
        pl_alpha: power-law exponent of each, shape (L,).
        e_tpl_lambda: exponential cut-off of each, in 1 / (squared singular value), shape (L,).
    """

    layers: tuple[str, ...]
    pl_alpha: Floats
    e_tpl_lambda: Floats


def weight_spectrum(model: nn.Module) -> WeightSpectrum:
    """Fit all linear layers that have at least 20 eigenvalues above 1e-5; a head tied to the embeddings is left out.

    Raises:
        InputError: if there is no such layer or a weight is not finite.
    """
    names, alphas, lambdas = [], [], []
    for name, tensor in linear_weights(model):
        weight = tensor.detach().double().cpu().numpy()
        if not np.isfinite(weight).all():
            raise InputError(f"the weights of {name} are not finite")
        values = np.square(np.linalg.svd(weight, compute_uv=False))
        values = np.sort(values[values > SMALLEST])
        if len(values) < LEAST_EIGENVALUES:
            continue
        names.append(name)
        alphas.append(power_law(values)[0])
        lambdas.append(truncated_power_law(values)[1])
    if not names:
        raise InputError(f"no linear layer has {LEAST_EIGENVALUES} eigenvalues to fit a tail to")
    return WeightSpectrum(tuple(names), np.array(alphas), np.array(lambdas))


def linear_weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Weights of the linear layers by the layers' names; a head tied to the embeddings is left out."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return [
        (name, module.weight)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and id(module.weight) not in embeddings
    ]


def power_law(values: ArrayLike) -> tuple[float, float]:
    """Exponent and x_min of p(x) ~ x^-alpha, x >= x_min.

    alpha = 1 + n / sum log(x / x_min), the maximum likelihood; x_min is the value with the least Kolmogorov-Smirnov
    distance (Clauset, Shalizi, Newman 2009, arXiv 0706.1062).
    """
    x = np.sort(np.asarray(values, dtype=float))
    best = (np.inf, np.nan, np.nan)
    for start in range(len(x) - 1):
        tail = x[start:]
        total = np.log(tail / tail[0]).sum()
        if total <= 0:
            continue
        alpha = 1 + len(tail) / total
        distance = np.abs(1 - (tail / tail[0]) ** (1 - alpha) - np.arange(len(tail)) / len(tail)).max()
        if distance < best[0]:
            best = (distance, alpha, tail[0])
    return best[1], best[2]


def truncated_power_law(values: ArrayLike) -> tuple[float, float, float]:
    """alpha, lambda and x_min of p(x) ~ x^-alpha exp(-lambda x), x >= x_min, by maximum likelihood.

    x_min is where the histogram of log x over 100 bins peaks, as the E_TPL fit has it.
    """
    x = np.asarray(values, dtype=float)
    counts, edges = np.histogram(np.log10(x), bins=BINS)
    x_min = 10 ** edges[counts.argmax()]
    ratio = x[x >= x_min] / x_min
    log_mean, mean = np.log(ratio).mean(), ratio.mean()

    def cost(parameters: Floats) -> float:
        alpha, rate = parameters[0], np.exp(parameters[1])
        return alpha * log_mean + rate * mean + _log_integral(alpha, rate)

    starts = [(1.5, np.log(0.1 / mean)), (2.5, np.log(1e-3 / mean)), (0.5, np.log(1 / mean))]
    fits = [minimize(cost, start, method="L-BFGS-B", bounds=[(-5, 20), (-25, 10)]) for start in starts]
    best = min(fits, key=lambda fit: fit.fun)
    return float(best.x[0]), float(np.exp(best.x[1]) / x_min), float(x_min)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def _log_integral(alpha: float, rate: float) -> float:
    """log of the integral of u^-alpha exp(-rate u) over u >= 1, by Gauss-Legendre in log u."""
    end = np.log1p(60 / rate)
    s = 0.5 * end * (_NODES + 1)
    exponent = (1 - alpha) * s - rate * np.exp(s)
    peak = exponent.max()
    return float(peak + np.log(0.5 * end * (_WEIGHTS @ np.exp(exponent - peak))))
