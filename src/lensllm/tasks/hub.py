"""Data sets of the Hugging Face hub: `org/name`, with a subset and a revision."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensllm.errors import InputError
from lensllm.tasks.hub_errors import several, why
from lensllm.tasks.hub_id import HubId

if TYPE_CHECKING:
    from datasets import DatasetDict

SHORTEST_COMMIT = 7
"""Characters that tell a commit from a name."""


def load_hub(wanted: HubId) -> tuple[DatasetDict, tuple[str, ...]]:
    """The splits of a data set as `datasets.load_dataset` gives them, and a note on the subset and commit.

    These are the steps of `load_dataset`, since what it returns does not say whether it is from the hub or the local
    cache, where it takes any revision. Files alone are read: from version 4 on the library runs no code of a data set.

    Raises:
        InputError: if there is no such data set, subset or revision, it is not open to the user, it is made by code,
            or it is neither within reach nor in the local cache; or if there are several subsets and none is named.
    """
    import datasets

    if Path(wanted.name).is_dir():
        raise InputError(f"{wanted.name} is a folder here, which has no subsets or revisions: give the folder to read")
    with _quiet():
        try:
            builder = datasets.load_dataset_builder(wanted.name, wanted.subset, revision=wanted.revision)
            cached = type(builder).__module__.startswith("datasets.packaged_modules.cache")
            if cached:
                _check_cached(wanted, builder)
            builder.download_and_prepare()
            splits = builder.as_dataset()
        except InputError:
            raise
        except Exception as error:
            raise InputError(why(wanted, error)) from error
    return splits, _notes(wanted, builder, cached)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence bars and warnings of the libraries inside, and give back what was set before."""
    import datasets
    import huggingface_hub.utils as hub

    log = datasets.logging
    verbosity = log.get_verbosity()
    bars = [library for library in (datasets, hub) if not library.are_progress_bars_disabled()]
    log.set_verbosity(log.CRITICAL)
    for library in bars:
        library.disable_progress_bars()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        for library in bars:
            library.enable_progress_bars()


def _check_cached(wanted: HubId, builder: Any) -> None:
    """The library takes what was cached last, whatever its revision and subset.

    Raises:
        InputError: if that is another revision than the one wanted, or there are several subsets and none is named.
    """
    if wanted.revision and not _is_commit_of(wanted, builder.hash):
        raise InputError(
            f"{wanted.name} cannot be had from the hub, and the local cache has commit {builder.hash} of it last, "
            f"which is not known to be {wanted.revision}: go online, or name that commit"
        )
    if wanted.subset is None:
        subsets = _cached_subsets(Path(builder.cache_dir).parents[2])
        if len(subsets) > 1:
            raise InputError(several(wanted.name, subsets))


def _is_commit_of(wanted: HubId, commit: str) -> bool:
    """Whether a revision is the commit, its beginning, or a branch or tag that stood at it when it was fetched."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    revision = wanted.revision or ""
    if len(revision) >= SHORTEST_COMMIT and commit.startswith(revision):
        return True
    folder = repo_folder_name(repo_id=wanted.name, repo_type="dataset")
    reference = Path(constants.HF_HUB_CACHE, folder, "refs", revision)
    return reference.is_file() and reference.read_text().strip() == commit


def _cached_subsets(folder: Path) -> list[str]:
    """Subsets of a data set in the cache: `<subset>/<version>/<commit>/dataset_info.json`."""
    found = set()
    for path in folder.glob("*/*/*/dataset_info.json"):
        subset = path.parents[2].name
        if json.loads(path.read_text(encoding="utf-8")).get("config_name") == subset:
            found.add(subset)
    return sorted(found)


def _notes(wanted: HubId, builder: Any, cached: bool) -> tuple[str, ...]:
    """What was read where the user did not say it, and where it comes from."""
    subset = builder.config.name
    what = [f"subset {subset}"] * (wanted.subset is None and subset != "default")
    what += [f"commit {builder.hash}"] * bool(builder.hash and builder.hash != wanted.revision)
    if cached:
        what.append("from the local cache, as the hub did not give it")
    return (f"{wanted.name}: read: {', '.join(what)}",) if what else ()
