"""What a person may ask of the search from the page, and what was asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from lensllm.config import MethodName
from lensllm.errors import InputError
from lensllm.page.so_far import SoFar, orders_of
from lensllm.search.orders import Order, asked

FIXED = "The sizes to measure are fixed, so there is nothing to decide while it runs: Ctrl-C stops it."
NOT_YET = "The search can be steered once every candidate was measured as it came."


def controls(so_far: SoFar) -> dict[str, Any]:
    """`orders`, said and waiting ones, and `controls`: which buttons there are, or why there are none."""
    heard = orders_of(so_far.log)
    waiting = asked(so_far.folder, {order.key for order in heard}) if so_far.log and so_far.status == "running" else []
    told = [{"text": order.told, "waits": False} for order in heard]
    told += [{"text": order.told, "waits": True} for order in waiting]
    return {"orders": told, "controls": _controls(so_far, waiting)}


def _controls(so_far: SoFar, waiting: list[Order]) -> dict[str, Any]:
    none: dict[str, Any] = {"stop": False, "add": [], "budget": None, "drop": [], "why_not": ""}
    if so_far.status != "running" or so_far.beginning is None:
        return none
    if so_far.beginning.sizes:
        return none | {"why_not": FIXED}
    ledger = so_far.ledger
    if ledger is None:
        return none | {"why_not": NOT_YET}
    if ledger.stopped or any(order.kind == "stop" for order in waiting):
        return none | {"why_not": "It stops once the running jobs have ended."}
    gone = ledger.dropped | {order.candidate for order in waiting if order.kind == "drop"}
    left = [name for name in ledger.candidates if name not in gone]
    raised = [order.budget for order in waiting if order.kind == "budget"]
    budget = ledger.budget
    unit = "hours" if budget.in_seconds else "FLOPs" if budget.flops is not None else "parts of fine-tuning everything"
    return {
        "stop": True,
        "add": list(get_args(MethodName)),
        "budget": {"now": max([budget.value, *raised]), "unit": unit},
        "drop": left if len(left) > 1 else [],
        "why_not": "",
    }


def order_of(told: Mapping[str, Any], so_far: SoFar) -> Order:
    """The order that the page sent.

    Raises:
        InputError: if there is no such button now, or it cannot be carried out.
    """
    may = controls(so_far)["controls"]
    kind, candidate, budget = told.get("kind"), told.get("candidate", ""), told.get("budget")
    if kind == "stop" and may["stop"]:
        return Order("stop")
    if kind == "drop" and candidate in may["drop"]:
        return Order("drop", candidate)
    if kind == "add" and may["add"]:
        model, method = told.get("model"), told.get("method", "")
        if not isinstance(model, str) or not model.strip():
            raise InputError("Give the model: a folder, a hub id such as org/name, or a name of the zoo.")
        if method not in ("", *may["add"]):
            raise InputError(f"The method is one of {', '.join(may['add'])}.")
        return Order("add", model=model.strip(), method=method)
    if kind == "budget" and may["budget"]:
        if not isinstance(budget, int | float) or not may["budget"]["now"] < budget < math.inf:
            raise InputError(f"The budget can only be raised: give more than {may['budget']['now']:g}.")
        return Order("budget", budget=float(budget))
    raise InputError("This cannot be asked of the search now; the page shows what can.")
