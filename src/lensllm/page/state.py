"""All that the page shows, in types that JSON knows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lensllm.page.controls import controls
from lensllm.page.reasons import Reasons
from lensllm.page.remedies import remedy
from lensllm.page.so_far import SoFar
from lensllm.page.spending import spending
from lensllm.page.table import table
from lensllm.selection import LEVEL, Selection
from lensllm.text import counted, visible

BANDS = 3
"""Candidates whose fan is drawn: more hide each other."""
SAMPLES = 3
"""Answers that are shown of each candidate."""


def state(so_far: SoFar, reasons: Reasons) -> dict[str, Any]:
    """What the page shows."""
    selection, beginning = so_far.selection, so_far.beginning
    made = {
        "status": so_far.status,
        "task": selection.task if selection else beginning.task if beginning else "",
        "target": selection.target_size if selection else beginning.target_size if beginning else 0,
        "sentence": sentence(so_far),
        "detail": detail(so_far),
        "best": _best(selection),
        "curves": _curves(selection),
        "now": [_now(so_far, reasons, one) for one in so_far.running],
        "spending": spending(so_far),
        "table": table(so_far),
        **controls(so_far),
        "failures": _failures(so_far),
        "answers": _answers(so_far),
        "notes": list(selection.notes if selection else beginning.notes if beginning else ()),
    }
    return finite(made)


def finite(value: Any) -> Any:
    """NaN and infinity, which JSON does not know, as null; text on one line each, nothing in it hidden."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return "\n".join(map(visible, value.split("\n"))) if isinstance(value, str) else value


def sentence(so_far: SoFar) -> str:
    """The answer, or what it would be now."""
    selection = so_far.selection
    if so_far.status == "waiting":
        return "The selection has not begun yet: models and data are being read."
    if so_far.status == "failed":
        return f"The selection ended without an answer: {so_far.failed}"
    if selection is None:
        said = f"{so_far.done} of {so_far.expected} so far" if so_far.expected else "nothing so far"
        return f"Every candidate is measured as it came, and then on a few examples: {said}."
    if so_far.status == "ended":
        return selection.sentence
    return f"So far: {selection.sentence.rpartition('; this took')[0]}."


def detail(so_far: SoFar) -> str:
    """One more sentence on how it stands."""
    if so_far.status == "ended" and so_far.selection:
        report = so_far.folder / "report.html"
        return f"It ended: {so_far.selection.stopped}. The report is {report}."
    if so_far.status == "interrupted":
        return "It was interrupted; finished runs are kept, and the same command goes on from here."
    if so_far.status == "failed":
        return "Finished runs are kept; the same command goes on from here."
    if so_far.status == "running":
        return f"It runs; {so_far.done} of {counted(so_far.expected, 'job')} known so far are done."
    return ""


def _best(selection: Selection | None) -> list[dict[str, Any]]:
    """P(best) of every row: of the score where the ranking goes by one."""
    if selection is None:
        return []
    return [{"name": row.candidate, "p": selection.p_best(row)} for row in selection.ranking]


def _curves(selection: Selection | None) -> dict[str, Any]:
    """Measured losses, and the forecast from the last of them to the target, of the best candidates first."""
    if selection is None:
        return {"lines": [], "target": None}
    curves, target = selection.curves, float(selection.target_size)
    forecast = selection.forecast.of(curves.candidates)
    lines = []
    for place, name in enumerate(forecast.ranking):
        k = curves.candidates.index(name)
        seen = np.isfinite(curves.losses[k])
        sizes, losses = curves.sizes[seen], curves.losses[k][seen]
        tuned = sizes > 0
        start = sizes[-1] if tuned.any() else 0.0
        ahead = [at for at, size in enumerate(forecast.sizes) if start < size <= target]
        fan = [forecast.at(forecast.sizes[at]).interval(LEVEL)[k] for at in ahead] if place < BANDS else []
        last = float(losses[-1])
        lines.append(
            {
                "name": name,
                "sizes": sizes[tuned].tolist(),
                "losses": losses[tuned].tolist(),
                "as_it_came": float(losses[0]) if sizes[0] == 0 else None,
                "ahead": [float(start), *(float(forecast.sizes[at]) for at in ahead)],
                "mean": [last, *(float(forecast.means[at, k]) for at in ahead)],
                "low": [last, *(float(low) for low, _ in fan)],
                "high": [last, *(float(high) for _, high in fan)],
            }
        )
    return {"lines": lines, "target": target}


def _now(so_far: SoFar, reasons: Reasons, running: Any) -> dict[str, Any]:
    kinds = {"run": f"{running.examples:,} training examples" if running.examples else "as it came"}
    return {
        "name": running.candidate,
        "what": kinds.get(running.kind, running.kind),
        "at": running.at,
        "why": reasons.of(so_far, running),
    }


def _failures(so_far: SoFar) -> list[dict[str, str]]:
    found = [
        {
            "name": one.candidate,
            "what": f"{one.status} on {counted(one.examples, 'example')}",
            "error": one.error,
            "remedy": remedy(one),
        }
        for one in ((so_far.records or {}).values() if so_far.beginning else ())
        if one.status != "done"
    ]
    if so_far.beginning is None and so_far.selection:
        found = [
            {"name": one.candidate, "what": one.status, "error": one.error, "remedy": remedy(one)}
            for one in so_far.selection.failures
        ]
    refused = so_far.beginning.refused if so_far.beginning else ()
    return found + [{"name": name, "what": "refused", "error": why, "remedy": ""} for name, why in refused]


def _answers(so_far: SoFar) -> list[dict[str, Any]]:
    """Of each candidate the first answers as it came and after its last run, where answers were kept."""
    found = []
    for name, runs in so_far.runs.items():
        kept = {size: run.samples for size, run in runs.items() if run.samples}
        if not kept:
            continue
        first, last = min(kept), max(kept)
        rows = [
            {"prompt": a.prompt, "reference": a.reference, "before": a.completion, "after": b.completion}
            for a, b in zip(kept[first], kept[last], strict=False)
        ]
        found.append({"name": name, "first": first, "last": last, "rows": rows[:SAMPLES]})
    return found
