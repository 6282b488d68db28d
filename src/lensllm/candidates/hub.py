"""Models of the Hugging Face hub: downloaded, or known from their small files and the headers of their weights."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import filter_repo_objects

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.card import CARD
from lensllm.candidates.files import (
    ADAPTER,
    CONFIG,
    INDEX,
    LARGEST_JSON,
    TOKENIZER_SETTINGS,
    VOCABULARIES,
    WEIGHTS,
    tokenizer_files,
    weight_files,
)
from lensllm.candidates.headers import Tensor, joined
from lensllm.candidates.hub_errors import reasons
from lensllm.errors import InputError

SMALL = [CONFIG, INDEX, ADAPTER, *TOKENIZER_SETTINGS, *VOCABULARIES]
FETCHED = [*SMALL, "*.safetensors", CARD]
NOT_FETCHED = ["*/*", "consolidated*", "adapter_model*"]
SECONDS = 10.0
"""To wait for the hub's first answer."""
MOST_SHARDS = 256
"""Files of weights; models of 670 billion parameters have 163."""


@dataclass(frozen=True)
class RemoteCandidate(Candidate):
    """A model of the hub whose small files were fetched and whose weights were not: to be checked, not to be run.

    Attributes:
        folder: of the configuration and the tokenizer.
        held: every tensor of its weights by name, from the headers.
        hashes: name of each file that would be read -> its hash, as the hub tells it.
        download_bytes: bytes that are still to be fetched before it can be run.
    """

    held: dict[str, Tensor] = field(default_factory=dict, compare=False)
    hashes: dict[str, str] = field(default_factory=dict, compare=False)
    download_bytes: int = 0

    @property
    def files(self) -> list[str]:
        """Configuration and tokenizer."""
        return [CONFIG, *tokenizer_files(self.folder)]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """As the headers on the hub tell them."""
        return self.held

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the files' hashes: alike for two models of the hub with the same files."""
        told = [f"{name} {value}" for name, value in sorted(self.hashes.items())]
        return hashlib.sha256("\n".join([*told, self.chat_template or ""]).encode()).hexdigest()


def download(name: str, revision: str | None) -> Path:
    """The folder of a model in the Hugging Face cache, all that is read of it fetched.

    Raises:
        InputError: if it cannot be had.
    """
    with reasons(name, revision):
        return Path(snapshot_download(name, revision=revision, allow_patterns=FETCHED, ignore_patterns=NOT_FETCHED))


def ask(name: str, revision: str | None) -> ModelInfo:
    """What the hub tells of a repository: its commit, its files, their sizes and hashes. One request.

    Raises:
        InputError: if it cannot be had.
    """
    with reasons(name, revision):
        return HfApi().model_info(name, revision=revision, timeout=SECONDS, files_metadata=True)


def look_up(model: str, name: str, revision: str | None, info: ModelInfo | None = None) -> Candidate:
    """A model without its weights: configuration and tokenizer are fetched, of the weights only the headers are read.

    One that lies whole in the cache is that of the cache. Requests: one for the repository, two a small file and two
    a file of weights at the most, of which there may be `MOST_SHARDS`.

    Args:
        model: what the user wrote.
        name: of the repository.
        revision: branch, tag or commit.
        info: what `ask` told of it, where it was asked already.

    Raises:
        InputError: if it cannot be had, or has no safetensors weights, or a small file or the number of files is
            larger than any model needs.
    """
    api = HfApi()
    with reasons(name, revision):
        if constants.is_offline_mode():
            return Candidate(model, _cached(name, revision), name, revision)
        info = info or ask(name, revision)
        there = {one.rfilename: one for one in info.siblings or []}
        _check_small(there)
        small = snapshot_download(name, revision=info.sha, allow_patterns=SMALL, ignore_patterns=NOT_FETCHED)
        folder = Path(small)
        weights = weight_files(folder, there)
        if all((folder / file).is_file() for file in weights):
            return Candidate(model, folder, name, revision)
        shards = [file for file in weights if file != INDEX]
        if len(shards) > MOST_SHARDS:
            raise InputError(f"{name} has {len(shards):,} files of weights, which no such model needs")
        with ThreadPoolExecutor() as pool:
            headers = pool.map(lambda file: _header(api, name, str(info.sha), file, there[file].size), shards)
            held = joined(headers)
    files = [CONFIG, *tokenizer_files(folder), *weights]
    hashes = {file: _hash(there[file]) for file in files if file in there}
    missing = sum(there[file].size or 0 for file in weights if not (folder / file).is_file())
    return RemoteCandidate(model, folder, name, revision, held=held, hashes=hashes, download_bytes=missing)


def _check_small(there: dict[str, Any]) -> None:
    """Refuse to fetch what would be refused once it is here."""
    for file in fetched(list(there), SMALL):
        if (there[file].size or 0) > LARGEST_JSON:
            raise InputError(f"{file} has {there[file].size:,} bytes, which no such file needs")


def fetched(names: list[str], patterns: list[str] = FETCHED) -> list[str]:
    """Those of a repository's files that are fetched."""
    return list(filter_repo_objects(names, allow_patterns=patterns, ignore_patterns=NOT_FETCHED))


def _cached(name: str, revision: str | None) -> Path:
    folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    try:
        weight_files(folder)
    except InputError as error:
        raise LocalEntryNotFoundError("no weights") from error
    return folder


def _header(api: HfApi, name: str, commit: str, file: str, size: int | None) -> dict[str, Tensor]:
    """The tensors of a safetensors file, from a range request of its beginning.

    Raises:
        InputError: if the file is shorter or longer than its header tells.
    """
    found = api.parse_safetensors_file_metadata(name, file, revision=commit, timeout=SECONDS).tensors
    data = max((one.data_offsets[1] for one in found.values()), default=0)
    if size is not None and data > size:
        raise InputError(f"{file} has {size:,} bytes and its header tells of {data:,}")
    return {key: Tensor(str(one.dtype), tuple(one.shape)) for key, one in found.items()}


def weight_hashes(info: ModelInfo) -> frozenset[str]:
    """Hashes of the files of weights that would be read, whatever they are called; empty where the hub tells none."""
    there = {one.rfilename: one for one in info.siblings or []}
    held = [name for name in fetched(list(there)) if name.endswith(".safetensors")]
    read = [WEIGHTS] if WEIGHTS in held else held
    return frozenset(_hash(there[name]) for name in read if there[name].lfs or there[name].blob_id)


def _hash(entry: Any) -> str:
    """SHA-256 of what the hub keeps as a large file, or else git's own of the file."""
    return str(entry.lfs.sha256 if entry.lfs else entry.blob_id)
