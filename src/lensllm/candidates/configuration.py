"""A model's `config.json` as transformers reads it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from lensllm.candidates.files import CONFIG, read_object
from lensllm.candidates.steering import without_steering
from lensllm.errors import InputError


def configuration(folder: Path) -> Any:
    """The configuration in a model's folder as transformers reads it, without what would steer what is loaded.

    Raises:
        InputError: if the architecture is unknown or a value is impossible.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    settings = read_object(folder, CONFIG)
    kind = settings.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise InputError("config.json names no model_type, so its architecture is not known")
    if kind not in CONFIG_MAPPING:
        code = " and brings Python code of its own, which is not run" if "auto_map" in settings else ""
        raise InputError(
            f"its architecture {kind!r} is not known to the installed transformers{code}: "
            "a newer transformers may know it"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="lensllm-") as made:
            (Path(made) / CONFIG).write_text(json.dumps(without_steering(settings)))
            return CONFIG_MAPPING[kind].from_pretrained(made, local_files_only=True)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"config.json has a value that {kind} cannot have: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """What an exception says, in one line; its type where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines else type(error).__name__
