"""`{command-help}`: a section for every command of lensllm, from the command's own help."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import typer
from docutils import nodes
from rich.text import Text
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from lensllm.cli import app


class CommandHelp(SphinxDirective):
    """What `lensllm COMMAND --help` says of every command, as Markdown."""

    def run(self) -> list[nodes.Node]:
        """A section a command."""
        text = "\n\n".join(f"## {name}\n\n{described(name, command)}" for name, command in commands())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it."""
    waiting: list[tuple[str, Any]] = [("lensllm", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop(0)
        if hasattr(command, "commands"):
            waiting += [(f"{name} {word}", below) for word, below in command.commands.items()]
        else:
            yield name, command


def described(name: str, command: Any) -> str:
    """Its use, what it does, and a line an option."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words = [p.metavar or p.name.upper() for p in arguments]
    parts = [f"```text\n{' '.join([name, *words, '[OPTIONS]'])}\n```", plain(command.help)]
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    for group, parameters in groupby(shown, key=lambda p: getattr(p, "rich_help_panel", None)):
        parts += [f"**{group}**"] * (group is not None) + ["\n".join(map(line, parameters))]
    return "\n\n".join(parts)


def line(parameter: Any) -> str:
    """A parameter with its help and, where its help does not say it, its default."""
    argument = parameter.param_type_name == "argument"
    names = [parameter.metavar or parameter.name.upper()] if argument else parameter.opts + parameter.secondary_opts
    text = plain(parameter.help or "")
    plainly = parameter.default is not None and parameter.show_default and isinstance(parameter.default, str | float)
    default = f" [default: {parameter.default}]" if plainly and parameter.default is not False else ""
    return f"- {', '.join(f'`{name}`' for name in names)}: {text}{default}"


def plain(text: str) -> str:
    """Text of a help, which has the markup of rich, as text in which Markdown sees none."""
    return "".join(f"\\{c}" if c in "*_<>[]|`" else c for c in Text.from_markup(text).plain)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
