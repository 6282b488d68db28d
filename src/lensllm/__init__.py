"""Which pre-trained model should I fine-tune for my task, how sure are we, how much data, and what will it cost?

>>> import lensllm
>>> selection = lensllm.select("define", models=lensllm.zoo.model_names())  # doctest: +SKIP
>>> print(selection.sentence)  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensllm.curves import Curves
    from lensllm.errors import InputError
    from lensllm.forecast import Forecast
    from lensllm.pipeline import select
    from lensllm.planning import plan
    from lensllm.selection import Selection

__all__ = ["Curves", "Forecast", "InputError", "Selection", "plan", "select", "zoo"]

_HOME = {
    "Curves": "curves",
    "Forecast": "forecast",
    "InputError": "errors",
    "Selection": "selection",
    "plan": "planning",
    "select": "pipeline",
}


def __getattr__(name: str) -> Any:
    """Import the parts on first use, so that `import lensllm` does not wait for torch."""
    if name == "zoo":
        return import_module("lensllm.zoo")
    if name in _HOME:
        return getattr(import_module(f"lensllm.{_HOME[name]}"), name)
    raise AttributeError(f"module 'lensllm' has no attribute {name!r}")
