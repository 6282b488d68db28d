"""What an editor and a notebook know of `lensllm.select`."""

import inspect
import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest

import lensllm
from lensllm.config import Part, SelectConfig
from lensllm.execution import Executor
from lensllm.select_options import AnyScore, SelectOptions
from lensllm.selectors import Selector

WIDER = {Part | None: float | str | None}


def without_limits(annotation):
    """The type alone of a field, as a caller may give it."""
    annotation = WIDER.get(annotation, annotation)
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return Sequence[get_args(annotation)] if get_origin(annotation) is list else annotation


def test_every_option_is_known_with_its_type():
    hints = get_type_hints(SelectOptions)
    fields = {name: one for name, one in SelectConfig.model_fields.items() if name not in ("task", "models")}
    assert set(hints) == set(fields)
    different = {name: hints[name] for name, one in fields.items() if hints[name] != without_limits(one.annotation)}
    assert different == {
        "candidates": Sequence[dict[str, Any]],
        "score": AnyScore | Sequence[AnyScore],
        "selector": str | Selector,
        "executor": Literal["processes", "ray"] | Executor,
        **dict.fromkeys(("eval_file", "keep_score", "output_dir"), str | os.PathLike[str]),
    }


@pytest.mark.parametrize("name", ["select", "check"])
def test_the_signature_has_every_option_with_its_default(name):
    shown = inspect.signature(getattr(lensllm, name)).parameters
    assert not [one for one in shown.values() if one.kind == inspect.Parameter.VAR_KEYWORD]
    for option in SelectOptions.__annotations__:
        assert shown[option].default == SelectConfig.model_fields[option].default
        assert shown[option].kind == inspect.Parameter.KEYWORD_ONLY
