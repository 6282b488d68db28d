"""What is known of a model before its weights are downloaded: hashes of its files, small files, headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lensllm.candidates import Candidate
from lensllm.candidates.check import check
from lensllm.candidates.configuration import first_line
from lensllm.candidates.hub import ask, look_up, weight_hashes
from lensllm.candidates.load import context_length, load_tokenizer
from lensllm.errors import HubAway, HubBusy, InputError
from lensllm.shortlist.dropped import AWAY, REFUSED, Dropped
from lensllm.shortlist.listed import Listed
from lensllm.shortlist.listing import Watch
from lensllm.shortlist.patience import Patience
from lensllm.tuning.quiet import quiet

COMMIT = re.compile(r"[0-9a-f]{40}")
LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Looked:
    """A model that was looked at.

    Attributes:
        listed: as the hub lists it.
        candidate: its configuration, tokenizer and the headers of its weights.
        context: tokens that it can read at once.
    """

    listed: Listed
    candidate: Candidate
    context: int

    @property
    def name(self) -> str:
        """As the hub lists it."""
        return self.listed.name


def without_copies(
    models: Sequence[Listed], patience: Patience, watch: Watch
) -> tuple[list[tuple[Listed, Any]], list[Dropped]]:
    """Each model's weights once: of those with the same files of weights the oldest stands for all.

    One request a model. Files are compared by the SHA-256 that the hub tells, under whatever names they lie.

    Returns:
        The models with what the hub tells of their files, in the order given; and those dropped.
    """
    asked: list[tuple[Listed, Any]] = []
    dropped: list[Dropped] = []
    for i, one in enumerate(models):
        watch(f"files of {one.name}", i, len(models))
        try:
            asked.append((one, patience.ask(lambda one=one: ask(one.name, one.commit or None))))  # type: ignore[misc]
        except Exception as error:
            dropped.append(not_looked_at(one.name, error))
    first: dict[frozenset[str], Listed] = {}
    for one, info in sorted(asked, key=lambda pair: pair[0].created or LAST):
        if hashes := weight_hashes(info):
            first.setdefault(hashes, one)
    left = []
    for one, info in asked:
        stands = first.get(weight_hashes(info), one)
        if stands is one:
            left.append((one, info))
        else:
            told = f"its files of weights are those of {stands.name}, which came first and stands for both"
            dropped.append(Dropped(one.name, "same weights", told))
    return left, dropped


def look_at(
    models: Sequence[tuple[Listed, Any]], min_context: int, patience: Patience, watch: Watch
) -> tuple[list[Looked], list[Dropped]]:
    """Read what is small: configuration, tokenizer, headers of the weights; and check it as `select` would.

    Args:
        models: with what the hub tells of their files.
        min_context: tokens that a model must be able to read at once.
        patience: asks.
        watch: hears of it.
    """
    looked: list[Looked] = []
    dropped: list[Dropped] = []
    for i, (one, info) in enumerate(models):
        watch(f"headers of {one.name}", i, len(models))
        try:
            found = _look(one, info, patience.ask)
        except Exception as error:
            dropped.append(not_looked_at(one.name, error))
            continue
        if found.context < min_context:
            told = f"it reads {found.context:,} tokens at once, fewer than {min_context:,}"
            dropped.append(Dropped(one.name, "short context", told))
        else:
            looked.append(found)
    return looked, dropped


def _look(one: Listed, info: Any, ask_hub: Callable[[Callable[[], Candidate]], Candidate]) -> Looked:
    named = pinned(one, info)
    candidate = ask_hub(lambda: look_up(named, one.name, str(info.sha), info))
    check(candidate)
    with quiet():
        return Looked(one, candidate, context_length(candidate, load_tokenizer(candidate)))


def pinned(one: Listed, info: Any) -> str:
    """The model at the commit that was looked at: what is written into a shortlist.

    Raises:
        InputError: if the hub names no commit.
    """
    if not COMMIT.fullmatch(str(info.sha)):
        raise InputError(f"the hub names no commit of {one.name}")
    return f"{one.name}@{info.sha}"


def not_looked_at(name: str, error: Exception) -> Dropped:
    """Why a model could not be used, by what was raised."""
    if isinstance(error, HubAway | HubBusy):
        return Dropped(name, AWAY, str(error))
    if isinstance(error, InputError):
        return Dropped(name, REFUSED, str(error))
    return Dropped(name, REFUSED, f"it cannot be checked: {type(error).__name__}: {first_line(error)}")
