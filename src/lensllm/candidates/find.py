"""From what the user wrote to candidates: folders, zoo names, hub ids; each admitted or refused with a reason."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lensllm import zoo
from lensllm.candidates.candidate import Candidate
from lensllm.candidates.chat_templates import chat_templates
from lensllm.candidates.check import check
from lensllm.candidates.files import printable
from lensllm.candidates.hub import download, look_up
from lensllm.errors import InputError

HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}")
CHECKPOINT = re.compile(r"checkpoint-\d+|final|last|best")


@dataclass(frozen=True)
class Refused:
    """A model that does not take part: its name and the reason, a sentence that begins with what the user wrote.

    >>> admit_candidates(["gpt2-0.2m-random", "gpt3"]).refused[0].reason.split(":")[0]
    "no model 'gpt3'"
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Found:
    """All models of a command, in the order given.

    >>> len(admit_candidates(["gpt2-0.2m-random", "t5-0.2m-glosses-1.5m"]).admitted)
    2
    """

    admitted: tuple[Candidate, ...]
    refused: tuple[Refused, ...] = ()

    def without(self, reasons: Mapping[str, str]) -> Found:
        """With these candidates refused, too.

        Args:
            reasons: name of a candidate -> why.

        Raises:
            InputError: with the reasons if none is left.
        """
        left = tuple(candidate for candidate in self.admitted if candidate.name not in reasons)
        if not left:
            raise InputError("; ".join([*(one.reason for one in self.refused), *reasons.values()]))
        given = {candidate.name: printable(candidate.model_name_or_path) for candidate in self.admitted}
        return Found(left, (*self.refused, *(Refused(given[name], reason) for name, reason in reasons.items())))


def find_candidate(model: str, *, tokenizer: bool = True, weights: bool = True) -> Candidate:
    """The candidate that `model` names: a local folder, a zoo name, or a hub id (`org/name`, `gpt2`) with an optional
    `@revision`.

    A hub model is downloaded once into the Hugging Face cache (`HF_HOME` and `HF_HUB_OFFLINE` are honoured);
    only configuration, tokenizer and safetensors files are fetched, so pickled weights are never even opened.

    Args:
        model: what the user wrote.
        tokenizer: whether a tokenizer is asked for, too.
        weights: whether those of a hub model are downloaded; if not it can be checked and not run.

    Raises:
        InputError: if there is no such model, or `check` refuses it.

    >>> find_candidate("gpt2-0.2m-random").config["model_type"]
    'gpt2'
    """
    candidate = _locate(model, weights)
    check(candidate, tokenizer=tokenizer)
    return candidate


def find_candidates(models: Sequence[str]) -> list[Candidate]:
    """The candidates in the order given, every one admitted.

    Raises:
        InputError: for no candidate, or one that is refused.

    >>> [candidate.name for candidate in find_candidates(["gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m"])]
    ['gpt2-0.2m-random', 'gpt2-0.2m-brown-0.3m']
    """
    found = admit_candidates(models)
    if found.refused:
        raise InputError(found.refused[0].reason)
    return list(found.admitted)


def admit_candidates(
    models: Sequence[str],
    templates: Sequence[str] = (),
    *,
    weights: bool = True,
    known: Mapping[str, Candidate] | None = None,
) -> Found:
    """Check all models at once; those that cannot take part are kept with the reason and the others go on.

    A model whose files equal those of one before it is the same model and refused as such. Different models of one
    name are called by as many of their folders as tell them apart.

    Args:
        models: what the user wrote.
        templates: chat templates to use in place of their own, as `chat_templates` reads them.
        weights: whether those of hub models are downloaded; if not they can be checked and not run.
        known: model -> its candidate, for those that were found before.

    Raises:
        InputError: for no model, or none that is admitted; or for a chat template that cannot be used.

    >>> found = admit_candidates(["gpt2-0.2m-random", "gpt3"])
    >>> [candidate.name for candidate in found.admitted], [one.name for one in found.refused]
    (['gpt2-0.2m-random'], ['gpt3'])
    """
    if not models:
        raise InputError("no candidates: name at least one model with --models")
    given = chat_templates(templates, models)
    admitted: dict[str, Candidate] = {}
    refused = []
    for model in models:
        try:
            candidate = (known or {}).get(model) or find_candidate(model, weights=weights)
            candidate = replace(candidate, chat_template=given.get(model, candidate.chat_template))
            same = admitted.setdefault(candidate.fingerprint, candidate)
            if same is not candidate:
                raise InputError(
                    f"{printable(model)}: it has the same files as {printable(same.model_name_or_path)}, "
                    "which stands for both"
                )
        except InputError as error:
            refused.append(Refused(printable(model), str(error)))
    if not admitted:
        raise InputError("; ".join(one.reason for one in refused))
    return Found(tuple(_told_apart(list(admitted.values()))), tuple(refused))


def _told_apart(candidates: list[Candidate]) -> list[Candidate]:
    names = [candidate.name for candidate in candidates]
    made = []
    for candidate in candidates:
        alike = [other for other in candidates if other.name == candidate.name and other is not candidate]
        parts = 1 + candidate.name.count("/")
        name = candidate.name
        while alike and parts < len(candidate.folder.parts):
            parts += 1
            name = _tail(candidate.folder, parts)
            alike = [other for other in alike if _tail(other.folder, parts) == name]
        made.append(candidate if names.count(candidate.name) == 1 else _renamed(candidate, name))
    return made


def _tail(folder: Path, parts: int) -> str:
    return printable("/".join(folder.parts[-parts:]).lstrip("/"))


def _renamed(candidate: Candidate, name: str) -> Candidate:
    return replace(candidate, name=name)


def _locate(model: str, weights: bool = True) -> Candidate:
    path = Path(model)
    shown = printable(model)
    if "\0" in model:
        raise InputError(f"no model {model!r}: a name cannot hold the character NUL")
    try:
        if path.is_dir():
            folder = _snapshot_of(path.resolve())
            return Candidate(model, folder, _name(folder))
        there = os.path.lexists(path)
    except OSError as error:
        raise InputError(f"no model {shown[:80]!r}: {error.strerror}") from error
    if model in zoo.model_names():
        return Candidate(model, zoo.model_path(model), model)
    if there or path.suffix in (".gguf", ".safetensors", ".bin", ".pt"):
        raise InputError(_not_a_folder(path, shown, there))
    name, _, revision = model.partition("@")
    if not HUB_ID.fullmatch(name):
        raise InputError(
            f"no model {shown!r}: give a folder, a hub id such as org/name, or one of {', '.join(zoo.model_names())}"
        )
    return _of_hub(model, name, revision or None, weights)


def _not_a_folder(path: Path, shown: str, there: bool) -> str:
    if not there:
        return f"no model {shown!r}: there is no such file, and a folder with config.json and safetensors is needed"
    if path.is_symlink() and not path.exists():
        return f"{shown} is a link to nowhere"
    if path.suffix == ".gguf":
        return f"{shown} is a GGUF file, which is not read: give a folder with config.json and safetensors weights"
    return f"{shown} is a file: give the folder that holds it, with config.json and the tokenizer"


def _snapshot_of(folder: Path) -> Path:
    """The snapshot that a model's folder of the hub cache holds; any other folder itself."""
    snapshots = folder / "snapshots"
    if not folder.name.startswith("models--") or not snapshots.is_dir():
        return folder
    reference = folder / "refs" / "main"
    if reference.is_file() and (snapshots / reference.read_text().strip()).is_dir():
        return snapshots / reference.read_text().strip()
    held = sorted(snapshots.iterdir())
    return held[0] if len(held) == 1 else folder


def _name(folder: Path) -> str:
    """How a folder is called: org/name in the hub cache, with its parent if it is a checkpoint, or else itself."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return printable(folder.parent.parent.name.removeprefix("models--").replace("--", "/"))
    return _tail(folder, 2 if CHECKPOINT.fullmatch(folder.name) else 1)


def _of_hub(model: str, name: str, revision: str | None, weights: bool) -> Candidate:
    try:
        if weights:
            return Candidate(model, download(name, revision), name, revision)
        return look_up(model, name, revision)
    except InputError as error:
        if "/" in name:
            raise
        known = ", ".join(zoo.model_names())
        raise InputError(
            f"no model {printable(model)!r}: it is no folder here and not in the zoo ({known}), and {error}"
        ) from error
