"""A model that is not on the shortlist, and why."""

from __future__ import annotations

from dataclasses import dataclass

AWAY, REFUSED, UNMEASURED = "the hub did not answer", "refused", "could not be measured"
"""Kinds of reasons that something else is decided by."""


@dataclass(frozen=True)
class Dropped:
    """A model that was dropped.

    Attributes:
        name: as the hub lists it.
        kind: of the reason, in a few words: what is counted.
        reason: the same of this model.
    """

    name: str
    kind: str
    reason: str
