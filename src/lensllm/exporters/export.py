"""Writes what a tool needs to train a candidate of a selection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lensllm.errors import InputError
from lensllm.exporters import axolotl, llama_factory, oumi, trl, unsloth
from lensllm.exporters.recipe import Recipe
from lensllm.exporters.written import Exported
from lensllm.files import write_whole
from lensllm.selection import Selection

TOOLS: dict[str, Callable[[Recipe], Exported]] = {
    "trl": trl.export,
    "axolotl": axolotl.export,
    "llama-factory": llama_factory.export,
    "unsloth": unsloth.export,
    "oumi": oumi.export,
}


def export(folder: str | Path, to: str, output: str | Path = "", candidate: str = "") -> tuple[Path, Exported]:
    """Write configuration and data files of a tool.

    Args:
        folder: output folder of a selection.
        to: one of `TOOLS`.
        output: where the files go; "" for `export-TOOL` in the folder.
        candidate: whose; "" for the best.

    Returns:
        The folder of the files, and what was written.

    Raises:
        InputError: if the tool is unknown, there is no selection, the candidate is not fine-tuned or cannot be trained
            by this tool, data or model have changed since, or the target folder is not empty.

    >>> import tempfile
    >>> from lensllm import select
    >>> few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = select("austen", ["gpt2-0.2m-random"], output_dir=folder, **few)
    ...     target, made = export(folder, "trl")
    >>> target.name, sorted(made.files)
    ('export-trl', ['data/test.jsonl', 'data/train.jsonl', 'data/validation.jsonl', 'sft.yaml'])
    >>> made.command
    'trl sft --config sft.yaml'
    """
    if to not in TOOLS:
        raise InputError(f"there is no export to {to!r}: expected one of {', '.join(TOOLS)}")
    target = Path(output) if str(output) else Path(folder) / f"export-{to}"
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is not empty: name another folder with --output-dir")
    made = TOOLS[to](Recipe.of(Selection.load(folder), candidate))
    for name, text in made.files.items():
        file = target / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{file.parent} cannot be made: {error.strerror}") from error
        write_whole(file, text)
    return target, made
