"""What a selection needs before it is run: every candidate's plan, what it costs altogether, what does not fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lensllm.planning.candidate_plan import CandidatePlan
from lensllm.text import counted, gibibytes, listed

if TYPE_CHECKING:
    from lensllm.tuning.attempts import Attempt


@dataclass(frozen=True)
class Check:
    """A selection, checked and planned.

    Attributes:
        task: its name.
        target_size: number of training examples.
        device: kind of the device that runs are trained on.
        dtype: of products.
        free_bytes: memory that the device has free.
        process_bytes: what a process needs beside its tensors; 0 on a device of its own memory.
        disk_free_bytes: where downloads go.
        workers: processes at once, which share the memory.
        candidates: those that can be measured, whether they fit or not.
        select_hours: of a selection at its budget, on the clock; an estimate.
        everything_hours: of fine-tuning every candidate on all the data in its place.
        price_per_hour: of the machine; None where none was given.
        refused: candidate or model -> why it cannot take part.
        notes: what was chosen, left out or is doubtful.

    >>> made = Check("support", 2000, "cuda:0", "bfloat16", 24 * 2**30, 0, 10**12, 1, (), 1.5, 12.0, price_per_hour=2.0)
    >>> made.price(made.select_hours)
    3.0
    """

    task: str
    target_size: int
    device: str
    dtype: str
    free_bytes: int
    process_bytes: int
    disk_free_bytes: int
    workers: int
    candidates: tuple[CandidatePlan, ...]
    select_hours: float
    everything_hours: float
    price_per_hour: float | None = None
    refused: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def too_large(self) -> list[CandidatePlan]:
        """Candidates that do not fit the device in any way."""
        return [one for one in self.candidates if not one.memory.fits]

    @property
    def none_fits(self) -> str:
        """Why nothing can be run, in a sentence; empty where something can."""
        needs = listed([one.about for one in self.candidates])
        told = f"no candidate fits {self.device}, of which {gibibytes(self.free_bytes)} are free{self._shared}: {needs}"
        return f"{told} (estimates)" if self.beyond and len(self.beyond) == len(self.candidates) else ""

    @property
    def beyond(self) -> dict[str, str]:
        """Candidates that need more than is free, alone and with the least at once -> why they are not begun."""
        needs, free = "with the least at once", f"{gibibytes(self.free_bytes)} of {self.device} are free"
        large = [one for one in self.candidates if one.memory.peak > self.free_bytes and not one.memory.estimated]
        return {
            one.candidate: f"{one.candidate} needs about {gibibytes(one.memory.peak)} {needs}, and {free}"
            for one in large
        }

    @property
    def at_once(self) -> dict[str, Attempt]:
        """What each candidate's training begins with, where its memory was rehearsed."""
        from lensllm.tuning.attempts import Attempt

        return {
            one.candidate: Attempt(one.memory.micro_batch, one.memory.gradient_checkpointing)
            for one in self.candidates
            if not one.memory.estimated
        }

    @property
    def _shared(self) -> str:
        return f", for {counted(self.workers, 'worker')} at once" if self.workers > 1 else ""

    def price(self, hours: float) -> float | None:
        """Of so many hours on the clock."""
        return None if self.price_per_hour is None else self.price_per_hour * hours

    @property
    def sentences(self) -> list[str]:
        """What is to be said beside the table."""
        return [*self._memory(), *self._disk(), *self._time(), *self._scores(), *_doubts(self.candidates)]

    @property
    def lines(self) -> list[str]:
        """A line for each candidate, and the sentences."""
        return [*(_line(one) for one in self.candidates), *(why for _, why in self.refused), *self.sentences]

    def to_dict(self) -> dict[str, Any]:
        """The same in types that JSON knows."""
        told = asdict(self)
        told["candidates"] = [{**one.to_dict(), "price": self.price(one.hours)} for one in self.candidates]
        told["refused"] = [{"model": name, "reason": reason} for name, reason in self.refused]
        prices = {"select_price": self.price(self.select_hours), "everything_price": self.price(self.everything_hours)}
        return {**told, **prices, "sentences": self.sentences}

    def _memory(self) -> list[str]:
        free, process = gibibytes(self.free_bytes), ""
        if self.process_bytes:
            process = f"; beside its tensors a process takes {gibibytes(self.process_bytes)} (measured now)"
        said = [f"Device: {self.device}, {free} free{self._shared}; training in {self.dtype}{process}."]
        if large := self.too_large:
            which = "None of them fits" if len(large) == len(self.candidates) else "Not all of them fit"
            said.append(f"{which}, even with the least at once: {listed([one.about for one in large])}, about.")
        return said

    def _disk(self) -> list[str]:
        download = sum({one.candidate: one.download_bytes for one in self.candidates}.values())
        if not download:
            return []
        short = "" if download <= self.disk_free_bytes else ": that is too little, make room or set HF_HOME elsewhere"
        return [f"To download: {gibibytes(download)}; the disk has {gibibytes(self.disk_free_bytes)} free{short}."]

    def _scores(self) -> list[str]:
        """What the scores take of it."""
        told = [_scoring(one) for one in self.candidates if one.scoring]
        most = "at the most, as answers may end early; part of the hours"
        return [f"Scoring, as it came and after each run: {listed(told, longest=200)}; {most}."] if told else []

    def _time(self) -> list[str]:
        """Hours and money."""

        def told(hours: float) -> str:
            price = self.price(hours)
            return f"{hours:.2g} hours" + (f", {price:,.2f} at {self.price_per_hour:g} an hour" if price else "")

        return [
            f"About {told(self.select_hours)} for the selection, {told(self.everything_hours)} for fine-tuning every "
            f"candidate on all {self.target_size:,} examples (estimates, on the clock)."
        ]


def _scoring(one: CandidatePlan) -> str:
    """What the scores of a run of it take."""
    assert one.scoring is not None
    cost, parts = one.scoring, []
    if cost.written:
        parts.append(f"{counted(cost.written, 'answer')} of up to {counted(cost.most_tokens, 'token')}")
    if cost.compared:
        parts.append(counted(cost.compared, "likelihood"))
    seconds = "" if one.scoring_seconds is None else f", {one.scoring_seconds:.2g} seconds"
    return f"{one.candidate} {' and '.join(parts) or 'nothing'} ({cost.flops:.2g} FLOPs{seconds})"


def _line(plan: CandidatePlan) -> str:
    memory = plan.memory
    how = f"{counted(memory.micro_batch, 'example')} at once" + " and checkpointing" * memory.gradient_checkpointing
    needs = f"needs about {gibibytes(memory.peak)} with {how}"
    return f"{plan.candidate} {needs}, and about {plan.hours:.2g} hours for all the data"


def _doubts(candidates: tuple[CandidatePlan, ...]) -> list[str]:
    """What the numbers are, and what they are not."""
    guessed = [one.candidate for one in candidates if not one.measured_runs]
    said = ["All bytes and hours but those said to be measured are estimates: docs/check.md has how far off they were."]
    if mapped := [one for one in candidates if one.memory.loading > one.memory.peak]:
        most = listed([f"{one.candidate} {gibibytes(one.memory.loading)}" for one in mapped])
        said.append(f"While files are read, their pages not yet taken back, a process is seen to have more: {most}.")
    if guessed:
        said.append(f"Hours from the speed of a bare product, good to a factor of two or three: {listed(guessed)}.")
    thumb = [f"{one.candidate} ({one.memory.estimated})" for one in candidates if one.memory.estimated]
    if thumb:
        said.append(f"Activations by a rule of thumb, as a step could not be rehearsed: {listed(thumb)}.")
    return said
