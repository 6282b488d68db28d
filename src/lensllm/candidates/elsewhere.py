"""A candidate on another machine: by its place in the hub's cache or the zoo, or by the same path, and by its hash."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from lensllm import zoo
from lensllm.candidates.candidate import Candidate
from lensllm.candidates.files import printable
from lensllm.candidates.hub import download
from lensllm.errors import InputError

CACHED = "models--"


@dataclass(frozen=True)
class Sent:
    """What another machine needs to find a candidate again.

    Attributes:
        candidate: as the sender has it, without what it has read of the files.
        fingerprint: SHA-256 of the files.
        hub: name and commit of a model that lies in the sender's hub cache; None for any other.
        in_zoo: whether it is one of the zoo.

    >>> from lensllm.candidates import find_candidate
    >>> sent = Sent.of(find_candidate("gpt2-0.2m-random"))
    >>> sent.in_zoo, sent.hub, found_here(sent).name
    (True, None, 'gpt2-0.2m-random')
    """

    candidate: Candidate
    fingerprint: str
    hub: tuple[str, str] | None = None
    in_zoo: bool = False

    @classmethod
    def of(cls, candidate: Candidate) -> Sent:
        """What has to be sent of a candidate."""
        folder, name = candidate.folder, candidate.model_name_or_path
        place = folder.parent.parent.name
        cached = folder.parent.name == "snapshots" and place.startswith(CACHED)
        hub = (place.removeprefix(CACHED).replace("--", "/"), folder.name) if cached else None
        in_zoo = name in zoo.model_names() and zoo.model_path(name) == folder
        return cls(replace(candidate), candidate.fingerprint, hub, in_zoo)


@lru_cache(maxsize=64)
def found_here(sent: Sent) -> Candidate:
    """The candidate with the folder that it has on this machine, its files compared by their hash.

    A model of the hub is downloaded where the cache lacks it. A process reads the files of each once for this.

    Raises:
        InputError: if this machine has not got it, or has other files in its place.
    """
    folder = _folder(sent)
    here = replace(sent.candidate, folder=folder)
    try:
        fingerprint = here.fingerprint
    except InputError as error:
        raise InputError(f"{printable(str(folder))}: {error}") from error
    if fingerprint != sent.fingerprint:
        raise InputError(f"{printable(str(folder))} holds other files there than where the command runs")
    return here


def _folder(sent: Sent) -> Path:
    candidate = sent.candidate
    if sent.in_zoo:
        return zoo.model_path(candidate.model_name_or_path)
    if sent.hub is not None:
        return download(*sent.hub)
    if not candidate.folder.is_dir():
        raise InputError(
            f"there is no folder {printable(str(candidate.folder))}: lay it on a disk that all nodes have under the "
            "same path, or name the model by its hub id"
        )
    return candidate.folder
