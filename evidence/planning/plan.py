"""Is `lensllm plan` right? Examples needed, "no amount is enough" and gains of doubling against known answers.

    python -m evidence plan

Three truths. Simulated: 60 pools of 8 rectified laws, drawn from the priors of the fits, measured at 50 to 800 examples
with 0.5 % of noise; 6,400 at hand. Published: the 90 published curves seen up to 1,600, 6,400 or 25,600 examples, with
4 and 16 times as many at hand. Own: the design tasks of the study that are in evidence/study/runs.csv, seen up to
200, 400 and 800; 6,400 at hand, so that what doubling brings is not known. On measured curves
"reached" is reached at the last size that was measured.
Written to evidence/planning/plan.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evidence.accuracy.published import load
from evidence.results import write_numbers
from evidence.study.config import STUDY, StudyConfig
from lensllm.arrays import Floats
from lensllm.curves import Curves
from lensllm.planning import CurveSamples
from lensllm.planning.curve_samples import HORIZON

RESULT = Path(__file__).with_suffix(".json")
POOLS, POOL = 60, 8
AHEAD = (2, 4, 16, 64)
PARTS = (0.98, 0.95, 0.9, 0.8, 0.6, 0.4)
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0001)


@dataclass(frozen=True)
class Case:
    """Curves as seen, examples at hand, the loss and the examples needed in truth, and the largest size known."""

    seen: Curves
    size: float
    loss: Callable[[float], Floats]
    needed: Callable[[Floats], Floats]
    most: float


def simulated(rng: np.random.Generator) -> Iterator[Case]:
    """Pools of rectified laws drawn from the priors of the fits."""
    sizes = np.array([50.0, 100, 200, 400, 800])
    for _ in range(POOLS):
        f = np.exp(rng.normal(2.5, 3.0, POOL)).clip(1e-6, 1e6)
        beta = np.exp(rng.normal(-1.3, 0.6, POOL)).clip(0.03, 1.5)
        share = rng.normal(0.5, 0.35, 20 * POOL)
        floor = share[(share > 0) & (share < 1)][:POOL] * (last := np.exp(rng.normal(0.3, 0.3, POOL)))
        scale = (last - floor) * (f + sizes[-1] ** beta)

        def loss(d: float, f: Floats = f, beta: Floats = beta, floor: Floats = floor, scale: Floats = scale) -> Floats:
            return floor + scale / (f + d**beta)

        def needed(
            x: Floats, f: Floats = f, beta: Floats = beta, floor: Floats = floor, scale: Floats = scale
        ) -> Floats:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                return np.where(x > floor, np.maximum(scale / (x - floor) - f, 0) ** (1 / beta), np.inf)

        noise = np.exp(0.005 * rng.standard_normal((POOL, sizes.size)))
        losses = np.stack([loss(float(size)) for size in sizes], axis=1) * noise
        yield Case(Curves(tuple(f"m{i}" for i in range(POOL)), sizes, losses), 6400, loss, needed, 6400 * 2.0**HORIZON)


def measured(curves: Curves, last: float, size: float) -> Case:
    """A case of measured curves: more data spoil nothing, so the truth is the lowest loss so far."""
    tuned = curves.sizes > 0
    sizes, losses = curves.sizes[tuned], np.minimum.accumulate(curves.losses[:, tuned], axis=1)

    def loss(d: float) -> Floats:
        at = np.flatnonzero(np.isclose(sizes, d))
        return losses[:, at[0]] if at.size else np.full(len(losses), np.nan)

    def needed(x: Floats) -> Floats:
        hit = losses <= x[:, None] * (1 + 1e-12)
        return np.where(hit.any(axis=1), sizes[hit.argmax(axis=1)], np.inf)

    return Case(curves.up_to(last), size, loss, needed, float(sizes[-1]))


def published() -> Iterator[Case]:
    """The published curves, 4 and 16 times as many examples at hand as were seen."""
    for curves in load().values():
        for last in (1600, 6400, 25600):
            yield from (measured(curves, last, last * more) for more in (4, 16))


def own() -> Iterator[Case]:
    """The design tasks that are there, 6,400 examples at hand."""
    study = StudyConfig.read(STUDY)
    if not Path(study.table).is_file():
        return
    runs = pd.read_csv(study.table)
    runs = runs[(runs.status == "done") & (runs.seed == 0) & runs.task.isin(study.design_tasks)]
    for _, rows in runs.groupby("task"):
        curves = Curves.from_tidy(rows.rename(columns={"nats_per_byte": "loss"})[["candidate", "examples", "loss"]])
        whole = curves.of(
            [n for n, row in zip(curves.candidates, curves.losses, strict=True) if np.isfinite(row).all()]
        )
        if 6400 in whole.sizes and len(whole.candidates) > 1:
            yield from (measured(whole, last, 6400) for last in (200, 400, 800))


def score(cases: Iterator[Case]) -> dict[str, Any]:
    """Coverage of intervals and reliability of probabilities over all cases."""
    inside: dict[int, list[bool]] = {ahead: [] for ahead in AHEAD}
    gains: list[bool] = []
    reached: list[tuple[float, bool]] = []
    never: list[tuple[float, bool]] = []
    for case in cases:
        samples = CurveSamples.draw(case.seen, case.size)
        last = float(case.seen.sizes[-1])
        now = case.loss(last)
        for ahead in AHEAD:
            goal = case.loss(last * ahead)
            usable = np.isfinite(goal) & (goal < now * 0.995)
            needed = samples.needed(np.where(usable, goal, 1.0))
            low, high = np.quantile(needed, [0.05, 0.95], axis=0, method="inverted_cdf")
            truth = case.needed(goal)
            inside[ahead] += ((low <= truth) & (truth <= high))[usable].tolist()
        truth = case.loss(2 * case.size) / case.loss(case.size)
        low, high = np.quantile(samples.at(2 * case.size) / samples.at(case.size), [0.05, 0.95], axis=0)
        gains += ((low <= truth) & (truth <= high + 1e-12))[np.isfinite(truth)].tolist()
        for part in PARTS:
            needed, truth = samples.needed(now * part), case.needed(now * part)
            within = min(case.most, 64 * last)
            reached += zip((needed <= within).mean(axis=0).tolist(), (truth <= within).tolist(), strict=True)
            never += zip(np.isinf(needed).mean(axis=0).tolist(), (truth > case.most).tolist(), strict=True)
    result: dict[str, Any] = {
        "coverage_of_90_percent_intervals_of_examples_needed": {
            str(ahead): {"cases": len(hits), "coverage": float(np.mean(hits))} for ahead, hits in inside.items() if hits
        },
        "p_reached_within_64_times_or_the_last_size": reliability(reached),
        "p_never": reliability(never),
    }
    if gains:
        result["coverage_of_90_percent_intervals_of_the_gain_of_doubling"] = {
            "cases": len(gains),
            "coverage": float(np.mean(gains)),
        }
    return result


def reliability(pairs: list[tuple[float, bool]]) -> list[dict[str, float]]:
    """Stated probability against how often it was so, by bins of the first."""
    stated, so = np.array(pairs, dtype=float).T
    bins = np.digitize(stated, BINS) - 1
    return [
        {"stated": float(stated[bins == b].mean()), "was": float(so[bins == b].mean()), "cases": int((bins == b).sum())}
        for b in range(len(BINS) - 1)
        if (bins == b).any()
    ]


def run(json_file: Path = RESULT) -> dict[str, Any]:
    """All three truths."""
    results: dict[str, Any] = {"command": "python -m evidence plan"}
    results["simulated"] = score(simulated(np.random.default_rng(0)))
    for name, cases in (("published", list(published())), ("own", list(own()))):
        if cases:
            results[name] = score(iter(cases))
            del results[name]["p_never"]  # a measured curve ends before anybody knows
    for name in [name for name in results if name != "command"]:
        print(name)
        for kind, value in results[name].items():
            print(" ", kind)
            for row in value.items() if isinstance(value, dict) else value:
                print("   ", row)
    return write_numbers(results, json_file)
