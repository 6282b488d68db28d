"""Why a run is made: what the decision that named it was taken from."""

from __future__ import annotations

import math

from lensllm.page.so_far import SoFar
from lensllm.probes.record import Probe
from lensllm.search.journal import Begun
from lensllm.search.ledger import Ledger
from lensllm.search.replay import policy_of
from lensllm.text import counted

FIRST = "Every model is measured as it came, before it is trained."
PROBE = "Its kernel is measured before the first decision, as you asked with --kernel."
FIXED = "The sizes to measure are fixed: every candidate is measured on each of them."
START = "Every candidate starts with the smallest sizes, so that there is something to forecast from."


class Reasons:
    """Sentences on running jobs; each is worked out once.

    Args of `of` are the selection and a job of it that runs.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, float], str] = {}

    def of(self, so_far: SoFar, running: Begun) -> str:
        """Why it runs."""
        if running.kind == Probe.kind:
            return PROBE
        if not running.examples:
            return FIRST
        if so_far.log is None:
            return FIXED
        place = (running.key, running.at)
        if place not in self._known:
            self._known[place] = _decided(so_far, running.candidate)
        return self._known[place]


def _decided(so_far: SoFar, candidate: str) -> str:
    """From the last decision that named the candidate."""
    log, records = so_far.log, so_far.records or {}
    assert log is not None
    at = max((n for n, one in enumerate(log.decisions) if candidate in one.decision.runs), default=-1)
    if at < 0:
        return ""
    ledger = Ledger.of(log)
    for one in log.decisions[: at + 1]:
        ledger.follow(one, [records[key] for key in one.results if key in records])
    decision = log.decisions[at]
    if log.own_selector:
        return f"It was decided by the forecast of {log.selector}, the selector of a Python program."
    worth = policy_of(log).worth(ledger.state(decision.pending))
    if candidate not in worth:
        return START
    unit = "a second" if log.budget.in_seconds else "a FLOP"
    said = f"Of {counted(len(worth), 'run')} that could be made it is expected to take the most regret away {unit}"
    others = {name: value for name, value in worth.items() if name not in decision.decision.runs}
    if not others:
        return f"{said}." if len(worth) > 1 else "It is the one run left that can still change the choice."
    second = max(others, key=lambda name: others[name])
    times = math.exp(min(worth[candidate] - others[second], 20.0))
    return f"{said}: {times:,.1f} times as much as the next, {second}."
