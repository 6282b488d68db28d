"""A flag for every field of a configuration, and YAML under the flags."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.markup import escape

from lensllm.cli.settings import read_settings
from lensllm.config import Part, TaskConfig, takes_several
from lensllm.errors import InputError

ALSO = {"models": ("--model",)}
"""Other spellings of a flag."""

Config = TypeVar("Config", bound=TaskConfig)


def options_of(config: type[BaseModel], positional: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one flag for every field of its configuration but the positional one and those that it declares
    itself, in groups: one for every class that the configuration is made of, inherited ones last."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind != p.VAR_KEYWORD]
        given = {positional, *(parameter.name for parameter in own)}
        owners = [one for one in config.__mro__ if issubclass(one, BaseModel) and one is not BaseModel]
        for owner, name in ((one, name) for one in owners for name in one.__annotations__):
            field = config.model_fields.get(name)
            if field is None or name in given or _is_written(field):
                continue
            given.add(name)
            shown = None if field.default in (PydanticUndefined, "", []) else field.default
            shown = " ".join(shown) if isinstance(shown, list) else shown
            help_text = f"{field.description}" + (f" [default: {shown}]" if shown is not None else "")
            kind: Any = list[str] if takes_several(field) and _given_names(field) else field.annotation
            kind = str if kind == Part | None else kind
            spelled = name.replace("_", "-")
            flags = [f"--{spelled}/--no-{spelled}" if kind is bool else f"--{spelled}", *ALSO.get(name, ())]
            flag = typer.Option(
                *flags, help=escape(help_text), show_default=False, rich_help_panel=owner.model_config["title"]
            )
            own.append(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, flag]
                )
            )

        def called(**values: Any) -> None:
            command(**values)

        called.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        called.__annotations__ = {p.name: p.annotation for p in own}
        called.__name__, called.__doc__ = command.__name__, command.__doc__
        return called

    return decorate


def _is_written(field: FieldInfo) -> bool:
    """Whether its values have parts, which only a file or a program can write."""
    return any(isinstance(one, type) and issubclass(one, BaseModel) for one in get_args(field.annotation))


def _given_names(field: FieldInfo) -> bool:
    """Whether its values are given names, which typer takes as texts and the configuration checks."""
    return get_origin(get_args(field.annotation)[0]) is Literal


def config_of(config: type[Config], given: dict[str, Any], file: Path | None = None) -> Config:
    """The configuration of a YAML file with the flags that were given over it."""
    settings: dict[str, Any] = {}
    if file is not None:
        if not file.is_file():
            raise InputError(f"no such configuration file: {file}")
        settings = read_settings(file)
    return config.of(**settings | given_of(given))


def given_of(options: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given."""
    return {name: value for name, value in options.items() if value not in (None, [])}
