"""Chat templates that the user gives in place of the models' own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import TemplateSyntaxError

from lensllm.errors import InputError
from lensllm.text import listed, shortened, visible

LARGEST = 1_000_000


def chat_templates(given: Sequence[str], models: Sequence[str]) -> dict[str, str]:
    """Model -> the text of the template given for it.

    Args:
        given: `FILE` for all models, `MODEL=FILE` for one, which goes before.
        models: as the user wrote them.

    Raises:
        InputError: if a file cannot be read or is no template, a model is not among those given, or two files are
            given for one.

    >>> chat_templates([], ["gpt2-0.2m-random"])
    {}
    """
    for_all: dict[str, str] = {}
    for_one: dict[str, str] = {}
    for one in given:
        model, _, file = one.rpartition("=")
        if Path(one).is_file():
            model, file = "", one
        if model and model not in models:
            raise InputError(f"--chat-template {shortened(visible(one))}: the models are {listed(list(models))}")
        kind, names = (for_one, [model]) if model else (for_all, list(models))
        if set(names) & kind.keys():
            raise InputError(f"--chat-template {shortened(visible(one))}: a template was given for it before")
        text = _read(Path(file))
        kind |= dict.fromkeys(names, text)
    return for_all | for_one


def _read(path: Path) -> str:
    from transformers.utils.chat_template_utils import _compile_jinja_template

    shown = shortened(visible(path))
    try:
        if not path.is_file():
            raise InputError(f"no such chat template: {shown}")
        if path.stat().st_size > LARGEST:
            raise InputError(f"{shown} is too large for a chat template")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the chat template {shown} cannot be read: {visible(error)}") from error
    try:
        _compile_jinja_template(text)
    except TemplateSyntaxError as error:
        raise InputError(f"{shown} is no chat template (line {error.lineno}): {visible(error.message)}") from error
    if not text.strip():
        raise InputError(f"the chat template {shown} is empty")
    return text
