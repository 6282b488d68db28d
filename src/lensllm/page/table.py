"""The table of candidates: loss, score, memory, speed, and which fronts each is on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lensllm.page.so_far import SoFar, orders_of
from lensllm.planning.pareto import front
from lensllm.text import gibibytes
from lensllm.tuning.run import Run


def table(so_far: SoFar) -> dict[str, Any]:
    """A row a candidate, in the order of the ranking; those without a forecast last."""
    selection = so_far.selection
    ranking = selection.ranking if selection else ()
    forecast = {row.candidate: row for row in ranking}
    names = [row.candidate for row in ranking if row.method != "none"]
    names += [name for name in so_far.entrants if name not in names]
    runs, fronts = so_far.runs, _fronts(so_far, names)
    scores = list(dict.fromkeys(name for of in runs.values() for run in of.values() for name in run.scores))
    running = {one.candidate for one in so_far.running}
    rows = []
    for name in names:
        row, last = forecast.get(name), _last(runs.get(name, {}))
        interval = f"{row.interval[0]:.3f} to {row.interval[1]:.3f}" if row else ""
        rows.append(
            {
                "name": name,
                "state": _state(so_far, name, running),
                "p_best": selection.p_best(row) if selection and row else None,
                "forecast": f"{row.forecast:.3f}" if row else "",
                "interval": interval,
                "measured": f"{last.nats_per_byte:.3f} on {last.examples:,}" if last else "",
                "scores": [_score(last, score) for score in scores],
                "memory": _memory(so_far, name),
                "speed": _speed(last),
                "fronts": [kind for kind, of in fronts.items() if name in of],
            }
        )
    return {"scores": scores, "rows": rows}


def _last(runs: Mapping[int, Run]) -> Run | None:
    return runs[max(runs)] if runs else None


def _score(run: Run | None, name: str) -> str:
    found = run.scores.get(name) if run else None
    return found.shown if found else ""


def _state(so_far: SoFar, name: str, running: set[str]) -> str:
    """What is to be known of a candidate, in two words."""
    if any(one.candidate == name and one.kind == "drop" and not one.refused for one in orders_of(so_far.log)):
        return "you dropped it"
    if name in running:
        return "runs now"
    if any(one.candidate == name and one.status != "done" for one in (so_far.records or {}).values()):
        return "failed"
    decision = so_far.log.decisions[-1].decision if so_far.log and so_far.log.decisions else None
    return "no chance so far" if decision and name in decision.dropped else ""


def _bytes(so_far: SoFar, name: str) -> float:
    """Planned for training; of an earlier version's folder weights, gradients and optimizer alone."""
    planned = so_far.entrants[name].memory if name in so_far.entrants else 0
    costs = so_far.selection.costs if so_far.selection else {}
    return float(planned or (costs[name].training_memory or 0.0 if name in costs else 0.0))


def _memory(so_far: SoFar, name: str) -> str:
    count = _bytes(so_far, name)
    return gibibytes(count) if count else ""


def _speed(run: Run | None) -> str:
    """Tokens a second in training."""
    if run is None or run.training_seconds <= 0:
        return ""
    return f"{run.tokens / run.training_seconds:,.0f}"


def _fronts(so_far: SoFar, names: list[str]) -> dict[str, set[str]]:
    """Cost -> the candidates that nothing else beats in both forecast loss and this cost."""
    if so_far.selection is None:
        return {}
    losses = {row.candidate: row.forecast for row in so_far.selection.ranking}
    training, serving = so_far.log.whole_flops if so_far.log else {}, {}
    for name, runs in so_far.runs.items():
        if 0 in runs and runs[0].test_flops:
            serving[name] = runs[0].test_flops
    memory = {name: _bytes(so_far, name) for name in names if _bytes(so_far, name)}
    found = {}
    for kind, costs in (("training", training), ("memory", memory), ("serving", serving)):
        known = [name for name in names if name in costs and math.isfinite(losses.get(name, math.nan))]
        if len(known) > 1:
            best = front([(costs[name], losses[name]) for name in known])
            found[kind] = {name for name, on in zip(known, best, strict=True) if on}
    return found
