"""What to do about a run that failed, by what its record says."""

from __future__ import annotations

from lensllm.records import Record

REMEDIES = (
    (("out of memory", "outofmemory", "alloc"),
     "It needs more memory than there is: tune it with LoRA or QLoRA (--methods lora), take fewer --workers, or a "
     "smaller model."),
    (("no space", "disk"), "Free some space; the same command then tries it again."),
    (("cannot reach", "connection", "timed out"), "Look at the connection; the same command then tries it again."),
    (("worker", "killed", "signal"),
     "Its process was ended from outside, often for the memory it took: take fewer --workers; the same command tries "
     "it again."),
)  # fmt: skip
"""Words of an error, in lower case, and what helps."""
DIVERGED = "Its loss became infinite at every learning rate tried: give a lower one (--learning-rate) or leave it out."
OTHERWISE = "The same command tries it again; the others go on without it."


def remedy(record: Record) -> str:
    """A sentence on what helps.

    >>> from lensllm.tuning.run import Run
    >>> remedy(Run("a", 50, "diverged", error="the loss is not a number"))[:28]
    'Its loss became infinite at '
    """
    if record.status == "diverged":
        return DIVERGED
    error = record.error.lower()
    return next((said for words, said in REMEDIES if any(word in error for word in words)), OTHERWISE)
