"""A candidate: a pre-trained model and how it is tuned."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from lensllm import zoo
from lensllm.candidates.methods import Full, Method
from lensllm.errors import InputError

SAFE_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.model", "*.txt", "*.jinja"]
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Candidate:
    """A pre-trained model that could be fine-tuned.

    Attributes:
        model_name_or_path: as the user gave it: a folder, a zoo name or a hub id.
        folder: where its configuration, tokenizer and safetensors weights lie on this machine.
        name: how it is called in tables.
        revision: the hub revision asked for, if any.
        method: how it is tuned.

    >>> candidate = find_candidate("t5-0.2m-glosses-1.5m")
    >>> candidate.name, candidate.method.name, candidate.vocabulary, candidate.encoder_decoder
    ('t5-0.2m-glosses-1.5m', 'full', 2048, True)
    """

    model_name_or_path: str
    folder: Path
    name: str
    revision: str | None = None
    method: Method = field(default_factory=Full)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's `config.json`."""
        return json.loads((self.folder / "config.json").read_text())

    @property
    def encoder_decoder(self) -> bool:
        """Whether the prompt is read by an encoder of its own."""
        return bool(self.config.get("is_encoder_decoder"))

    @property
    def vocabulary(self) -> int:
        """Number of its tokens."""
        config = self.config.get("text_config", self.config)
        return int(config.get("vocab_size", 0))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the model's files: two candidates with the same fingerprint give the same results."""
        digest = hashlib.sha256()
        for file in sorted(f for pattern in SAFE_FILES for f in self.folder.glob(pattern)):
            digest.update(file.name.encode())
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        return digest.hexdigest()


def find_candidate(model: str) -> Candidate:
    """The candidate that `model` names: a local folder, a zoo name, or a hub id with an optional `@revision`.

    A hub model is downloaded once into the Hugging Face cache (`HF_HOME` and `HF_HUB_OFFLINE` are honoured);
    only configuration, tokenizer and safetensors files are fetched, so pickled weights are never even opened.

    Raises:
        InputError: if there is no such model, it has no safetensors weights, or it needs code of its own.

    >>> find_candidate("gpt2-0.2m-random").config["model_type"]
    'gpt2'
    >>> find_candidate("gpt3")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    lensllm.errors.InputError: no model 'gpt3': give a folder, a hub id such as org/name, or one of ...
    """
    path = Path(model)
    if path.is_dir():
        candidate = Candidate(model, path.resolve(), path.resolve().name)
    elif model in zoo.model_names():
        candidate = Candidate(model, zoo.model_path(model), model)
    else:
        name, _, revision = model.partition("@")
        if not HUB_ID.fullmatch(name):
            raise InputError(
                f"no model {model!r}: give a folder, a hub id such as org/name, "
                f"or one of {', '.join(zoo.model_names())}"
            )
        candidate = Candidate(model, _download(name, revision or None), name, revision or None)
    _check(candidate)
    return candidate


def find_candidates(models: Sequence[str]) -> list[Candidate]:
    """The candidates in the order given.

    Raises:
        InputError: for no candidate, two of one name, or one that cannot be used.

    >>> [candidate.name for candidate in find_candidates(["gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m"])]
    ['gpt2-0.2m-random', 'gpt2-0.2m-brown-0.3m']
    """
    if not models:
        raise InputError("no candidates: name at least one model with --models")
    candidates = [find_candidate(model) for model in models]
    names = [candidate.name for candidate in candidates]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two candidates are named {name!r}: leave one out, or rename one of the folders")
    return candidates


def _download(name: str, revision: str | None) -> Path:
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=SAFE_FILES))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"model {name!r} is not in the local cache and the hub cannot be reached: "
            "download it first, or give a folder"
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise InputError(f"the hub has no usable model {name!r}: {str(error).splitlines()[0]}") from error


def _check(candidate: Candidate) -> None:
    folder, name = candidate.folder, candidate.model_name_or_path
    if not (folder / "config.json").is_file():
        raise InputError(f"{name} is not a model folder: it has no config.json")
    if not list(folder.glob("*.safetensors")):
        if any(file for pattern in PICKLES for file in folder.glob(pattern)):
            raise InputError(
                f"{name} has only pickled weights, which can run code when opened and are refused: "
                "save the model again with safe_serialization=True"
            )
        raise InputError(f"{name} has no weights: expected a .safetensors file in {folder}")
    try:
        needs_code = "auto_map" in candidate.config
    except json.JSONDecodeError as error:
        raise InputError(f"{name} has a broken config.json (line {error.lineno}): {error.msg}") from error
    if needs_code:
        raise InputError(
            f"{name} brings Python code of its own, which is not run: choose a model of a known architecture"
        )
