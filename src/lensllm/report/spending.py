"""What a selection and the trainings it is about cost: compute, hours, money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from lensllm.selection import Selection
from lensllm.text import duration


@dataclass(frozen=True)
class Spent:
    """A row: what it is, and what it takes.

    Attributes:
        what: in words.
        flops: of it.
        time: in words; empty where the runs have no time.
        money: likewise; empty where no price is known.
    """

    what: str
    flops: float
    time: str
    money: str


@dataclass(frozen=True)
class Spending:
    """The rows, and whether an hour has a price."""

    rows: Sequence[Spent]
    priced: bool

    @classmethod
    def of(cls, selection: Selection) -> Self:
        """That of a selection, of training the one it chose, and of training every candidate on all the data.

        What was not run takes the time of its FLOPs at the mean speed of the runs, or of the candidate's own where
        that is known.
        """
        price = selection.provenance.settings.get("price_per_hour") if selection.provenance else None
        price = float(price) if isinstance(price, int | float) else None
        seconds_a_flop = selection.seconds / selection.flops if selection.flops else 0.0

        def row(what: str, flops: float, seconds: float) -> Spent:
            money = f"{price * seconds / 3600:,.2f}" if price is not None and seconds else ""
            return Spent(what, flops, duration(seconds) if seconds else "", money)

        rows = [row("this selection", selection.flops, selection.seconds)]
        if (cost := selection.costs.get(selection.best)) is not None:
            hours = next((step.hours for step in selection.next_steps if step.what == "train"), None)
            seconds = 3600 * hours if hours is not None else cost.training_flops * seconds_a_flop
            rows.append(row(f"training {selection.best} on all the data", cost.training_flops, seconds))
        everything = selection.flops_everything
        rows.append(row("fine-tuning every candidate on all the data", everything, everything * seconds_a_flop))
        return cls(rows, price is not None)


def facts(selection: Selection, spent: Spending) -> list[tuple[str, str]]:
    """What somebody who did not run it asks first, each with a short answer."""
    row = next(one for one in selection.ranking if one.candidate == selection.best)
    told = [("probability that it is the best", f"{selection.p_best(row):.0%}")]
    low, high = row.interval
    told.append((f"forecast loss, nats a byte (90 % interval {low:.3f} to {high:.3f})", f"{row.forecast:.3f}"))
    if selection.ranked_score and (score := selection.ranked_score.row(row.candidate)):
        low, high = score.interval
        told.insert(
            1, (f"forecast {selection.rank_by} (90 % interval {low:.3f} to {high:.3f})", f"{score.forecast:.3f}")
        )
    told.append(("of the compute of fine-tuning every candidate", f"{selection.flops_fraction:.1%}"))
    if (training := spent.rows[1:-1]) and training[0].time:
        money = f", {training[0].money}" if training[0].money else ""
        told.append(("to train it on all the data", training[0].time + money))
    return told
