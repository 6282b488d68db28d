"""Data sets of the Hugging Face hub: `org/name`, with a subset and a revision."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lensllm.errors import InputError
from lensllm.text import listed, shortened, visible

if TYPE_CHECKING:
    from datasets import DatasetDict

HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?::(?P<subset>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?")


def is_hub_id(source: str) -> bool:
    """Whether a source is written as a data set of the hub.

    >>> is_hub_id("org/name:subset@main"), is_hub_id("data.jsonl"), is_hub_id("org/data.jsonl")
    (True, False, False)
    """
    from lensllm.tasks.containers import SUFFIXES

    return bool(HUB_ID.fullmatch(source)) and not source.lower().endswith(SUFFIXES)


def load_hub(source: str) -> DatasetDict:
    """A data set by `datasets.load_dataset`, which runs no code of it; from the cache where the hub is out of reach.

    Raises:
        InputError: if there is no such data set or subset, it is not open to the user, or it cannot be reached.
    """
    import datasets
    from datasets.utils.logging import disable_progress_bar

    told = HUB_ID.fullmatch(source)
    assert told is not None
    disable_progress_bar()
    try:
        return datasets.load_dataset(told["name"], told["subset"], revision=told["revision"])
    except Exception as error:
        text = " ".join(str(error).split())
        if "Config name is missing" in text or "BuilderConfig" in text:
            known = re.findall(r"'([\w.-]+)'", text)
            raise InputError(
                f"{source} has several subsets, name one as {told['name']}:SUBSET: {listed(known, 10)}"
            ) from error
        what = shortened(visible(text), 200)
        raise InputError(f"the data set {source} cannot be read from the hub or its cache: {what}") from error
