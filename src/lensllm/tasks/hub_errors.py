"""Why a data set of the hub was not read, in one sentence made of what the datasets library says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lensllm.hub_sentences import OR_PRIVATE, gated, no_revision, not_let, status_of
from lensllm.text import listed, shortened, visible

if TYPE_CHECKING:
    from lensllm.tasks.hub_id import HubId

SUBSETS = re.compile(r"(?:configs|Available|cache): \[?(.*?)(?:\]| Please|$)")
"""Where the library names the subsets that there are."""


def several(name: str, subsets: Sequence[str]) -> str:
    """What to say where there are several subsets and none is named."""
    return f"{name} has several subsets, name one as {name}:SUBSET: {listed(subsets, 10)}"


def why(wanted: HubId, error: Exception) -> str:
    """Why the data set was not read.

    Args:
        wanted: what the user wrote.
        error: of the datasets library.
    """
    name, text, status = wanted.name, " ".join(str(error).split()), status_of(error)
    if "Config name is missing" in text or "There are multiple" in text:
        return several(name, _subsets(text))
    if text.startswith("BuilderConfig "):
        return f"{name} has no subset {wanted.subset!r}: its subsets are {listed(_subsets(text), 10)}"
    if "Couldn't find cache for" in text:
        return (
            f"{name} cannot be had from the hub, and the local cache has no subset {wanted.subset!r} of it: "
            f"its subsets there are {listed(_subsets(text), 10)}"
        )
    if "is a gated dataset" in text:
        return gated(name, "datasets")
    if text.startswith("Revision "):
        return no_revision(name, wanted.revision)
    if "doesn't exist on the Hub" in text:
        return f"{name} is no file here and no data set of the hub that is open to you: {OR_PRIVATE}"
    if status in (401, 403):
        return not_let(name, status)
    if isinstance(error, ConnectionError) or "LocalEntryNotFoundError" in text:
        reached = "cannot be reached" if status is None else f"does not give it (HTTP {status})"
        return (
            f"{name} is no file here, and as a data set it is not in the local cache and the hub {reached}: "
            "mend the path, or try again online"
        )
    if "scripts are no longer supported" in text:
        return f"{name} is made by Python code, which is not run: give one that holds data files"
    what = " ".join(str(error.__cause__ or error).split())
    return f"the data set {wanted.source} cannot be read: {shortened(visible(what), 200)}"


def _subsets(text: str) -> list[str]:
    named = SUBSETS.search(text)
    return [subset.strip(" '\"") for subset in named[1].split(",")] if named else []
