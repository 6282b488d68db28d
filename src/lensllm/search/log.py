"""The decisions of a search, with everything that they follow from but the losses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lensllm.errors import InputError
from lensllm.files import write_before_end, write_whole
from lensllm.objectives import Between, Loss, ScoreObjective
from lensllm.search.cost import Budget
from lensllm.search.joining import Joined
from lensllm.search.journal import Entrant
from lensllm.search.orders import Order
from lensllm.search.policy import Decision

FILE_NAME = "decisions.json"
EMPTY, START, END = "[]\n}", "[\n", "\n ]\n}\n"
"""How JSON with an indent of 1 ends whose last field is an empty list, and what stands round lines in it."""
VERSION = 5
"""1: rounds of runs. 2: the first round may hold probes, which are then charged and forecast with. 3: a decision after
every result, taken beside what still ran. 4: what candidates were ranked by, and what a person asked for in between.
5: candidates that were added."""


@dataclass(frozen=True)
class Logged:
    """One decision and what it was taken from.

    Attributes:
        results: keys of the records that came in since the decision before, in the order they did.
        pending: candidates with a run that had not ended.
        count: how many runs could be started.
        decision: what was decided.
        orders: what a person asked for since the decision before, carried out or refused.
        joined: candidates that were added and have been measured as they came since then.
    """

    results: list[str]
    pending: list[str]
    count: int
    decision: Decision
    orders: tuple[Order, ...] = ()
    joined: tuple[Joined, ...] = ()


@dataclass
class DecisionLog:
    """What `decisions.json` holds.

    Attributes:
        candidates: those that could be measured as they came, of the ones that it began with.
        rungs: sizes of the ladder.
        flops: forecast FLOPs of every run, a row a candidate.
        budget: of the search.
        stop_p_best: probability of being best that ends it.
        stop_regret: expected regret that ends it.
        models: of the candidates, where models are tuned in several ways; empty where each is its own.
        probe_flops: forecast FLOPs of each candidate's probe; empty if none was made.
        forecast_version: of the forecast that the first of them was taken with (`lensllm.selectors.FORECAST_VERSION`).
        score: name, unit, floor and ceiling of the score that candidates are ranked by; empty for the loss.
        selector: what forecasts the losses, by name; empty for the default.
        own_selector: whether that was an object of a Python program, which is not kept.
        decisions: in order; the results of the first are the models as they came, and their probes.
    """

    candidates: list[str]
    rungs: list[int]
    flops: list[list[float]]
    budget: Budget
    stop_p_best: float
    stop_regret: float
    probe_flops: list[float] = field(default_factory=list)
    forecast_version: int = 1
    models: list[str] = field(default_factory=list)
    score: dict[str, Any] = field(default_factory=dict)
    selector: str = ""
    own_selector: bool = False
    decisions: list[Logged] = field(default_factory=list)
    _written: int = field(default=0, init=False, repr=False, compare=False)

    @property
    def objective(self) -> Loss | ScoreObjective:
        """What candidates are ranked by."""
        return ScoreObjective(Between(**self.score)) if self.score else Loss()

    @property
    def joined(self) -> list[Joined]:
        """Candidates that were added, in the order they came."""
        return [one for logged in self.decisions for one in logged.joined]

    @property
    def added(self) -> list[Entrant]:
        """The same, as they were let in."""
        return [one.entrant for one in self.joined]

    @property
    def whole_flops(self) -> dict[str, float]:
        """Candidate -> forecast FLOPs of fine-tuning it on all the data, those added included."""
        known = {name: row[-1] for name, row in zip(self.candidates, self.flops, strict=True)}
        return known | {one.entrant.name: one.flops[-1] for one in self.joined}

    def write(self, folder: Path) -> None:
        """Write `decisions.json`, a decision a line: the first time whole, later what is new behind the others."""
        new = ",\n".join(_line(logged) for logged in self.decisions[self._written :])
        if self._written:
            write_before_end(folder / FILE_NAME, f",\n{new}" if new else "", END)
        else:
            budget = {name: getattr(self.budget, name) for name in ("part", "flops", "hours")}
            known = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
            head = json.dumps({"version": VERSION, **known, "budget": budget, "decisions": []}, indent=1)
            write_whole(folder / FILE_NAME, f"{head.removesuffix(EMPTY)}{START}{new}{END}")
        self._written = len(self.decisions)

    @classmethod
    def read(cls, folder: str | Path) -> DecisionLog:
        """The log of an output folder, one of rounds (before version 3) included.

        Raises:
            InputError: if there is none or it is damaged.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise InputError(f"{folder} holds no decisions: give the output folder of a selection made within a budget")
        try:
            told = _loaded(path.read_text())
            if (version := told.pop("version")) > VERSION:
                raise InputError(f"{path} was written by a newer version of lensllm (record {version}): update lensllm")
            decisions = _of_rounds(told) if version < 3 else [_logged(row) for row in told.pop("decisions")]
            return cls(**{**told, "budget": Budget(**told["budget"])}, decisions=decisions)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is damaged ({error}): run the selection again to write it anew") from error


def _line(logged: Logged) -> str:
    orders, joined = ([asdict(one) for one in several] for several in (logged.orders, logged.joined))
    return json.dumps({**vars(logged), "decision": _plain(logged.decision), "orders": orders, "joined": joined})


def _loaded(text: str) -> dict[str, Any]:
    """What is written, without a last line that the machine's end has torn."""
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(text.rpartition("\n")[0].removesuffix(",") + END)


def _of_rounds(fields: dict[str, Any]) -> list[Logged]:
    """A round's decision was taken once all of its runs had ended."""
    count = fields.pop("count")
    return [Logged(r["keys"], [], count, _decision(r["decision"])) for r in fields.pop("rounds")]


def _logged(row: Mapping[str, Any]) -> Logged:
    orders = tuple(Order.from_dict(order) for order in row.get("orders", ()))
    joined = tuple(Joined.from_dict(one) for one in row.get("joined", ()))
    decision = _decision(row["decision"])
    return Logged(list(row["results"]), list(row["pending"]), row["count"], decision, orders, joined)


def _plain(decision: Decision) -> dict[str, Any]:
    """With null for what JSON does not know."""
    return json.loads(json.dumps(asdict(decision)), parse_constant=lambda _: None)


def _decision(fields: Mapping[str, Any]) -> Decision:
    known = {name: value for name, value in fields.items() if value is not None}
    for name in ("runs", "dropped"):
        known[name] = tuple(known[name])
    return Decision(**known)
