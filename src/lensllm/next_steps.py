"""What to do after the answer: train, export, label more examples, take a larger model, or stop."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from lensllm.forecast import Forecast
from lensllm.planning import Cost, Doubling
from lensllm.provenance import CandidateOrigin, Provenance
from lensllm.ranked import Ranked
from lensllm.text import duration

What = Literal["train", "export", "label", "larger", "stop"]
SECONDS_AN_HOUR = 3600.0
LARGER = 1.2
"""Times the parameters from which on a model is called larger."""
LITTLE = 0.005
"""Part of the loss below which a gain is none: about the difference of two seeds on a text."""


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        what: its kind.
        sentence: what it brings and takes.
        command: that does it; empty where none does.
        hours: of computing, at the speed that the runs had; None where that is not known.
        price: of these hours; None where no price an hour was given.
        examples: to be labelled.
        gain: part of the loss that it takes away; None where nothing is forecast.
        gain_interval: 90 % interval of the gain.
        worth_below: price of an example below which labelling pays; None where no value was given.
    """

    what: What
    sentence: str
    command: str = ""
    hours: float | None = None
    price: float | None = None
    examples: int | None = None
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None
    worth_below: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON knows."""
        ends = list(self.gain_interval) if self.gain_interval else None
        return {**asdict(self), "gain_interval": ends}


@dataclass(frozen=True)
class Outlook:
    """What next steps are computed from.

    Attributes:
        row: of the candidate that was chosen.
        ranking: all rows.
        forecast: of the losses on all the data.
        target_size: number of training examples there are.
        costs: of the candidates, where known.
        doubling: what twice the data would bring to the chosen one; None where that is not known.
        origin: of the selection.
    """

    row: Ranked
    ranking: Sequence[Ranked]
    forecast: Forecast
    target_size: int
    costs: Mapping[str, Cost]
    doubling: Doubling | None
    origin: Provenance

    @property
    def steps(self) -> tuple[Step, ...]:
        """What to do, the first thing first."""
        if self.row.method == "none":
            return (self._as_it_is(), *self._larger())
        return (*self._train(), *self._label(), *self._larger())

    def _as_it_is(self) -> Step:
        tuned = [one for one in self.ranking if one.method != "none" and math.isfinite(one.forecast)]
        best = min(tuned, key=lambda one: one.forecast, default=None)
        beside = f", and {best.candidate} is forecast {best.forecast:.3f} after training" if best else ""
        said = f"Stop: {self.row.model} has {self.row.forecast:.3f} nats/byte as it came{beside}."
        return Step("stop", said)

    def _train(self) -> list[Step]:
        folder, name = shlex.quote(self.origin.store), self.row.candidate
        hours = self._hours(name)
        train = f"lensllm train {folder}"
        export = f"lensllm export {folder} --to trl"
        takes = f" ({self._takes(hours)})" if hours is not None else ""
        return [
            Step("train", f"Train it: {train}{takes}.", train, hours, self._price(hours)),
            Step("export", f"Or train it with your own tool: {export}", export, hours, self._price(hours)),
        ]

    def _label(self) -> list[Step]:
        """Twice the data, and from which price of an example on they are not worth it."""
        found, more = self.doubling, self.target_size
        if found is None or not math.isfinite(found.gain):
            return []
        low, high = found.gain_interval
        hours = self._hours(found.candidate)
        price, value = self._price(hours), self.origin.settings.get("value_per_percent")
        likely = f"(90 % interval {low:.1%} to {high:.1%})"
        buys = f"{more:,} more examples would take {found.gain:.1%} off the loss {likely}"
        takes = f", and {self._takes(hours)} more of training" if hours is not None else ""
        interval = (low, high)
        if found.gain < LITTLE:
            said = f"Stop labelling: {buys}, which is less than two seeds differ by."
            return [Step("stop", said, "", hours, price, more, found.gain, interval)]
        below, worth = None, ""
        if isinstance(value, int | float):
            below = (100 * found.gain * value - (price or 0.0)) / more
            least = f"; worth it if an example costs less than {below:.3g}"
            worth = least if below > 0 else "; not worth it at any price of an example"
        said = f"Label more: {buys}{takes}{worth}."
        return [Step("label", said, "", hours, price, more, found.gain, interval, below)]

    def _larger(self) -> list[Step]:
        """The next larger candidate that was measured: what it brings and takes."""
        rows = [one for one in self.ranking if one.method != "none" and one.parameters >= LARGER * self.row.parameters]
        rows = [one for one in rows if math.isfinite(one.forecast) and one.candidate in self.forecast.candidates]
        if not rows or self.row.candidate not in self.forecast.candidates:
            return []
        other = min(rows, key=lambda one: (one.parameters, one.forecast))
        mine, theirs = (self.forecast.candidates.index(one.candidate) for one in (self.row, other))
        samples = self.forecast.samples
        better = float(np.mean(samples[:, theirs] < samples[:, mine]))
        gain, hours = 1 - other.forecast / self.row.forecast, self._hours(other.candidate)
        told = f"{gain:.1%} less" if gain > 0 else f"{-gain:.1%} more"
        takes = f"; training it takes {self._takes(hours)}" if hours is not None else ""
        said = (
            f"The next larger candidate, {other.candidate} ({other.parameters / self.row.parameters:.1f} times the "
            f"parameters), is forecast {other.forecast:.3f}, {told} loss, and is the better of the two with "
            f"probability {better:.0%}{takes}."
        )
        command = f"lensllm train {shlex.quote(self.origin.store)} --candidate {shlex.quote(other.candidate)}"
        return [Step("larger", said, command, hours, self._price(hours), gain=gain)]

    def _hours(self, candidate: str) -> float | None:
        """Of training on all the data, at the speed that the candidate's own runs had."""
        cost = self.costs.get(candidate)
        speed = _speed(next((one for one in self.origin.candidates if one.name == candidate), None))
        return cost.training_flops / speed / SECONDS_AN_HOUR if cost and speed else None

    def _price(self, hours: float | None) -> float | None:
        each = self.origin.settings.get("price_per_hour")
        return hours * each if hours is not None and isinstance(each, int | float) else None

    def _takes(self, hours: float | None) -> str:
        price = self._price(hours)
        money = f", {price:,.2f} at {self.origin.settings['price_per_hour']:g} an hour" if price is not None else ""
        return f"about {duration((hours or 0.0) * SECONDS_AN_HOUR)}{money}"


def _speed(candidate: CandidateOrigin | None) -> float:
    """FLOPs a second of its trainings; 0 where none is known."""
    rungs = [rung for size, rung in candidate.rungs.items() if size] if candidate else []
    seconds = math.fsum(rung.seconds for rung in rungs)
    return math.fsum(rung.flops for rung in rungs) / seconds if seconds > 0 else 0.0
