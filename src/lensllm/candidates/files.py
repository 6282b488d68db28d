"""The files of a model folder that are read, and no others."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Collection
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from lensllm.errors import InputError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.*.json",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "tekken.json",
    "vocab.json",
    "vocab.txt",
    "vocab.bpe",
    "merges.txt",
    "bpe.codes",
    "vocab-src.json",
    "vocab-tgt.json",
    "target_vocab.json",
    "prophetnet.tokenizer",
    "dict.txt",
    "emoji.json",
    "normalizer.json",
)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
LFS = b"version https://git-lfs"
LARGEST_JSON = 64 << 20


def tokenizer_files(folder: Path) -> list[str]:
    """Names of the tokenizer's files, sorted."""
    return matching(folder, TOKENIZER_SETTINGS + VOCABULARIES)


def matching(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    """Names in the folder that match one of the patterns, sorted; nothing is opened."""
    return _matching([file.name for file in folder.iterdir()], patterns)


def _matching(names: Collection[str], patterns: tuple[str, ...]) -> list[str]:
    return sorted(name for name in names if any(fnmatch(name, pattern) for pattern in patterns))


def weight_files(folder: Path, there: Collection[str] | None = None) -> list[str]:
    """Names of the safetensors files that hold the weights; with shards, their index first.

    As transformers: `model.safetensors`, or else the shards that `model.safetensors.index.json` names.

    Args:
        folder: of the model.
        there: the files that it has, where not all of them are in the folder yet; the index has to be.

    Raises:
        InputError: if there are none, or the index names something other than safetensors files of the folder.
    """
    names = {file.name for file in folder.iterdir()} if there is None else there
    if WEIGHTS in names:
        return [WEIGHTS]
    if INDEX in names:
        return [INDEX, *_shards(folder, names)]
    if _matching(names, PICKLES):
        raise InputError(
            "it has only pickled weights, which can run code when opened and are refused: "
            "save the model again with safe_serialization=True"
        )
    if others := _matching(names, ("*.safetensors",)):
        raise InputError(f"it has no weights under the name {WEIGHTS}; {others[0]} is not read")
    if _matching(names, ("*.gguf",)):
        raise InputError("it has weights as GGUF only, which are not read: give the folder with the safetensors files")
    where = printable(folder) if there is None else "its repository"
    raise InputError(f"it has no weights: expected a .safetensors file in {where}")


def _shards(folder: Path, names: Collection[str]) -> list[str]:
    found = read_object(folder, INDEX).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise InputError(f"{INDEX} has no weight_map")
    shards = sorted({shard if isinstance(shard, str) else repr(shard) for shard in found.values()})
    for shard in shards:
        plain = PurePosixPath(shard).name == shard and "\\" not in shard and ":" not in shard
        if not plain or not shard.endswith(".safetensors"):
            raise InputError(f"{INDEX} names {shard!r}, which is not a safetensors file of the folder itself")
        if shard not in names:
            raise InputError(f"{INDEX} names {shard}, which is missing: the download is not complete")
    return shards


def lies_in(folder: Path, name: str) -> bool:
    """Whether the folder has an entry of this name, be it only a link to nowhere."""
    return (folder / name).exists() or (folder / name).is_symlink()


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: if the file cannot be read or holds something else, saying what.
    """
    path = regular(folder, name)
    if path.stat().st_size > LARGEST_JSON:
        raise InputError(f"{name} has {path.stat().st_size:,} bytes, which no such file needs")
    try:
        found = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise InputError(f"broken {name} (line {error.lineno}): {error.msg}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"broken {name}: it is not text") from error
    except RecursionError as error:
        raise InputError(f"broken {name}: it is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"broken {name}: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise InputError(f"broken {name}: expected an object, got {type(found).__name__}")
    return found


def regular(folder: Path, name: str) -> Path:
    """The path of a file that may be opened: a regular file of the folder or of the hub cache around it.

    Raises:
        InputError: for a link to nowhere or out of the folder, a pipe or device, a folder, a Git LFS pointer.
    """
    path = folder / name
    try:
        target = path.resolve(strict=True)
        kind = target.stat()
        if not stat.S_ISREG(kind.st_mode):
            raise InputError(f"{name} is not a regular file")
        if not any(target.is_relative_to(root) for root in _roots(folder)):
            raise InputError(f"{name} is a link out of the folder: copy the file itself")
        with target.open("rb") as opened:
            start = opened.read(len(LFS))
    except FileNotFoundError as error:
        lost = "is a link to nowhere" if path.is_symlink() else "is missing"
        raise InputError(f"{name} {lost}") from error
    except (OSError, RuntimeError) as error:
        raise InputError(f"{name} cannot be read: {error}") from error
    if start == LFS:
        raise InputError(f"{name} is a Git LFS pointer and not the file: run `git lfs pull`")
    return target


def _roots(folder: Path) -> list[Path]:
    """The folder, and for a snapshot of the hub cache the model's folder, where its blobs lie."""
    real = folder.resolve()
    caches = [up for up in real.parents if up.name.startswith("models--") and (up / "blobs").is_dir()]
    return [real, *caches[:1]]


def printable(path: Path | str) -> str:
    """A name as text, whatever its bytes are."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def walk(found: Any, see: Callable[[dict[str, Any]], None]) -> None:
    """Call `see` with every object inside a JSON value."""
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            see(one)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
