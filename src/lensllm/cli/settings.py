"""A YAML file of settings: names and plain values, without what YAML can do beyond that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lensllm.errors import InputError
from lensllm.text import shortened

DEEPEST = 20


class _Loader(yaml.SafeLoader):
    """YAML without anchors (a few lines of them stand for gigabytes), deep nesting, and names given twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not read: write the values out")
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise yaml.YAMLError(f"{shortened(repr(name))} is given twice")
        return super().construct_mapping(node, deep)


def read_settings(file: Path) -> dict[str, Any]:
    """The names and values of a YAML file.

    Raises:
        InputError: in one sentence, if it cannot be read, or holds anything but names and values.
    """
    try:
        settings = yaml.load(file.read_text(encoding="utf-8-sig"), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is not valid YAML: {shortened(' '.join(str(error).split()), 300)}") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise InputError(f"{file} must hold names and values, got {type(settings).__name__}")
    for name in settings:
        if not isinstance(name, str):
            raise InputError(f"{file}: {shortened(repr(name))} is no name of an option, write one before the colon")
    return settings
