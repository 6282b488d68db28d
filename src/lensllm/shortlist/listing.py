"""What the hub lists: models by their metadata, the most downloaded first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from typing import Any

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from lensllm.errors import HubAway, InputError
from lensllm.hub_sentences import TOO_MANY, not_let, response_of, status_of, wait_of
from lensllm.shortlist.config import FindConfig
from lensllm.shortlist.listed import Listed
from lensllm.text import counted, shortened, visible

BILLION = 1e9
SECONDS = 10.0
"""To wait for the hub's first answer."""
LONGEST_WAIT = 300.0
"""Seconds that the hub may ask to wait: the length of its own windows of requests."""
EXPANDED: list[Any] = [
    *("author", "config", "createdAt", "disabled", "downloads", "gated", "library_name", "pipeline_tag"),
    *("safetensors", "sha", "tags"),
]
"""What is asked of every model. Sizes and hashes of files are not in lists."""

Watch = Callable[[str, int, int], None]
"""Hears what is done, how much of it, and of how much."""


@dataclass(frozen=True)
class Listing:
    """What was listed.

    Attributes:
        models: each once, the most downloaded first.
        notes: what is to be said of it: a hub that went away midway.
    """

    models: tuple[Listed, ...]
    notes: tuple[str, ...] = ()


def list_hub(config: FindConfig, watch: Watch) -> Listing:
    """List models of the hub by what it can filter itself: purpose, licence, language, gated or not, size.

    The hub takes several tags as all of them, so each licence with each language is asked for by itself.

    Args:
        config: what is looked for.
        watch: hears how many are listed.

    Raises:
        HubAway: if the hub cannot be reached and nothing was listed.
        InputError: if nothing is listed, naming the licence or language that the hub does not know.
    """
    _greet()
    models: dict[str, Listed] = {}
    asked = list(product([f"license:{one.lower()}" for one in config.license] or [""], config.language or [""]))
    empty = set(asked)
    for tags in asked:
        mine, before = [tag for tag in tags if tag], len(models)
        try:
            with _reasons(models):
                for count, info in enumerate(_ask(config, mine), 1):
                    one = Listed.of(info)
                    models.setdefault(one.name, one)
                    watch("listing", before + count, config.limit * len(asked))
                    empty.discard(tags)
        except InputError as error:
            if not models:
                raise
            return Listing(_ordered(models, config), (str(error),))
    if not models:
        raise InputError(_nothing(config))
    notes = [f"the hub lists no model with {' and '.join(filter(None, tags))}" for tags in asked if tags in empty]
    return Listing(_ordered(models, config), tuple(notes))


def _ordered(models: Mapping[str, Listed], config: FindConfig) -> tuple[Listed, ...]:
    return tuple(sorted(models.values(), key=lambda one: -one.downloads)[: config.limit])


def _ask(config: FindConfig, tags: Sequence[str]) -> Iterator[Any]:
    most = config.most_parameters
    return iter(
        HfApi().list_models(
            filter=[*tags, "safetensors"],
            pipeline_tag=config.pipeline_tag or None,
            gated=None if config.gated else False,
            num_parameters=f"max:{math.ceil(most / BILLION)}B" if math.isfinite(most) else None,
            sort="downloads",
            limit=config.limit,
            expand=EXPANDED,
        )
    )


def _greet() -> None:
    """Find out at once whether there is a hub: its library tries for half a minute.

    Raises:
        HubAway: if nobody answers.
        InputError: if it will not list models to this user, or asks to wait longer than `LONGEST_WAIT`.
    """
    with _reasons(()):
        address, headers = f"{constants.ENDPOINT}/api/models", build_hf_headers()
        answer = get_session().get(address, params={"limit": 1}, headers=headers, timeout=SECONDS)
        if answer.status_code == TOO_MANY and (wait_of(answer) or 0) <= LONGEST_WAIT:
            return
        hf_raise_for_status(answer)


@contextmanager
def _reasons(listed: Sized) -> Iterator[None]:
    """What goes wrong with a list, as one sentence."""

    def so_far() -> str:
        return f" after {counted(len(listed), 'model')}" if listed else ""

    try:
        yield
    except (ConnectionError, HTTPError) as error:
        status = status_of(error)
        if status is None:
            why = " (HF_HUB_OFFLINE is set)" if constants.is_offline_mode() else ""
            raise HubAway(f"the hub cannot be reached{so_far()}{why}: try again online, or set HF_ENDPOINT") from error
        if status in (401, 403):
            raise InputError(not_let("its list of models", status)) from error
        if status == TOO_MANY:
            seconds = wait_of(response_of(error))
            told = f"in {seconds:.0f} seconds" if seconds is not None else "later"
            raise InputError(
                f"the hub lists no more models{so_far()}: too much was asked of it (HTTP {status}); try again {told}"
            ) from error
        raise InputError(f"the hub does not list its models{so_far()}: HTTP {status}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        said = shortened(visible(" ".join(str(error).split())), 100)
        raise InputError(f"what the hub lists cannot be read{so_far()}: {type(error).__name__}: {said}") from error


def _nothing(config: FindConfig) -> str:
    """That nothing was listed, with the words that the hub does not know and those near them."""
    unknown = []
    try:
        known = HfApi().get_model_tags()
        words = {"license": config.license, "language": config.language, "pipeline_tag": [config.pipeline_tag]}
        for kind, asked in words.items():
            there = [str(one["id"]).removeprefix(f"{kind}:") for one in known[kind]]
            for word in asked:
                if word and word.lower() not in there:
                    near = get_close_matches(word.lower(), there, 3)
                    unknown.append(f"no {kind} {word!r}" + (f" (near it: {', '.join(near)})" if near else ""))
    except Exception:
        unknown = []
    asked_for = [f"{name} {' or '.join(values)}".strip() for name, values in _asked_for(config) if values]
    what = f"the hub knows {' and '.join(unknown)}" if unknown else "the hub lists no model"
    return f"{what}: asked for {', '.join(asked_for)}"


def _asked_for(config: FindConfig) -> list[tuple[str, list[str]]]:
    size = [f"up to {config.max_parameters} parameters"] * bool(config.max_parameters)
    return [("task", [config.pipeline_tag]), ("license", config.license), ("language", config.language), ("", size)]
