"""What was spent, what may be, and what is left: FLOPs, hours and, with a price, money."""

from __future__ import annotations

import math
from typing import Any

from lensllm.page.so_far import SoFar
from lensllm.search.cost import SECONDS_AN_HOUR
from lensllm.text import duration


def spending(so_far: SoFar) -> dict[str, Any]:
    """Rows of spent, budget and left, as text, and the part of the budget that is spent.

    What is left is an upper bound, since a search ends as soon as it is sure. Where the budget is in FLOPs, hours
    follow from the pace of all runs so far, and the other way round.
    """
    flops, seconds = _spent(so_far)
    ledger, pace = so_far.ledger, flops / seconds if seconds else math.nan
    budget_flops = budget_seconds = part = math.nan
    if ledger is not None:
        amount, spent = ledger.budget.amount(ledger.everything), ledger.spent
        part, rest = min(spent / amount, 1.0), max(amount - spent, 0.0)
        in_seconds = ledger.budget.in_seconds
        budget_flops = flops + rest * pace if in_seconds else amount
        budget_seconds = amount if in_seconds else seconds + rest / pace
    workers = so_far.beginning.workers if so_far.beginning else 1
    rows = [_row("computing, FLOPs", flops, budget_flops, _power)]
    rows.append(_row("computing time" + f" of {workers} workers" * (workers > 1), seconds, budget_seconds, duration))
    if workers > 1:
        rows.append(_row("time on the clock", seconds / workers, budget_seconds / workers, duration))
    price = _price(so_far)
    if price is not None:
        scale = price / workers / SECONDS_AN_HOUR
        rows.append(_row(f"money, at {price:g} an hour", seconds * scale, budget_seconds * scale, "{:,.2f}".format))
    if so_far.status == "ended":
        rows = [{**row, "left": ""} for row in rows]
    return {"rows": rows, "part": None if math.isnan(part) else part}


def _spent(so_far: SoFar) -> tuple[float, float]:
    """FLOPs and seconds of everything."""
    records = list((so_far.records or {}).values())
    if not records and so_far.selection:
        return so_far.selection.flops, so_far.selection.seconds
    return math.fsum(one.flops for one in records), math.fsum(one.seconds for one in records)


def _price(so_far: SoFar) -> float | None:
    if so_far.beginning:
        return so_far.beginning.price_per_hour
    origin = so_far.selection.provenance if so_far.selection else None
    return origin.settings.get("price_per_hour") if origin else None


def _power(count: float) -> str:
    """A large number as tables have it: 2.75e11."""
    return f"{count:.2e}".replace("e+", "e")


def _row(what: str, spent: float, budget: float, written: Any) -> dict[str, str]:
    """A line of the table; nothing where a number is not known."""
    known = math.isfinite(budget)
    left = max(budget - spent, 0.0)
    return {
        "what": what,
        "spent": written(spent) if spent else "nothing yet",
        "budget": written(budget) if known else "",
        "left": ("none" if left == 0 else f"at most {written(left)}") if known else "",
    }
