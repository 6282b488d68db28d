"""Curves that are known to the end, with costs, and the candidates of searches whose runs are made up."""

import numpy as np

from lensllm.curves import Curves

NAMES = ("gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m", "llama-0.2m-austen-1.5m", "t5-0.2m-glosses-1.5m")
RUNGS = 50.0 * 2 ** np.arange(7)


def known_curves(seed, candidates=6, noise=0.003):
    rng = np.random.default_rng(seed)
    b, f, beta, e = (rng.uniform(*ends, (candidates, 1)) for ends in ((8, 20), (2, 8), (0.2, 0.4), (0.3, 0.9)))
    losses = (b / (f + RUNGS**beta) + e) * np.exp(noise * rng.standard_normal((candidates, RUNGS.size)))
    costs = RUNGS * rng.uniform(0.5, 2, (candidates, 1))
    return Curves(tuple(f"m{k}" for k in range(candidates)), RUNGS, losses), costs / costs[:, -1].sum()
