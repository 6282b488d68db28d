"""The text of a function or class of a Python program, whole: with all that it uses from outside."""

from __future__ import annotations

import ast
import builtins
import linecache
import symtable
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import Any

from lensllm.errors import InputError
from lensllm.text import shortened

Made = FunctionType | type
PACKAGES = ("site-packages", "dist-packages")


def whole_text(made: Made) -> str:
    """Its text behind the imports, plain values, functions and classes that it uses; it runs by itself.

    Whatever changes what it does is in the text or in an installed package, so that equal texts do the same.

    Args:
        made: a function written with `def`, or a class.

    Raises:
        InputError: if a text cannot be read, or something is used that is neither installed nor can be written down.

    >>> import re
    >>> limit = 12
    >>> def brief(prompt, completion, reference):
    ...     return len(re.findall(r"[a-z]+", completion)) <= limit
    >>> print(whole_text(brief))
    limit = 12
    <BLANKLINE>
    import re as re
    <BLANKLINE>
    def brief(prompt, completion, reference):
        return len(re.findall(r"[a-z]+", completion)) <= limit
    <BLANKLINE>
    """
    pieces: dict[str, str] = {}
    _add(made.__name__, made, pieces)
    return "\n\n".join(pieces.values()) + "\n"


def _add(name: str, value: Any, pieces: dict[str, str]) -> None:
    """Put what makes a name in front of what uses it."""
    piece = _piece(name, value)
    if pieces.get(name, piece) != piece:
        raise InputError(f"it uses two things named {name}: give one of them another name")
    if name in pieces:
        return
    if isinstance(value, Made) and not piece.startswith("from "):
        outside = _outside(value)
        for used in sorted(_names_used(piece) - {name}):
            if used not in outside:
                raise InputError(f"{name} uses {used}, which is not there")
            _add(used, outside[used], pieces)
    pieces[name] = piece


def _piece(name: str, value: Any) -> str:
    """The text that makes a name what it is: an import, a definition or an assignment."""
    if isinstance(value, ModuleType) and _installed(value.__name__):
        return f"import {value.__name__} as {name}"
    home, known_as = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if isinstance(home, str) and _installed(home) and getattr(sys.modules.get(home), known_as, None) is value:
        return f"from {home} import {known_as} as {name}"
    if isinstance(value, Made) and value.__name__ == name:
        return _definition(value)
    written = repr(value)
    try:
        if ast.literal_eval(written) == value:
            return f"{name} = {written}"
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    raise InputError(
        f"it uses {name}, which is neither installed nor a plain value nor written with def or class: "
        f"{shortened(' '.join(written.split()))}"
    )


def _installed(module: str) -> bool:
    """Whether a module is Python's own, of a package that is installed, or ours."""
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root == __name__.partition(".")[0]:
        return True
    if root == "__main__":
        return False
    found = sys.modules.get(root)
    places = [getattr(found, "__file__", None), *getattr(found, "__path__", [])]
    return any(package in Path(place).parts for place in places if place for package in PACKAGES)


def _definition(made: Made) -> str:
    """The lines of a function or class in the file or cell that it was written in."""
    code = next((one.__code__ for one in _functions(made)), None)
    lines = linecache.getlines(code.co_filename) if code else []
    try:
        nodes = [node for node in ast.walk(ast.parse("".join(lines))) if getattr(node, "name", "") == made.__name__]
    except SyntaxError:
        nodes = []
    kinds = (ast.ClassDef,) if isinstance(made, type) else (ast.FunctionDef,)
    spans = [_span(node) for node in nodes if isinstance(node, kinds)]
    around = [(first, last) for first, last in spans if code and first <= code.co_firstlineno <= last]
    if not around:
        raise InputError(
            f"the text of {made.__name__} cannot be read, so a change of it would go unseen: write it with def or "
            "class in a file or a notebook's cell"
        )
    first, last = min(around, key=lambda span: span[1] - span[0])
    return dedent("".join(lines[first - 1 : last])).rstrip("\n")


def _span(node: Any) -> tuple[int, int]:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)]), node.end_lineno


def _functions(made: Made) -> Iterator[FunctionType]:
    """A function itself; of a class its own methods."""
    if isinstance(made, FunctionType):
        yield made
        return
    for value in vars(made).values():
        value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(value, FunctionType) and value.__qualname__ == f"{made.__qualname__}.{value.__name__}":
            yield value


def _outside(made: Made) -> Mapping[str, Any]:
    """What its names stand for: of the functions around it before those of its module."""
    known: dict[str, Any] = {}
    for one in _functions(made):
        cells = zip(one.__code__.co_freevars, one.__closure__ or (), strict=True)
        known = {**one.__globals__, **known, **{name: cell.cell_contents for name, cell in cells}}
    return known


def _names_used(text: str) -> set[str]:
    """Names that a text uses and does not make, Python's own left out."""
    return {name for name in _global_names(symtable.symtable(text, "score", "exec")) if not hasattr(builtins, name)}


def _global_names(table: symtable.SymbolTable) -> Iterator[str]:
    at_top = table.get_type() == "module"
    for symbol in table.get_symbols():
        name = symbol.get_name()
        made_here = symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
        if symbol.is_referenced() and (not made_here if at_top else symbol.is_global()) and not _dunder(name):
            yield name
    for child in table.get_children():
        yield from _global_names(child)


def _dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
