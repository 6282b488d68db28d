"""Fit the networks of the default forecast to the prior: nothing but simulated pools, seeds fixed."""

from __future__ import annotations

import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from evidence.results import write_numbers
from lensllm.prior import KINDS, Kind, draw_pools
from lensllm.prior.features import COUNT, features_of
from lensllm.prior.kinds import varied
from lensllm.prior.network import DEGREES, FOLDER, HEADS, LAYERS, LEAST_SCALE

RESULT = Path(__file__).with_suffix(".json")
READERS = 2
"""Networks, each fitted to its own reading of the prior: seed 0 as it is written, others moved (`kinds.varied`)."""
STEPS = 10_000
WIDTH, POINTS, HIDDEN, PARTS = 96, 16, 192, 3
TOKENS = 900
"""Candidates a step, in as many pools as that makes."""
MOST_CANDIDATES = 60
SIZES = np.array([5, 9, 12, 12, 10, 8, 5, 4, 3, 2, 2, 2]) / 74
"""Chances of 1, 2, ... 12 measured sizes: people have two to six."""
KIND_KNOWN = 0.6
"""Part of the pools whose kind the network is given."""
RATE = 1.5e-3
COMMON_WEIGHT = 0.3
AVERAGED = 0.999
FURTHEST = 200.0
"""Units of a move, beyond which it is taken for that."""
HELD_OUT, HELD_OUT_SEED = 60, 10_000
EVERY = 500


class Attend(nn.Module):
    """From some to others: attention of four heads and two layers, each after a normalisation and added."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.before, self.after, self.over = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, at: Tensor, over: Tensor) -> Tensor:
        """`at` (B, N, WIDTH) having looked at `over` (B, M, WIDTH)."""
        b, n, _ = at.shape
        q = self.q(self.before(at)).view(b, n, HEADS, -1).transpose(1, 2)
        key, value = (v.view(b, over.shape[1], HEADS, -1).transpose(1, 2) for v in self.kv(self.over(over)).chunk(2, 2))
        found = nn.functional.scaled_dot_product_attention(q, key, value)
        at = at + self.out(found.transpose(1, 2).reshape(b, n, WIDTH))
        return at + self.down(torch.relu(self.up(self.after(at))))


class Net(nn.Module):
    """What `lensllm.prior.network.Network` computes with numpy: a few points gather from all candidates, three times.

    The attention with inducing points of Lee et al. 2019 (Set Transformer): its cost grows with the candidates, not
    with their square.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(COUNT, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.points = nn.ParameterList(nn.Parameter(0.5 * torch.randn(POINTS, WIDTH)) for _ in range(LAYERS))
        self.gather = nn.ModuleList(Attend() for _ in range(LAYERS))
        self.spread = nn.ModuleList(Attend() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.own = nn.Linear(WIDTH, 3 * PARTS)
        self.common = nn.Linear(2 * WIDTH, 2)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Weights, places and scales before they are made positive, (B, K, 9), and the common part's, (B, 2)."""
        at = self.second(torch.relu(self.first(rows)))
        for points, gather, spread in zip(self.points, self.gather, self.spread, strict=True):
            at = spread(at, gather(points.expand(len(rows), -1, -1), at))
        at = self.norm(at)
        return self.own(at), self.common(torch.cat([at.mean(1), at.amax(1)], 1))


def own_loss(out: Tensor, own: Tensor, unit: Tensor) -> Tensor:
    """-log density of own moves, in units of shape (B, K, 1), under mixtures whose log losses' mean is 0, (B, K)."""
    weight, place, scale = out.chunk(3, 2)
    weight = torch.log_softmax(weight, 2)
    middle = ((weight.exp() * place).sum(2, keepdim=True) * unit).mean(1, keepdim=True) / unit
    t = torch.distributions.StudentT(DEGREES, place - middle, _positive(scale))
    return -torch.logsumexp(weight + t.log_prob(own[:, :, None]), 2)


def common_loss(out: Tensor, common: Tensor) -> Tensor:
    """-log density of the mean move of each pool, in mean units, shape (B,)."""
    place, scale = out.unbind(1)
    return -torch.distributions.StudentT(DEGREES, place, _positive(scale)).log_prob(common)


def _positive(values: Tensor) -> Tensor:
    return nn.functional.softplus(values) * 0.5 + LEAST_SCALE


Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def batch(rng: np.random.Generator, kinds: tuple[Kind, ...]) -> Batch:
    """Pools as they are seen, (B, K, COUNT), own moves, (B, K), their units, (B, K, 1), and common moves, (B,)."""
    candidates = int(np.exp(rng.uniform(np.log(2), np.log(MOST_CANDIDATES + 1))))
    sizes = 1 + int(rng.choice(len(SIZES), p=SIZES))
    pools = draw_pools(rng, max(TOKENS // candidates, 15), candidates, sizes, kinds)
    given = np.array([kind.known_as for kind in kinds])[pools.kind]
    kind = np.where(rng.random(len(given)) < KIND_KNOWN, given, -1)
    seen = features_of(pools.x, pools.y, pools.errors, pools.zero_shot, pools.size, pools.adapter, pools.ahead, kind)
    move = pools.truth - seen.last
    common = move.mean(axis=1, keepdims=True)
    own = np.clip((move - common) / seen.unit, -FURTHEST, FURTHEST)
    mean = np.clip(common[:, 0] / seen.unit.mean(axis=1), -FURTHEST, FURTHEST)
    made = (seen.rows, own, seen.unit[:, :, None], mean)
    rows, own, unit, mean = (torch.from_numpy(np.ascontiguousarray(v, dtype=np.float32)) for v in made)
    return rows, own, unit, mean


def fit(seed: int, steps: int, file: Path) -> list[dict[str, float]]:
    """Fit one network, write its weights in 16 bits, and say how likely held-out pools of the written prior are."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng, held = np.random.default_rng(seed), np.random.default_rng(HELD_OUT_SEED)
    kinds = varied(rng) if seed else KINDS
    test = [batch(held, KINDS) for _ in range(HELD_OUT)]
    net, course, start = Net(), [], time.perf_counter()
    averaging = torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGED)
    averaged = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=averaging)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.05)
    for step in range(1, steps + 1):
        rows, own, unit, common = batch(rng, kinds)
        out, pool = net(rows)
        loss = own_loss(out, own, unit).mean() + COMMON_WEIGHT * common_loss(pool, common).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(net)
        if step % EVERY == 0 or step == steps:
            at = {"step": step, "seconds": time.perf_counter() - start, **held_out(averaged, test)}
            print(f"reader {seed}: " + ", ".join(f"{name} {value:.4g}" for name, value in at.items()), flush=True)
            course.append(at)
            weights = {name: value.numpy().astype(np.float16) for name, value in averaged.module.state_dict().items()}
            save_file(weights, file)
    return course


def held_out(net: nn.Module, test: list[Batch]) -> dict[str, float]:
    """Mean -log density of pools that were not fitted, in units."""
    with torch.no_grad():
        made = [(net(rows), *moves) for rows, *moves in test]
    return {
        "own": float(np.mean([float(own_loss(out[0], own, unit).mean()) for out, own, unit, _ in made])),
        "common": float(np.mean([float(common_loss(out[1], common).mean()) for out, _, _, common in made])),
    }


def run(json_file: str | Path | None = None, folder: Path = FOLDER, steps: int = STEPS) -> dict[str, Any]:
    """Fit every reader, each in a process of one thread, and write the networks into `folder`."""
    with get_context("spawn").Pool(READERS) as pool:
        courses = pool.starmap(fit, [(seed, steps, folder / f"{seed}.safetensors") for seed in range(READERS)])
    return write_numbers({"steps": steps, "readers": {str(seed): c for seed, c in enumerate(courses)}}, json_file)
